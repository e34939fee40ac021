"""The one LightningModule: every method is trained and evaluated as this."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from statistics import fmean
from typing import Any, TypedDict, TypeVar

import lightning as L
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from spikerec.configs import build
from spikerec.data.module import SpikeDataModule
from spikerec.data.sequences import is_sequence, windows_of
from spikerec.describing import describe
from spikerec.errors import ConfigError, SpikerecError, WeightsError, errors_about
from spikerec.kinds import checked
from spikerec.losses import Loss
from spikerec.metrics import Protocol
from spikerec.metrics.pairs import Known
from spikerec.metrics.recording import Recording
from spikerec.models.base import Network, Reconstruction, State
from spikerec.models.carrying import detached
from spikerec.models.modes import giving_extras
from spikerec.training.distributed import Scores, gather
from spikerec.training.identity import fingerprints
from spikerec.weights.pickles import OWN_KEY

T = TypeVar("T")

#: Parts of a checkpoint that are weights: those to use, and under averaging those in training.
_WEIGHTS = ("state_dict", "current_model_state")

#: Facts about a step between images that a batch may hold (see `spikerec.data.frames`).
KNOWN_STEP = ("static", "static_estimated", "displacement", "is_kept")

#: Loaders of a data module that does not name its sets.
MOST_LOADERS = 100


class Scored(TypedDict):
    """Outputs of a validation or test step.

    Keys:
        image: the images (B, 1, H, W), in intensity, not clipped.
        scores: sample's key → metric → value, NaN or infinite where a metric is not defined.
    """

    image: Tensor
    scores: dict[str, dict[str, float]]


@checked
class ReconstructionModule(L.LightningModule):
    """A network with its loss, optimizer, schedule and protocol.

    What differs between methods is in these parts, so all are this class. A `lightning.Trainer`
    takes it with a `SpikeDataModule` (`fit`, `validate`, `test`); `spikerec.fit` adds checkpoints
    that survive being killed. Logged: `train/loss` and `train/loss/TERM` every step;
    `val/METRIC` and `test/METRIC` over all sets, and `val/SET/METRIC` where there are several. Sets
    without true images have `val/loss`, and of the metrics those that need no reference.

    Args:
        network: the method.
        loss: what training lowers; None for evaluation alone.
        optimizer: makes the optimizer from parameters; None takes Adam, as conf/optimizer/adam.yaml
            states it.
        scheduler: makes the schedule from the optimizer; None keeps the rate. One that takes
            `total_steps` gets their number and is stepped at every optimizer step, any other every
            epoch.
        protocol: the metrics of validation and test; None takes the loss alone.
        description: plain values, stored in a checkpoint, from which the network can be built again
            (`spikerec.load`); None takes the arguments that the network was made with.
        learning_rate: replaces the optimizer's own (scaled, or found); None keeps that.
        detach_every: windows of a sequence after which gradients through the state end (truncated
            back-propagation through time); None for none of them.
    """

    def __init__(
        self,
        network: Network,
        *,
        loss: Loss | None = None,
        optimizer: Callable[[Iterable[Tensor]], Optimizer] | None = None,
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        protocol: Protocol | None = None,
        description: Mapping[str, Any] | None = None,
        learning_rate: float | None = None,
        detach_every: int | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.protocol = protocol
        self.description = dict(_description(network) if description is None else description)
        self.learning_rate = learning_rate
        self.detach_every = detach_every
        self._trained_with: dict[str, str] = {}
        self._scores: Scores = {}
        self._held: tuple[str, State] = ("", None)  # a sample's key, and the state after it
        self._before: Mapping[str, Any] = {}  # the frame before: its key, images and steady image
        self._make_optimizer = optimizer
        self._make_scheduler = scheduler

    def on_fit_start(self) -> None:
        """Train a network that was loaded in eval mode; parts that are frozen in it stay so.

        Checkpoints state the clips of the data module's sets, so that a copy of one is not judged
        on scenes that it saw.
        """
        if not self.network.training:
            self.network.train()
        data = getattr(self.trainer, "datamodule", None)
        self._trained_with = fingerprints(data.sets) if isinstance(data, SpikeDataModule) else {}

    def forward(self, spikes: Tensor, light_scale: Tensor | float) -> Tensor:
        """Intensity of the key readout in [0, 1]: see `Network.reconstruct`."""
        return self.network.reconstruct(spikes, light_scale).image.clamp(0, 1)

    def reconstruct(self, batch: Mapping[str, Any]) -> Reconstruction:
        """The network's reconstruction of a decoded batch, in intensity, not clipped.

        Where the batch holds the windows before a whole image, their state is carried to it.
        """
        if "earlier" in batch:
            return self._carried(batch)
        return self.network.reconstruct(batch["spikes"], batch["light_scale"], validate=False)

    def _carried(self, batch: Mapping[str, Any]) -> Reconstruction:
        """See `reconstruct`; the state goes on from the sample before only where the batch says so.

        One image at a time (`SpikeDataModule.whole_images`).
        """
        (follows,), (key,) = batch["follows"], batch["key"]
        before, state = self._held
        if not follows:
            state = None
        elif follows != before:
            raise RuntimeError(f"{key} goes on from {follows}, but the state is of {before!r}.")
        for spikes in batch["earlier"]:
            state = self.network.reconstruct_next(spikes, 1.0, state)[1]
        given, state = self.network.reconstruct_next(batch["spikes"], batch["light_scale"], state)
        self._held = (key, state)
        return given

    def _learnt(
        self, batch: Mapping[str, Any]
    ) -> Iterator[tuple[Reconstruction, Mapping[str, Any]]]:
        """The windows that are learnt from: of a sequence in order, with carried state."""
        if not is_sequence(batch):
            yield self.reconstruct(batch), batch
            return
        state: State = None
        for index, (window, is_learnt) in enumerate(windows_of(batch, self.network.window)):
            if self.detach_every and index % self.detach_every == 0:
                state = detached(state)
            given, state = self.network.reconstruct_next(
                window["spikes"], window["light_scale"], state
            )
            if is_learnt:
                yield given, window

    def learn(self, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a training batch and its terms; of sequences, the mean over their windows."""
        if self.loss is None:
            raise ConfigError("ReconstructionModule has no loss to train with: give loss=Loss(…).")
        pairs: list[tuple[Tensor, dict[str, Tensor]]]
        pairs = [self.loss(given, seen) for given, seen in self._learnt(self.loss.hide(batch))]
        if len(pairs) == 1:
            return pairs[0]
        totals, terms = zip(*pairs, strict=True)
        means = {name: torch.stack([one[name] for one in terms]).mean() for name in terms[0]}
        return torch.stack(totals).mean(), means

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """The loss of a batch, its terms logged by name."""
        del batch_idx
        total, terms = self.learn(batch)
        size = len(batch["spikes"])
        self.log("train/loss", total, prog_bar=True, batch_size=size, sync_dist=True)
        named = {f"train/loss/{name}": value for name, value in terms.items()}
        self.log_dict(named, batch_size=size, sync_dist=True)
        return total

    @property
    def val_sets(self) -> Sequence[str]:
        """Names of the validation loaders, in order."""
        return self._set_names("validated")

    def _set_names(self, kind: str) -> Sequence[str]:
        """Names of the loaders as the data module states them; their numbers for any other."""
        names: Sequence[str] = getattr(getattr(self.trainer, "datamodule", None), kind, ())
        return names or [str(number) for number in range(MOST_LOADERS)]

    def validation_step(
        self, batch: Mapping[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> Scored:
        """Score whole images."""
        del batch_idx
        return self._score(self.val_sets[dataloader_idx], batch)

    def on_validation_epoch_start(self) -> None:
        """Forget earlier scores."""
        self._scores = {}

    def on_validation_epoch_end(self) -> None:
        """Log each metric's mean over all samples of all processes, and over each set's."""
        self._log_means("val", self.val_sets)

    def test_step(
        self, batch: Mapping[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> Scored:
        """Score whole images."""
        del batch_idx
        return self._score(self._set_names("tested")[dataloader_idx], batch)

    def on_test_epoch_start(self) -> None:
        """Forget earlier scores, and which images a metric refused."""
        self._scores = {}
        if self.protocol is not None:
            self.protocol.reset()

    def on_test_epoch_end(self) -> None:
        """Log the means, as validation does."""
        self._log_means("test", self._set_names("tested"))

    def _log_means(self, stage: str, sets: Sequence[str]) -> None:
        scores = gather(self._scores)
        self._scores = {}
        given = (values for samples in scores.values() for values in samples.values())
        for metric in dict.fromkeys(name for values in given for name in values):
            means = {
                name: [values[metric] for values in samples.values() if metric in values]
                for name, samples in scores.items()
            }
            # The mean is the same in all processes, and of no order: nothing is averaged again.
            everything = [value for values in means.values() for value in values]
            self._log_mean(f"{stage}/{metric}", everything, prog_bar=metric == "psnr")
            for name in sets if len(scores) > 1 else ():
                if means.get(name):
                    self._log_mean(f"{stage}/{name}/{metric}", means[name])

    def _log_mean(self, name: str, values: list[float], *, prog_bar: bool = False) -> None:
        defined = [value for value in values if math.isfinite(value)]
        mean = fmean(defined) if defined else math.nan
        self.log(name, mean, prog_bar=prog_bar, sync_dist=True, reduce_fx="max")

    def _score(self, group: str, batch: Mapping[str, Any]) -> Scored:
        """Score a batch by its samples' keys, so that repetitions count once."""
        loss = self.loss if "target" not in batch or self.protocol is None else None
        with_extras = loss is not None and loss.needs_extras
        with giving_extras(self.network) if with_extras else nullcontext():
            judged = self.reconstruct(batch)
            image = judged.image
            seen = batch if loss is None else loss.hide(batch)
            if seen is not batch:
                judged = self.reconstruct(seen)
        scores: dict[str, Tensor] = {}
        if self.protocol is not None:
            recording = self._recording(batch)
            scores = self.protocol.score(image, batch.get("target"), batch["key"], recording)
            if "frame" in batch:
                scores |= self._score_step(self.protocol, image, batch)
        if loss is not None:
            scores["loss"] = loss(judged, seen)[0].expand(len(image))
        found = {
            key: {name: float(values[index]) for name, values in scores.items()}
            for index, key in enumerate(batch["key"])
        }
        self._scores.setdefault(group, {}).update(found)
        return {"image": image, "scores": found}

    def _recording(self, batch: Mapping[str, Any]) -> Recording:
        """The spikes of a batch, and the network to run on parts of them."""
        spikes, light_scale = batch["spikes"], batch["light_scale"]

        def again(change: Callable[[Tensor], Tensor]) -> Tensor:
            changed = change(spikes)
            return self.network.reconstruct(changed, light_scale, validate=False).image

        return Recording(
            spikes, light_scale, None if "earlier" in batch else again, batch.get("label")
        )

    def _score_step(
        self, protocol: Protocol, image: Tensor, batch: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        """Score the step from the image before to an image, which comes alone in its batch.

        Returns:
            metric of pairs → (1,); empty for the first image of a clip.
        """
        (key,), frame = batch["key"], batch["frame"]
        own = {"key": key, "image": image, "target": batch.get("target"), "steady": frame["steady"]}
        before, self._before = self._before, own
        (previous,) = frame["previous"]
        if not previous:
            return {}
        if previous != before["key"]:
            raise RuntimeError(f"{key} follows {previous}, but the image is of {before['key']}.")
        known: dict[str, Any]
        known = {name: frame[name][0] if name in frame else None for name in KNOWN_STEP}
        scores = protocol.score_pair(
            torch.cat((before["image"], image)),
            torch.cat((before["target"], own["target"])) if "target" in batch else None,
            Known(steady=torch.stack((before["steady"], own["steady"])), **known),
        )
        return {name: value.reshape(1) for name, value in scores.items()}

    def configure_optimizers(self) -> Any:  # noqa: ANN401 (Lightning's union of seven types)
        """The optimizer over the network's parameters, and its schedule."""
        make = self._make_optimizer or build("optimizer", "adam")
        chosen = {} if self.learning_rate is None else {"lr": self.learning_rate}
        optimizer = _made(partial(make, **chosen), self.network.parameters(), make, "optimizer")
        if self._make_scheduler is None:
            return optimizer
        if "total_steps" not in inspect.signature(self._make_scheduler).parameters:
            interval, make_schedule = "epoch", self._make_scheduler
        else:
            steps = {"total_steps": int(self.trainer.estimated_stepping_batches)}
            interval, make_schedule = "step", partial(self._make_scheduler, **steps)
        made = _made(make_schedule, optimizer, self._make_scheduler, "scheduler")
        schedule = {"scheduler": made, "interval": interval}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Log the gradient's norm, before it is clipped."""
        del optimizer
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        self.log("train/gradient_norm", torch.nn.utils.get_total_norm(gradients))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the network alone, and say what it is; a loss's trunk is not ours to copy."""
        for part in _WEIGHTS:
            state = checkpoint.get(part, {})
            kept = {name: value for name, value in state.items() if name.startswith("network.")}
            if kept:
                checkpoint[part] = kept
        about = {"network": self._kind(), "model": self.description, "data": self._trained_with}
        checkpoint[OWN_KEY] = about

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another network's weights, and add what `on_save_checkpoint` left out."""
        found = checkpoint.get(OWN_KEY, {}).get("network", "an unknown network")
        if found != self._kind():
            raise WeightsError(
                f"the checkpoint holds {found}, but model is {self._kind()}. Choose the model it "
                "was trained as, or another checkpoint."
            )
        own = self.state_dict()
        rest = {name: value for name, value in own.items() if not name.startswith("network.")}
        for part in _WEIGHTS:
            if part in checkpoint:
                checkpoint[part] = checkpoint[part] | rest

    def _kind(self) -> str:
        return type(self.network).__name__


def _made(make: Callable[..., T], of: object, stated: object, argument: str) -> T:
    """An optimizer or a schedule, from what makes it.

    Raises:
        ConfigError: a value that its class refuses.
    """
    try:
        with errors_about(stated):
            return make(of)
    except SpikerecError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{argument}: {error}") from error


def _description(network: Network) -> dict[str, Any]:
    """The arguments that a network was made with; the output scale where it cannot state them."""
    try:
        described: dict[str, Any] = describe(network, "network")
    except ConfigError:  # an argument that no checkpoint could state
        described = {"output_scale": network.output_scale}
    return described

"""The one LightningModule: every method is trained and evaluated as this."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from statistics import fmean
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from spikerec.errors import WeightsError
from spikerec.losses import Loss
from spikerec.metrics import Protocol
from spikerec.models.base import Network, Reconstruction
from spikerec.training.distributed import Scores, gather

#: Parts of a checkpoint that are weights: those to use, and under averaging those in training.
_WEIGHTS = ("state_dict", "current_model_state")


class ReconstructionModule(L.LightningModule):
    """A network with its loss, optimizer, schedule and protocol.

    What differs between methods is in these parts, so all are this class. Logged: `train/loss`
    and `train/loss/TERM` every step, `val/METRIC` over all validation sets and `val/SET/METRIC`
    where there are several. Sets without true images have `val/loss`, and of the metrics those that
    need no reference.

    Args:
        network: the method.
        loss: what training lowers; None for evaluation alone.
        optimizer: makes the optimizer from parameters.
        scheduler: makes the schedule from the optimizer; None keeps the rate. One that takes
            `total_steps` is told them and stepped every optimizer step, any other every epoch.
        protocol: the metrics of validation and test.
        description: plain values that tell, inside a checkpoint, how to build the network again
            (`spikerec.load`).
        val_sets: names of the validation loaders, in order.
        learning_rate: replaces the optimizer's own (scaled, or found); None keeps that.
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
        val_sets: Iterable[str] = (),
        learning_rate: float | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.protocol = protocol
        self.description = dict(description or {})
        self.val_sets = tuple(val_sets)
        self.learning_rate = learning_rate
        self.scores: Scores = {}
        self._make_optimizer = optimizer
        self._make_scheduler = scheduler

    def forward(self, spikes: Tensor, light_scale: Tensor | float) -> Tensor:
        """Intensity of the key readout in [0, 1]: see `Network.reconstruct`."""
        return self.network.reconstruct(spikes, light_scale).image.clamp(0, 1)

    def reconstruct(self, batch: Mapping[str, Any]) -> Reconstruction:
        """The network's reconstruction of a decoded batch, in intensity, not clipped."""
        return self.network.reconstruct(batch["spikes"], batch["light_scale"], validate=False)

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """The loss of a batch, its terms logged by name."""
        del batch_idx
        assert self.loss is not None
        batch = self.loss.hide(batch)
        reconstruction = self.reconstruct(batch)
        total: Tensor
        total, terms = self.loss(reconstruction, batch)
        size = len(batch["spikes"])
        self.log("train/loss", total, prog_bar=True, batch_size=size, sync_dist=True)
        named = {f"train/loss/{name}": value for name, value in terms.items()}
        self.log_dict(named, batch_size=size, sync_dist=True)
        return total

    def validation_step(
        self, batch: Mapping[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> Tensor:
        """Score whole images, and return them."""
        del batch_idx
        return self._score(self.val_sets[dataloader_idx], batch)

    def on_validation_epoch_start(self) -> None:
        """Forget earlier scores."""
        self.scores = {}

    def on_validation_epoch_end(self) -> None:
        """Log each metric's mean over all samples of all processes, and over each set's."""
        scores = gather(self.scores)
        given = (values for samples in scores.values() for values in samples.values())
        for metric in dict.fromkeys(name for values in given for name in values):
            means = {
                name: [values[metric] for values in samples.values()]
                for name, samples in scores.items()
            }
            # The mean is the same in all processes, and of no order: nothing is averaged again.
            everything = [value for values in means.values() for value in values]
            self._log_mean(f"val/{metric}", everything, prog_bar=metric == "psnr")
            for name in self.val_sets if len(self.val_sets) > 1 else ():
                self._log_mean(f"val/{name}/{metric}", means[name])

    def _log_mean(self, name: str, values: list[float], *, prog_bar: bool = False) -> None:
        defined = [value for value in values if math.isfinite(value)]
        mean = fmean(defined) if defined else math.nan
        self.log(name, mean, prog_bar=prog_bar, sync_dist=True, reduce_fx="max")

    def test_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """Keep the scores of each sample by its key, in `scores`, and return the images."""
        del batch_idx
        return self._score("test", batch)

    def _score(self, group: str, batch: Mapping[str, Any]) -> Tensor:
        """Keep a batch's scores by group and key, so that repetitions count once."""
        assert self.protocol is not None
        reconstruction = self.reconstruct(batch)
        image = reconstruction.image
        scores = self.protocol.score(image, batch.get("target"), batch["key"])
        if "target" not in batch and self.loss is not None:
            seen = self.loss.hide(batch)
            if seen is not batch:
                reconstruction = self.reconstruct(seen)
            scores["loss"] = self.loss(reconstruction, seen)[0].expand(len(image))
        kept = self.scores.setdefault(group, {})
        for index, key in enumerate(batch["key"]):
            kept[key] = {name: float(values[index]) for name, values in scores.items()}
        return image

    def configure_optimizers(self) -> Any:  # noqa: ANN401 (Lightning's union of seven types)
        """The optimizer over the network's parameters, and its schedule."""
        assert self._make_optimizer is not None
        chosen = {} if self.learning_rate is None else {"lr": self.learning_rate}
        optimizer = partial(self._make_optimizer, **chosen)(self.network.parameters())
        if self._make_scheduler is None:
            return optimizer
        if "total_steps" not in inspect.signature(self._make_scheduler).parameters:
            schedule = {"scheduler": self._make_scheduler(optimizer), "interval": "epoch"}
        else:
            steps = {"total_steps": int(self.trainer.estimated_stepping_batches)}
            make = partial(self._make_scheduler, **steps)
            schedule = {"scheduler": make(optimizer), "interval": "step"}
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
        checkpoint["spikerec"] = {"network": self._kind(), "model": self.description}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another network's weights, and add what `on_save_checkpoint` left out."""
        found = checkpoint.get("spikerec", {}).get("network", "an unknown network")
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

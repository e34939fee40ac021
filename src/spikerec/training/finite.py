"""Training that can learn nothing more stops: a number is not finite, or the gradient stays 0.

A loss or a gradient that is NaN or infinite would be in every weight after the next optimizer step,
and in every checkpoint after that. `FiniteSteps` ends the run before that step, and writes

RUN/nonfinite.json              which step, which samples, which losses
RUN/checkpoints/nonfinite.ckpt  the weights at that step, which are still finite

from which `replay` runs the same batches again. Where one step too large has made every unit of a
layer 0 for any input, the gradient is 0 from then on: the run ends after `STALLED_STEPS` such steps
and does not spend its hours on them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.optim import Optimizer

from spikerec.data import SpikeDataModule
from spikerec.errors import ConfigError, DataError, NonFiniteError, SpikerecError, StalledError
from spikerec.kinds import checked
from spikerec.losses import Loss
from spikerec.models.base import Network
from spikerec.parsing import RUN_DOCUMENT, read_json
from spikerec.spikes.files import atomic_path
from spikerec.training.budgets import Budget, budget_path
from spikerec.training.distributed import gather_objects
from spikerec.training.module import ReconstructionModule

#: Part of the largest number of the weights' type that a number of the optimizer may be: Adam's
#: first step divides the learning rate by 1 - 0.9.
HEADROOM = 100

#: Steps in a row without any gradient, after which a training is ended. A batch may be black.
STALLED_STEPS = 100

#: Samples that an error names; the file has all.
NAMED_SAMPLES = 4


@dataclass(frozen=True)
class Batches:
    """The batches of one process that one optimizer step was to learn from.

    Attributes:
        rank: the process.
        processes: how many there are.
        epoch: of the batches, from 0.
        first: place of the first one in the epoch.
        keys: of the samples, batch by batch.
        losses: of the batches, as text: JSON has no number for them.
    """

    rank: int
    processes: int
    epoch: int
    first: int
    keys: list[list[str]]
    losses: list[str]


class FiniteSteps(Callback):
    """Ends training before an optimizer step whose loss or gradient is not finite.

    It also ends where the weights or the monitored validation score are not finite, so that no
    run reports such a score, and where the gradient was 0 for `STALLED_STEPS` steps. All processes
    end at the same step.

    Args:
        folder: of the run.
        monitor: the validation score that chooses the best weights.
    """

    def __init__(self, folder: str | Path, monitor: str) -> None:
        self.folder = Path(folder)
        self.monitor = monitor
        self._first = 0
        self._keys: list[list[str]] = []
        self._losses: list[Tensor] = []
        self._stalled = 0

    def on_train_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        batch: Any,  # noqa: ANN401 (Lightning's signature)
        batch_idx: int,
    ) -> None:
        """Note the batch's samples."""
        del trainer, pl_module
        if not self._keys:
            self._first = batch_idx
        self._keys.append(list(batch["key"]))

    def on_before_backward(
        self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor
    ) -> None:
        """Note the batch's loss, which is not waited for."""
        del trainer, pl_module
        self._losses.append(loss.detach())

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer
    ) -> None:
        """Look at the losses and the gradient; the only wait for the device in a step."""
        losses = torch.stack(self._losses)
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        sound = losses.isfinite().all()
        if not scaled:  # a gradient scaler leaves such steps out by itself, and lowers its scale
            sound = sound & norm.isfinite()
        stops = not bool(sound)
        if trainer.world_size > 1:
            stops = trainer.strategy.reduce_boolean_decision(stops, all=False)
        too_large = _too_large(optimizer)
        if stops or too_large:
            self._stop(trainer, losses, norm, too_large)
        self._keys, self._losses = [], []
        self._stalled = self._stalled + 1 if float(norm) == 0 else 0
        stalls = self._stalled >= STALLED_STEPS
        if trainer.world_size > 1:
            stalls = trainer.strategy.reduce_boolean_decision(stalls, all=True)
        if stalls:
            _end(
                trainer,
                StalledError(
                    f"the gradient was 0 in {STALLED_STEPS} steps in a row, the last of them step "
                    f"{trainer.global_step}: mostly a step was too large, and a layer gives 0 for "
                    "any input since. Lower the learning rate, in another folder (`name`)."
                ),
            )

    def _stop(
        self, trainer: L.Trainer, losses: Tensor, norm: Tensor, too_large: str | None
    ) -> None:
        own = Batches(
            trainer.global_rank,
            trainer.world_size,
            trainer.current_epoch,
            self._first,
            self._keys,
            [str(float(loss)) for loss in losses],
        )
        everyone = gather_objects(own)
        trainer.save_checkpoint(weights_path(self.folder), weights_only=True)
        if not trainer.is_global_zero:
            raise SystemExit(0)  # Lightning kills the first process if another ends otherwise
        bad = [one for one in everyone if not all(map(_is_finite, one.losses))]
        content = {
            "step": trainer.global_step,
            "gradient_norm": str(float(norm)),
            "batches": [asdict(one) for one in bad or everyone],
        }
        with atomic_path(keys_path(self.folder)) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        found = (bad or everyone)[0]
        if bad:
            what = f"the loss of step {trainer.global_step} is {_first_bad(found.losses)}"
        elif not norm.isfinite():
            what = f"the gradient of step {trainer.global_step} is {float(norm)}"
        else:
            what = f"{too_large} at step {trainer.global_step}"
        keys = [key for batch in found.keys for key in batch]
        named = ", ".join(keys[:NAMED_SAMPLES]) + (", …" if keys[NAMED_SAMPLES:] else "")
        raise NonFiniteError(
            f"{what}: training ended before that step, and the weights are unharmed. Samples: "
            f"{named} ({keys_path(self.folder)} has them all). debug=replay runs them again; a "
            "lower learning rate, gradient_clip_val=1 or precision=32-true may "
            "train on, in another folder (`name`)."
        )

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look at the weights that are about to be judged."""
        check_weights(trainer, pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look at the score before it chooses the best weights."""
        del pl_module
        score = trainer.callback_metrics.get(self.monitor)
        if score is not None and not math.isfinite(score):
            _end(
                trainer,
                NonFiniteError(
                    f"validation after step {trainer.global_step} gave {self.monitor} = "
                    f"{float(score)}. No weights were kept for it. Look at the validation data, or "
                    "choose another monitor."
                ),
            )


def _too_large(optimizer: Optimizer) -> str | None:
    """Name the optimizer's number with which no step is finite; None where there is none.

    Such a step ends in an error of PyTorch's between two of the weights.
    """
    for group in optimizer.param_groups:
        largest = torch.finfo(group["params"][0].dtype).max / HEADROOM
        for name, value in group.items():
            if isinstance(value, int | float | Tensor) and not abs(float(value)) <= largest:
                return f"the optimizer's {name} is {float(value):g}, beyond what a step can hold,"
    return None


def check_weights(trainer: L.Trainer, module: L.LightningModule) -> None:
    """Make sure that the weights are finite, before they are judged or written.

    Raises:
        NonFiniteError: one is not.
    """
    norm = torch.nn.utils.get_total_norm(list(module.parameters()))
    if not norm.isfinite():
        _end(
            trainer,
            NonFiniteError(
                f"the weights after step {trainer.global_step} are not finite (norm "
                f"{float(norm)}): the step was too large. Their checkpoint was not written. Lower "
                "the learning rate, in another folder (`name`)."
            ),
        )


def _end(trainer: L.Trainer, error: SpikerecError) -> None:
    """End all processes; each of them has found the same."""
    if not trainer.is_global_zero:
        raise SystemExit(0)
    raise error


def keys_path(folder: Path) -> Path:
    """The file that names the samples of the step at which a run ended."""
    return folder / "nonfinite.json"


def weights_path(folder: Path) -> Path:
    """The weights at that step."""
    return folder / "checkpoints" / "nonfinite.ckpt"


@dataclass(frozen=True)
class Replayed:
    """Findings of one batch that was run again.

    Attributes:
        keys: its samples.
        loss: the total.
        terms: its terms by name.
        gradient_norm: of this batch alone.
        layer: the first layer whose output is not finite; None where all are.
    """

    keys: list[str]
    loss: float
    terms: dict[str, float]
    gradient_norm: float
    layer: str | None

    def __str__(self) -> str:
        """State loss, terms, gradient, the first layer that is not finite, and the samples."""
        terms = ", ".join(f"{name} {value:.6g}" for name, value in self.terms.items())
        where = f"; first not finite: the output of {self.layer}" if self.layer else ""
        keys = ", ".join(self.keys)
        return f"loss {self.loss:.6g} ({terms}), gradient {self.gradient_norm:.6g}{where}: {keys}"


@checked
def replay(
    network: Network,
    loss: Loss,
    data: SpikeDataModule,
    folder: Path,
    trainer: L.Trainer | None = None,
) -> Iterator[Replayed]:
    """Run the batches again at which a run ended, with the weights it had; no file is changed.

    Args:
        network: of the run.
        loss: of the run.
        data: of the run.
        folder: of the run.
        trainer: of the precision in which to compute; None for float32.

    Raises:
        ConfigError: the run did not end so, or the data are others.
    """
    path = keys_path(folder)
    if not path.exists():
        raise ConfigError(
            f"{folder} has no nonfinite.json: no step of that run was stopped, so that there is "
            "nothing to replay. Name the run as it was trained (`name`)."
        )
    state = TorchCheckpointIO().load_checkpoint(weights_path(folder), weights_only=True)
    if (budget := Budget.read(budget_path(folder))) is not None:
        data.samples_per_epoch = budget.samples_per_epoch
    data.setup("fit")
    module = ReconstructionModule(network, loss=loss)
    precision = trainer.precision_plugin.forward_context if trainer else nullcontext
    module.load_state_dict(state["state_dict"], strict=False)
    module.train()
    for batches in _stopped_batches(path):
        found = data.training_batches(
            batches.epoch,
            batches.first,
            count=len(batches.keys),
            rank=batches.rank,
            processes=batches.processes,
        )
        for batch, keys in zip_longest(found, batches.keys):
            if batch is None or list(batch["key"]) != keys:
                now = "nothing" if batch is None else ", ".join(batch["key"][:NAMED_SAMPLES])
                raise ConfigError(
                    f"the step was to learn from {', '.join(keys[:NAMED_SAMPLES])}, and would now "
                    f"from {now}: the data are not those of {folder}. Give the run's words, and "
                    "its data as they were."
                )
            with precision():
                replayed = _run_again(module, batch)
            yield replayed


def _stopped_batches(path: Path) -> list[Batches]:
    """The batches of the step at which a run ended.

    Raises:
        ConfigError: the file is damaged.
    """
    try:
        return [Batches(**item) for item in read_json(path, RUN_DOCUMENT)["batches"]]
    except (DataError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} is damaged ({type(error).__name__}), so that the step cannot be run again."
        ) from error


def _run_again(module: ReconstructionModule, batch: dict[str, Any]) -> Replayed:
    module.zero_grad()
    spoiled: list[str] = []
    hooks = [
        part.register_forward_hook(_noting(name, spoiled))
        for name, part in module.network.named_modules()
        if name
    ]
    try:
        total, terms = module.learn(batch)
    finally:
        for hook in hooks:
            hook.remove()
    total.backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in module.network.parameters() if p.grad is not None]
    return Replayed(
        list(batch["key"]),
        float(total.detach()),
        {name: float(value.detach()) for name, value in terms.items()},
        float(torch.nn.utils.get_total_norm(gradients)),
        spoiled[0] if spoiled else None,
    )


def _noting(name: str, spoiled: list[str]) -> Any:  # noqa: ANN401 (PyTorch's hook)
    def note(part: nn.Module, inputs: Any, output: Any) -> None:  # noqa: ANN401
        del part, inputs
        if torch.is_tensor(output) and not output.isfinite().all():
            spoiled.append(name)

    return note


def _is_finite(number: str) -> bool:
    return math.isfinite(float(number))


def _first_bad(losses: list[str]) -> str:
    return next(loss for loss in losses if not _is_finite(loss))

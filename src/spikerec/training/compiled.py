"""Training by PyTorch's own compiler, as a callback: callbacks=[default,compile]."""

from __future__ import annotations

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from spikerec.data import SpikeDataModule
from spikerec.errors import ConfigError
from spikerec.kinds import checked
from spikerec.training.module import ReconstructionModule


@checked
class CompiledSteps(Callback):
    """Compute the network's training steps by `torch.compile`.

    The first step takes minutes, later ones less time than before. Validation computes the network
    as it is written: its pictures have sizes of their own, each of which would be compiled anew.

    Args:
        backend: of `torch.compile`.

    Raises:
        ConfigError: no such backend; when training starts, data of sequences.
    """

    def __init__(self, backend: str = "inductor") -> None:
        if backend not in torch.compiler.list_backends(exclude_tags=()):  # those for trials too
            known = ", ".join(torch.compiler.list_backends())
            raise ConfigError(f"backend must be one of {known}, found {backend!r}.")
        self.backend = backend

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Have the network compiled at its first step.

        Raises:
            ConfigError: it is trained over sequences, by steps that are not compiled.
        """
        data = getattr(trainer, "datamodule", None)
        if isinstance(data, SpikeDataModule) and data.sequences is not None:
            raise ConfigError(
                "callbacks has compile, which reaches single windows alone, and the data are "
                "sequences: leave compile out, or set sequence=null."
            )
        assert isinstance(pl_module, ReconstructionModule)
        pl_module.network.compile(backend=self.backend, dynamic=False)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compute as written."""
        del trainer, pl_module
        torch.compiler.set_stance("force_eager")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compute by the compiler again."""
        del trainer, pl_module
        torch.compiler.set_stance("default")

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Leave the compiler as it was: after an error in validation, nothing else would."""
        del trainer, pl_module, exception
        torch.compiler.set_stance("default")

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Leave the network as it was."""
        del trainer, stage
        torch.compiler.set_stance("default")
        assert isinstance(pl_module, ReconstructionModule)
        pl_module.network._compiled_call_impl = None  # there is no public way back

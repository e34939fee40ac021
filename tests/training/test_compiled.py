"""Training by PyTorch's compiler: the same steps, and a network left as it was."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor

import spikerec
from spikerec.data import SpikeDataModule
from spikerec.data.reds import REDS
from spikerec.errors import ConfigError
from spikerec.models import Fast
from spikerec.models.base import Reconstruction
from spikerec.training import ReconstructionModule
from spikerec.training.compiled import CompiledSteps
from tests.fakes import fake_reds

QUIET = partial(
    L.Trainer,
    accelerator="cpu",
    enable_progress_bar=False,
    enable_model_summary=False,
    num_sanity_val_steps=0,
)


class Noting(Fast):
    """A small network that notes of each pass on values whether it trains, and is compiled."""

    def __init__(self, window: int = 11) -> None:
        super().__init__(window, filters=2, channels=(4,), blocks=(1,))
        self.passes: list[tuple[bool, bool]] = []

    def forward(self, spikes: Tensor) -> Reconstruction:
        if spikes.device.type == "cpu":
            self.passes.append((self.training, torch.compiler.is_dynamo_compiling()))
        return super().forward(spikes)


def trained(folder: Path, name: str, *callbacks: L.Callback) -> Noting:
    """A network trained for two epochs of two steps, each followed by a validation."""
    fake_reds(folder / name / "reds", num_readouts=41)
    data: dict[str, Any] = {"batch_size": 2, "crop": (16, 16), "samples_per_epoch": 4}
    reds = SpikeDataModule(REDS(folder / name / "reds", height=24, width=40), window=11, **data)
    torch.manual_seed(0)
    network = Noting()
    spikerec.fit(
        network,
        reds,
        folder=folder / name / "run",
        validation=["psnr"],
        trainer=QUIET,
        max_epochs=2,
        callbacks=callbacks,
    )
    return network


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("default")  # compilers warn of what a user may ignore
def test_compiled_steps_are_those_of_the_network_as_written(tmp_path: Path, backend: str) -> None:
    written = trained(tmp_path, "written")
    compiled = trained(tmp_path, "compiled", CompiledSteps(backend))
    for name, value in written.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value, rtol=1e-3, atol=1e-5)
    assert set(written.passes) == {(True, False), (False, False)}
    steps = [is_compiled for is_training, is_compiled in compiled.passes if is_training]
    assert steps[-4:] == [True] * 4
    assert (False, True) not in compiled.passes, "validation runs as written"


def test_the_network_is_left_as_it_was(tmp_path: Path) -> None:
    network = trained(tmp_path, "compiled", CompiledSteps("aot_eager"))
    network.passes.clear()
    network.train()(torch.zeros(1, 11, 16, 16))
    assert network.passes == [(True, False)]


def test_a_backend_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"backend must be one of .*inductor.*, found 'indoctor'"):
        CompiledSteps("indoctor")


def test_sequences_are_refused_since_their_steps_are_not_compiled(tmp_path: Path) -> None:
    fake_reds(tmp_path / "reds", num_readouts=41)
    data = SpikeDataModule(REDS(tmp_path / "reds"), window=11, hop=5, sequence=2)
    trainer: Any = SimpleNamespace(datamodule=data)
    with pytest.raises(ConfigError, match="leave compile out, or set sequence=null"):
        CompiledSteps("aot_eager").on_fit_start(trainer, ReconstructionModule(Noting()))


def test_an_error_in_validation_leaves_the_compiler_as_it_was() -> None:
    callback, trainer = CompiledSteps("aot_eager"), L.Trainer(logger=False, accelerator="cpu")
    module = ReconstructionModule(Noting())
    compiled: list[bool] = []

    def noting(x: Tensor) -> Tensor:
        compiled.append(torch.compiler.is_dynamo_compiling())
        return x + 1

    function = torch.compile(noting, backend="eager")
    callback.on_validation_start(trainer, module)
    callback.on_exception(trainer, module, RuntimeError())
    function(torch.zeros(1))
    assert compiled == [True]

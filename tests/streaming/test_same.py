"""Facts that make an output that is there another one, which is not taken for what is asked for."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

import spikerec
from spikerec import spikes
from spikerec.errors import DataError
from spikerec.models.base import Network, Reconstruction
from tests.fakes import fake_spikes


class Power(Network):
    """A method of the user's own, with an argument and no weights."""

    def __init__(self, power: float = 1.0) -> None:
        super().__init__(window=11, output_scale=1.0)
        self.power = power

    def forward(self, spikes: Tensor) -> Reconstruction:
        return Reconstruction(spikes.float().mean(1, keepdim=True) ** self.power)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    spikes.save(tmp_path / "clip.npy", fake_spikes(90, 20, 28), light_scale=0.5)
    return tmp_path / "clip.npy"


def made(clip: Path, method: str | Network, **settings: object) -> int:
    network = spikerec.load(method, **settings) if isinstance(method, str) else method
    return spikerec.reconstruct(clip, network, stride=40).save(clip.with_name("out.npy"))


@pytest.mark.parametrize(
    ("method", "settings"), [("tfstp", {"recovery_time": 3.0}), ("tfi", {"rule": "sequence"})]
)
def test_an_argument_of_a_method(clip: Path, method: str, settings: dict[str, object]) -> None:
    assert made(clip, method) == 3
    assert made(clip, method) == 0
    with pytest.raises(DataError, match=r"made with other settings \(arguments\)"):
        made(clip, method, **settings)


def test_an_argument_and_an_attribute_of_a_network_of_ones_own(clip: Path) -> None:
    assert made(clip, Power()) == 3
    assert made(clip, Power()) == 0
    with pytest.raises(DataError, match=r"\(arguments, code\)"):
        made(clip, Power(3.0))
    changed = Power()
    changed.power = 3.0
    with pytest.raises(DataError, match=r"\(code\)"):
        made(clip, changed)
    made_by_hand = Power()
    made_by_hand.forward = lambda one: Reconstruction(one[:, :1].float() * 0)  # type: ignore[method-assign,assignment]
    with pytest.raises(DataError, match=r"\(code\)"):
        made(clip, made_by_hand)


CODE = """
from spikerec.models.base import Network, Reconstruction

class Mean(Network):
    def __init__(self):
        super().__init__(window=11, output_scale=1.0)

    def forward(self, spikes):
        return Reconstruction(spikes.float().mean(1, keepdim=True))
"""


def test_the_code_of_a_network_of_ones_own(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "edited_network.py").write_text(CODE)
    module = importlib.import_module("edited_network")
    assert made(clip, module.Mean()) == 3
    (tmp_path / "edited_network.py").write_text(CODE.replace("True))", "True) ** 2)"))
    module = importlib.reload(module)
    with pytest.raises(DataError, match=r"\(code\)"):
        made(clip, module.Mean())


def test_another_recording_of_the_same_name(clip: Path) -> None:
    assert made(clip, "tfp") == 3
    spikes.save(clip, np.roll(fake_spikes(90, 20, 28), 1, 2), light_scale=0.5, overwrite=True)
    with pytest.raises(DataError, match=r"\(spikes\)"):
        made(clip, "tfp")

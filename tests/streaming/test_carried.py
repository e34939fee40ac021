"""Videos whose images go on from the state that earlier windows left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from spikerec import spikes
from spikerec.configs import build
from spikerec.errors import ConfigError
from spikerec.inference.carried import Carried
from spikerec.models.base import Network
from spikerec.models.carrying import Carry, windows_before
from spikerec.spikes import SpikeStream, as_stream
from spikerec.streaming import Tiling, Video, make_frames, reconstruct
from spikerec.streaming.key_readouts import KeyReadouts
from tests.fakes import fake_spikes
from tests.training.test_sequences import HOP, STATEFUL, Memory, small


@pytest.fixture
def stream() -> SpikeStream:
    return as_stream(fake_spikes(150, 16, 24, rate=0.3))


@torch.inference_mode()
def by_chain(stream: SpikeStream, network: Network, key_readout: int, carry: Carry) -> Tensor:
    """The image of one readout by the definition: windows in order, each from the last's state."""
    count = windows_before(key_readout, network.key_readout, HOP, carry)
    state, image = None, torch.zeros(())
    for back in range(count, -1, -1):
        window = torch.tensor(stream.window(key_readout - back * HOP, network.window))[None]
        (image, _), state = network.reconstruct_next(window, 0.5, state)
    return image[0, 0]


def images(video: Video) -> dict[int, Tensor]:
    return {frame.key_readout: frame.images[0] for frame in video.frames()}


@pytest.mark.parametrize("carry", [1, 3, "start"])
@pytest.mark.parametrize("stride", [7, 10, 20, 30, 45])
def test_a_video_follows_the_definition(stream: SpikeStream, stride: int, carry: Carry) -> None:
    network = Memory()
    made = images(reconstruct(stream, network, stride=stride, start=3, carry=carry, exposure=1.0))
    assert list(made) == list(range(3, 150, stride))
    for key_readout, image in made.items():
        expected = by_chain(stream, network, key_readout, carry)
        torch.testing.assert_close(image, expected * 0.5)
    alone = images(reconstruct(stream, network, stride=stride, start=3, exposure=1.0))
    assert not all(torch.equal(made[one], alone[one]) for one in made)


@pytest.mark.parametrize("name", STATEFUL)
def test_every_method_carries_its_state_along_a_video(name: str, stream: SpikeStream) -> None:
    network = small(name).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3)  # so that neurons fire and the state is felt
    settings: dict[str, Any] = {"carry": "start", "exposure": 1.0, "optimise": False}
    made = images(reconstruct(stream, network, start=70, stride=35, **settings))
    alone = images(reconstruct(stream, network, start=70, stride=35, **settings | {"carry": None}))
    for key_readout, image in made.items():
        expected = by_chain(stream, network, key_readout, "start") * 0.5
        torch.testing.assert_close(image, expected, atol=1e-5, rtol=1e-4)
        assert not torch.allclose(image, alone[key_readout], atol=1e-6)


@pytest.mark.parametrize("carry", [2, "start"])
def test_parts_single_pictures_and_lists_are_those_of_the_whole(
    stream: SpikeStream, carry: Carry
) -> None:
    network = Memory()
    whole = reconstruct(stream, network, stride=5, carry=carry, exposure=1.0)
    made = images(whole)
    (frame,) = whole.frames(17, 18)
    assert torch.equal(frame.images[0], made[85])
    listed = images(reconstruct(stream, network, at=[20, 85, 90, 140], carry=carry, exposure=1.0))
    for key_readout, image in listed.items():
        assert torch.equal(image, made[key_readout])


def test_methods_without_a_state_stand_beside(stream: SpikeStream) -> None:
    methods = {"memory": Memory(), "tfp": build("model", "tfp", window=11)}
    video = reconstruct(stream, methods, stride=30, carry=2, exposure=1.0, batch_size=4)
    alone = images(reconstruct(stream, build("model", "tfp", window=11), stride=30, exposure=1.0))
    for frame in video.frames():
        assert torch.equal(frame.images[1], alone[frame.key_readout])
        expected = by_chain(stream, methods["memory"], frame.key_readout, 2) * 0.5
        torch.testing.assert_close(frame.images[0], expected)
    assert video.settings()["carry"] == 2
    assert video.about()["carry"] == 2


@pytest.mark.parametrize("carry", [2, "start"])
def test_each_tile_and_each_plane_carries_its_own_state(
    stream: SpikeStream, carry: Carry, tmp_path: Path
) -> None:
    network = Carried(Memory().eval(), carry)
    wanted = KeyReadouts(50, 150, 25)
    whole = list(make_frames(stream, [network], wanted))
    tiling = Tiling(network, 16, 24, 12, 4)
    for one, tiled in zip(
        whole, make_frames(stream, [network], wanted, tilings=[tiling]), strict=True
    ):
        torch.testing.assert_close(tiled.images, one.images)
    path = tmp_path / "colour.npy"
    spikes.save(path, stream[:], bayer="rggb")
    colour = spikes.open(path)
    for one, planes in zip(whole, make_frames(colour, [network], wanted), strict=True):
        torch.testing.assert_close(planes.images, one.images)  # it works pixel by pixel


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"carry": 0}, "carry must be a number of windows above 0"),
        ({"carry": 1, "engine": "compile"}, "needs engine=torch and precision=float32"),
        ({"carry": 1, "precision": "bf16"}, "found engine=torch and precision=bf16"),
    ],
)
def test_a_state_that_cannot_be_carried_is_said(
    stream: SpikeStream, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        reconstruct(stream, Memory(), stride=30, **settings)
    with pytest.raises(ConfigError, match="TFP carries no state"):
        reconstruct(stream, "tfp", stride=30, carry=1)

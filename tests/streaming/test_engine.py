from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from spikerec import spikes
from spikerec.configs import build, config_names
from spikerec.errors import ConfigError, WindowError
from spikerec.models.base import Network, Reconstruction
from spikerec.models.blocks import BlockNetwork
from spikerec.spikes import Geometry, SpikeStream
from spikerec.streaming import KeyReadouts, Tiling, make_frames, reconstruct
from spikerec.streaming.ahead import ahead
from spikerec.streaming.reading import read
from tests.fakes import fake_spikes

MODELS = config_names("model")


@pytest.fixture
def stream(tmp_path: Path) -> SpikeStream:
    return saved(110, tmp_path)


def saved(num_readouts: int, folder: Path) -> SpikeStream:
    path = folder / "clip.dat"
    spikes.save(path, fake_spikes(num_readouts, 20, 28, rate=0.15), geometry=Geometry(20, 28))
    return spikes.open(path)


class Blur(Network):
    """A network that sees no further than 4 pixels and halves the picture on the way."""

    multiple = 4

    def __init__(self) -> None:
        super().__init__(window=5)
        self.down = nn.Conv2d(5, 4, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(4, 1, 4, stride=2, padding=1)

    def forward(self, spikes: Tensor) -> Reconstruction:
        return Reconstruction(self.up(torch.relu(self.down(spikes))))


def plain(
    stream: SpikeStream, network: Network, key_readouts: KeyReadouts, light_scale: float
) -> Tensor:
    """The images window by window, as `Network.reconstruct` gives them."""
    network.eval()
    with torch.inference_mode():
        windows = [
            torch.from_numpy(stream.packed(first, first + network.window, ends="reflect").unpack())
            for first in (key_readout - network.key_readout for key_readout in key_readouts)
        ]
        return torch.cat(
            [network.reconstruct(one[None], light_scale).image[:, 0] for one in windows]
        )


def streamed(
    stream: SpikeStream, network: Network, key_readouts: KeyReadouts, **settings: object
) -> Tensor:
    return torch.stack(
        [one.images[0] for one in make_frames(stream, [network], key_readouts, **settings)]
    )  # type: ignore[arg-type]


@pytest.fixture
def num_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("num_threads", [1, 2], indirect=True)  # a batch, and a thread for each
@pytest.mark.usefixtures("num_threads")
def test_streaming_equals_the_plain_forward(name: str, tmp_path: Path) -> None:
    network: Network = build("model", name)
    stream = saved(network.window + 49, tmp_path)
    key_readouts = KeyReadouts.of(stream, [network], stride=20, ends="drop")
    assert (key_readouts.first, key_readouts.stop) == (
        network.window // 2,
        network.window // 2 + 50,
    )
    found = streamed(stream, network, key_readouts, light_scale=0.5, batch_size=2)
    torch.testing.assert_close(
        found, plain(stream, network, key_readouts, 0.5), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("num_readouts", [5, 90])  # shorter than all windows, or longer than most
def test_ends_are_mirrored_along_a_stream_as_in_a_window(
    name: str, num_readouts: int, tmp_path: Path
) -> None:
    network: Network = build("model", name)
    stream = saved(num_readouts, tmp_path)
    stride = max(1, num_readouts // 8)
    key_readouts = KeyReadouts.of(stream, [network], stride)
    assert list(key_readouts) == list(range(0, num_readouts, stride))
    found = streamed(stream, network, key_readouts, light_scale=0.5, batch_size=2)
    torch.testing.assert_close(
        found, plain(stream, network, key_readouts, 0.5), atol=1e-5, rtol=1e-5
    )


def test_a_part_has_the_frames_of_the_whole(stream: SpikeStream) -> None:
    network = build("model", "tfp", window=31)
    whole = streamed(stream, network, KeyReadouts.of(stream, [network], 1))
    part = streamed(stream, network, KeyReadouts.of(stream, [network], 1, start=5, stop=100))
    assert len(whole) == 110
    assert torch.equal(part, whole[5:100])


@pytest.mark.parametrize("overlap", [24, 20])
def test_tiles_see_mirrored_ends_as_the_whole_picture_does(overlap: int, tmp_path: Path) -> None:
    spikes.save(tmp_path / "large.npy", fake_spikes(4, 70, 93))
    stream = spikes.open(tmp_path / "large.npy")
    network = Blur()
    key_readouts = KeyReadouts.of(stream, [network], 1)
    tilings = [Tiling(network, 70, 93, 40, overlap)]
    found = streamed(stream, network, key_readouts, tilings=tilings, batch_size=3)
    torch.testing.assert_close(
        found, plain(stream, network, key_readouts, 1.0), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("name", ["tfi", "fast", "stir"])  # by intervals, windows, blocks
def test_a_stream_without_spikes_is_black(name: str, tmp_path: Path) -> None:
    network: Network = build("model", name)
    array = fake_spikes(network.window + 80, 20, 28, rate=0.15)
    array[: network.window + 20] = 0
    spikes.save(tmp_path / "dusk.npy", array)
    stream = spikes.open(tmp_path / "dusk.npy")
    key_readouts = KeyReadouts.of(stream, [network], stride=20, ends="drop")
    found = streamed(stream, network, key_readouts, light_scale=0.4, batch_size=2)
    assert not found[:2].any()
    assert all(image.any() for image in found[2:])
    torch.testing.assert_close(
        found, plain(stream, network, key_readouts, 0.4), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("name", ["tfp", "tfi"])
@pytest.mark.parametrize("stride", [1, 3, 7, 15, 20, 30, 50])
@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_running_representations_are_exact(
    name: str, stride: int, rate: float, tmp_path: Path
) -> None:
    spikes.save(tmp_path / "clip.npy", fake_spikes(130, 5, 7, rate=rate))
    stream = spikes.open(tmp_path / "clip.npy")
    network: Network = build("model", name)
    key_readouts = KeyReadouts.of(stream, [network], stride)
    found = streamed(stream, network, key_readouts, batch_size=3)
    assert torch.equal(found, plain(stream, network, key_readouts, 1.0))


@pytest.mark.parametrize("window", [2, 20, 21])
@pytest.mark.parametrize("rule", ["key", "sequence"])
def test_running_intervals_follow_both_rules(window: int, rule: str, stream: SpikeStream) -> None:
    network: Network = build("model", "tfi", window=window, rule=rule)
    for stride in range(1, window):
        key_readouts = KeyReadouts.of(stream, [network], stride, start=3, stop=90)
        assert torch.equal(
            streamed(stream, network, key_readouts), plain(stream, network, key_readouts, 1.0)
        )


class Counting(BlockNetwork):
    """Sums its blocks, and counts how many it was asked to encode."""

    def __init__(self) -> None:
        super().__init__(window=13)
        self.blocks = spikes_blocks()
        self.encoded: list[int] = []  # which threads may share

    def encode(self, block: Tensor) -> tuple[Tensor, ...]:
        self.encoded.append(len(block))
        return (block.sum(1, keepdim=True),)

    def join(self, features: object) -> Reconstruction:
        weighted = [(k + 1) * one[0] for k, one in enumerate(features)]  # type: ignore[var-annotated,arg-type]
        return Reconstruction(torch.stack(weighted).sum(0))


def spikes_blocks() -> object:
    from spikerec.models.blocks import Blocks

    return Blocks(length=5, stride=4, count=3)


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 5, 8, 13])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_each_block_is_encoded_once(stride: int, batch_size: int, stream: SpikeStream) -> None:
    network = Counting().eval()
    key_readouts = KeyReadouts.of(stream, [network], stride)
    found = streamed(stream, network, key_readouts, batch_size=batch_size)
    encoded = sum(network.encoded)
    torch.testing.assert_close(found, plain(stream, network, key_readouts, 1.0))
    blocks = {key_readout + 4 * k for key_readout in key_readouts for k in range(3)}
    assert encoded == (len(blocks) if network.blocks.are_shared(stride) else 3 * len(key_readouts))
    assert network.blocks.are_shared(stride) == (len(blocks) < 3 * len(key_readouts))


def test_no_readout_is_read_twice(stream: SpikeStream) -> None:
    seen = [t for chunk in read(stream, range(10, 90, 3), 10, 11) for t in range(*chunk[:2])]
    assert seen == list(range(seen[-1] + 1))
    seen = [t for chunk in read(stream, range(0, 110, 3), 10, 11) for t in range(*chunk[:2])]
    assert seen == list(range(-10, 119))


def test_a_long_file_is_let_go_of_again_and_again(
    stream: SpikeStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spikerec.streaming.reading.RELEASE_BYTES", 0)
    for _ in range(4):  # more often than files may be open
        chunks = list(read(stream, range(10, 100), 10, 10))
    assert torch.equal(
        torch.from_numpy(chunks[-1].packed.unpack()), torch.from_numpy(stream[108:109])
    )


def test_readouts_between_windows_are_not_read(stream: SpikeStream) -> None:
    chunks = read(stream, [10, 60], 10, 11)
    assert [chunk[:2] for chunk in chunks] == [(0, 21), (50, 71)]


def test_several_networks_share_their_key_readouts(stream: SpikeStream) -> None:
    networks = [build("model", "tfp", window=31), build("model", "tfi", window=11)]
    key_readouts = KeyReadouts.of(stream, networks, 10)
    found = list(make_frames(stream, networks, key_readouts))
    assert [frame.key_readout for frame in found] == list(range(0, 110, 10))
    for k, network in enumerate(networks):
        expected = plain(stream, network, key_readouts, 1.0)
        assert torch.equal(torch.stack([frame.images[k] for frame in found]), expected)
    assert torch.equal(found[1].spikes, torch.from_numpy(stream[10]))


@pytest.mark.parametrize(("tile", "overlap"), [(32, 24), (40, 20), (36, 26)])
def test_tiles_give_the_whole_picture(tile: int, overlap: int, tmp_path: Path) -> None:
    spikes.save(tmp_path / "large.npy", fake_spikes(12, 70, 93))
    stream = spikes.open(tmp_path / "large.npy")
    network = Blur()
    key_readouts = KeyReadouts.of(stream, [network], 3)
    tilings = [Tiling(network, 70, 93, tile, overlap)]
    found = streamed(stream, network, key_readouts, tilings=tilings, batch_size=2)
    torch.testing.assert_close(
        found, plain(stream, network, key_readouts, 1.0), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("name", ["stir", "spk2imgnet", "ssir"])
def test_tiles_of_networks_have_no_seams(name: str, tmp_path: Path) -> None:
    spikes.save(tmp_path / "large.npy", fake_spikes(61, 48, 64, rate=0.3))
    stream = spikes.open(tmp_path / "large.npy")
    network: Network = build("model", name).eval()
    key_readouts = KeyReadouts.of(stream, [network], 20)
    found = streamed(stream, network, key_readouts, tilings=[Tiling(network, 48, 64, 48, 16)])
    assert found.shape[1:] == (48, 64)
    assert found.isfinite().all()


def test_a_tile_no_larger_than_its_overlap_is_refused(stream: SpikeStream) -> None:
    with pytest.raises(ConfigError, match=r"tile must be larger than tile_overlap.*16 and 16"):
        reconstruct(stream, Blur(), tile=16, tile_overlap=16)[0]


def test_key_readouts_without_a_window_are_refused(stream: SpikeStream, tmp_path: Path) -> None:
    network = build("model", "tfp", window=31)
    spikes.save(tmp_path / "short.npy", fake_spikes(30, 20, 28))
    short = spikes.open(tmp_path / "short.npy")
    with pytest.raises(WindowError, match=r"window of 31 readouts that TFP needs, in the 30 that"):
        KeyReadouts.of(short, [network], 1, ends="drop")
    with pytest.raises(WindowError, match=r"\[90, 110\).*Set ends=reflect"):
        KeyReadouts.of(stream, [build("model", "tfp", window=41)], 1, start=90, ends="drop")
    with pytest.raises(WindowError, match=r"holds 110 readouts, of which \[110, 110\) are none"):
        KeyReadouts.of(stream, [network], 1, start=110)
    spikes.save(tmp_path / "two.npy", fake_spikes(2, 20, 28))
    two = spikes.open(tmp_path / "two.npy")
    with pytest.raises(WindowError, match=r"holds 2 readouts.*at least 3"):
        KeyReadouts.of(two, [network], 1)
    with pytest.raises(ConfigError, match="ends must be reflect or drop, found the text 'crop'"):
        KeyReadouts.of(stream, [network], 1, ends="crop")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="stride must be at least 1, found 0"):
        KeyReadouts.of(stream, [network], 0)


def test_items_made_ahead_are_the_same_and_few() -> None:
    made = []

    def numbers() -> Generator[int, None, None]:
        for number in range(10):
            made.append(number)
            yield number

    items = ahead(numbers(), 2)
    assert next(items) == 0
    time.sleep(0.05)
    assert len(made) <= 3
    assert list(items) == list(range(1, 10))


def test_an_error_on_the_way_arrives_and_the_thread_ends() -> None:
    closed = []

    def failing() -> Generator[int, None, None]:
        try:
            yield 1
            raise OSError("disk")
        finally:
            closed.append(True)

    before = threading.active_count()
    items = ahead(failing(), 2)
    assert next(items) == 1
    with pytest.raises(OSError, match="disk"):
        next(items)
    assert closed
    assert threading.active_count() == before


def test_stopping_early_ends_the_thread(stream: SpikeStream) -> None:
    network = build("model", "tfp", window=31)
    before = threading.active_count()
    items = make_frames(stream, [network], KeyReadouts.of(stream, [network], 1))
    next(items)
    items.close()
    assert threading.active_count() == before

"""Colour cameras: planes apart, white balance, and pictures in colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from spikerec import spikes
from spikerec.configs import build
from spikerec.errors import ConfigError
from spikerec.models.base import Network
from spikerec.spikes import SpikeStream
from spikerec.spikes.bayer import PLANES, mosaic, notice_mosaic
from spikerec.spikes.defects import Repair, find_defects, sample
from spikerec.spikes.inspection import inspect
from spikerec.streaming import FixedPattern, KeyReadouts, Tiling, make_frames, reconstruct
from spikerec.streaming.colour import balance_gains, demosaic
from spikerec.weights.trained import load
from tests.fakes import fake_spikes

COLOURS = {"r": 0.6, "g": 0.3, "b": 0.1}


def periodic(rates: NDArray[np.float64], num_readouts: int = 80) -> NDArray[np.uint8]:
    """Spikes (T, H, W) that fire at rates (H, W) as evenly as can be."""
    times = np.arange(num_readouts + 1)[:, None, None]
    return np.diff(np.floor(times * rates + 0.5), axis=0).astype(np.uint8)


def flat(pattern: Any, height: int = 14, width: int = 17) -> NDArray[np.float64]:
    """The rates of a scene of one colour behind a mosaic."""
    colours = mosaic(pattern, height, width)
    return np.select([colours == one for one in COLOURS], list(COLOURS.values()))


def saved(folder: Path, values: NDArray[np.uint8], **stated: Any) -> SpikeStream:
    spikes.save(folder / "colour.npy", values, light_scale=1.0, overwrite=True, **stated)
    return spikes.open(folder / "colour.npy")


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "grbg", "gbrg"])
@pytest.mark.parametrize(("rotate", "flip"), [(0, "none"), (90, "none"), (180, "vertical")])
def test_a_scene_of_one_colour_comes_back_whatever_the_pattern_and_turn(
    pattern: Any, rotate: int, flip: Any, tmp_path: Path
) -> None:
    saved(tmp_path, periodic(flat(pattern)), bayer=pattern)
    stream = spikes.open(tmp_path / "colour.npy", rotate=rotate, flip=flip)
    network = build("model", "tfp", window=20)
    (frame,) = reconstruct(stream, network, start=40, stop=41).frames()
    assert frame.images.shape == (1, stream.height, stream.width, 3)
    np.testing.assert_allclose(
        frame.images[0].reshape(-1, 3).mean(0), list(COLOURS.values()), atol=0.03
    )
    spread = frame.images[0].reshape(-1, 3).numpy().std(0)
    assert spread.max() < 1e-4  # periodic: each window of 20 holds as many spikes


def test_a_grey_scene_is_grey(tmp_path: Path) -> None:
    y, x = np.mgrid[:24, :30]
    stream = saved(tmp_path, periodic(0.3 + 0.01 * x + 0 * y, 200), bayer="rggb")
    network = build("model", "tfp", window=100)
    (frame,) = reconstruct(stream, network, start=100, stop=101).frames()
    inside = frame.images[0, 2:-2, 2:-2].numpy()
    assert np.ptp(inside, axis=-1).max() < 0.02


@pytest.mark.parametrize("size", [(14, 18), (15, 17)])
@pytest.mark.parametrize("name", ["tfp", "tfi", "fast", "ssir", "spk2imgnet"])
def test_each_plane_is_reconstructed_as_a_grey_stream(
    name: str, size: tuple[int, int], tmp_path: Path
) -> None:
    network: Network = build("model", name).eval()
    stream = saved(tmp_path, fake_spikes(50, *size, rate=0.3), bayer="grbg")
    key_readouts = KeyReadouts.of(stream, [network], 20)
    frames = list(make_frames(stream, [network], key_readouts, light_scale=0.5, batch_size=2))
    for frame in frames:
        first = frame.key_readout - network.key_readout
        window = stream.packed(first, first + network.window, ends="reflect").unpack()
        for top, left in PLANES:
            plane = torch.from_numpy(window[None, :, top::2, left::2].copy())
            with torch.inference_mode():
                expected = network.reconstruct(plane, 0.5).image[0, 0]
            found = frame.images[0, top::2, left::2]
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["tfi", "fast"])
def test_light_of_one_colour_leaves_the_others_dark(name: str, tmp_path: Path) -> None:
    values = fake_spikes(50, 16, 16, rate=0.4)
    values[:, mosaic("rggb", 16, 16) != "b"] = 0
    stream = saved(tmp_path, values, bayer="rggb")
    network: Network = build("model", name)
    (frame,) = make_frames(stream, [network], KeyReadouts.of(stream, [network], 50, start=25))
    lit = frame.images[0] != 0
    assert not lit[torch.from_numpy(mosaic("rggb", 16, 16) != "b")].any()
    assert lit[1::2, 1::2].any()


def test_tiles_keep_the_phase_of_the_pattern(tmp_path: Path) -> None:
    class Local(Network):
        """The mean of a window over 3 × 3 pixels of a plane."""

        multiple = 4

        def __init__(self) -> None:
            super().__init__(window=5, output_scale=1.0)

        def forward(self, spikes: torch.Tensor) -> Any:
            from spikerec.models.base import Reconstruction

            rate = spikes.mean(1, keepdim=True)
            return Reconstruction(torch.nn.functional.avg_pool2d(rate, 3, 1, 1))

    network = Local()
    stream = saved(tmp_path, periodic(flat("gbrg", 91, 120), 12), bayer="gbrg")
    key_readouts = KeyReadouts.of(stream, [network], 4)
    whole = list(make_frames(stream, [network], key_readouts))
    tiling = Tiling(network, 46, 60, 32, 16)
    tiled = list(make_frames(stream, [network], key_readouts, tilings=[tiling]))
    for one, other in zip(whole, tiled, strict=True):
        torch.testing.assert_close(one.images, other.images, atol=1e-5, rtol=1e-5)


@pytest.fixture
def stream(tmp_path: Path) -> SpikeStream:
    return saved(tmp_path, periodic(flat("rggb", 16, 18)), bayer="rggb")


def test_pictures_and_numbers_are_in_colour(stream: SpikeStream, tmp_path: Path) -> None:
    network = build("model", "tfp", window=20)
    video = reconstruct(stream, network, start=20, stop=60, stride=10)
    names = ["a.mp4", "a.webm", "a.gif", "a.npy", "a.h5", "a"]
    video.save([tmp_path / name for name in names])
    expected = np.array(list(COLOURS.values()))
    for name in ("a.mp4", "a.webm"):
        with av.open(str(tmp_path / name)) as container:
            picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
        np.testing.assert_allclose(picture.mean((0, 1)) / 255, expected, atol=0.08)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 4
        levels = np.asarray(gif.convert("RGB")).mean((0, 1)) / 255
        np.testing.assert_allclose(levels, expected, atol=0.2)  # 3, 3 and 2 bits a colour
    numbers = np.load(tmp_path / "a.npy")
    assert numbers.shape == (4, 16, 18, 3)
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["TFP"][:], numbers)
        assert file.attrs["bayer"] == "rggb"
    with Image.open(tmp_path / "a" / "000001.png") as png:
        assert png.mode == "RGB"
        np.testing.assert_allclose(np.asarray(png) / 255, np.clip(numbers[1], 0, 1), atol=0.003)
    with pytest.raises(ConfigError, match="bits=16: PNGs in colour have 8 bits"):
        video.save(tmp_path / "b", bits=16)


def test_several_methods_and_the_spikes_stand_side_by_side(
    stream: SpikeStream, tmp_path: Path
) -> None:
    video = reconstruct(stream, "tfp", "tfi", stride=40, show_spikes=True, caption=True)
    picture = np.asarray(video[0])
    assert picture.shape[1:] == (3 * 18 + 2 * 2, 3)
    video.save(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["tfi"].shape == (2, 16, 18, 3)


def test_white_balance(stream: SpikeStream) -> None:
    network = build("model", "tfp", window=20)
    settings: dict[str, Any] = {"start": 40, "stop": 41, "exposure": "light_scale"}
    means = {}
    for balance in (None, "gray_world", (2, 1, 0.5)):
        (frame,) = reconstruct(stream, network, white_balance=balance, **settings).frames()
        means[balance] = frame.images[0].reshape(-1, 3).mean(0).numpy()
    np.testing.assert_allclose(means["gray_world"], means[None][1], rtol=0.1)
    np.testing.assert_allclose(means[(2, 1, 0.5)], means[None] * [2, 1, 0.5], rtol=1e-3)
    measured = reconstruct(stream, network, exposure="auto", white_balance="gray_world")
    assert measured.light_scale == pytest.approx(COLOURS["g"], rel=0.1)


@pytest.mark.parametrize("balance", ["auto", (1, 1), (1, 0, 1), (1, "x", 1), (1, True, 1)])
def test_a_white_balance_that_there_is_not(balance: Any, stream: SpikeStream) -> None:
    with pytest.raises(ConfigError, match="white_balance"):
        reconstruct(stream, "tfp", white_balance=balance)


def test_colours_that_cannot_be_are_told(tmp_path: Path) -> None:
    grey = saved(tmp_path, fake_spikes(30, 8, 8))
    with pytest.raises(ConfigError, match=r"states no colours: set bayer"):
        reconstruct(grey, "tfp", white_balance="gray_world")
    dark = saved(tmp_path, np.zeros((30, 8, 8), np.uint8), bayer="rggb")
    with pytest.raises(ConfigError, match="a colour is dark throughout the clip"):
        balance_gains("gray_world", "rggb", sample(dark))
    narrow = saved(tmp_path, fake_spikes(30, 1, 8), bayer="rggb")
    with pytest.raises(ConfigError, match="at least 2 × 2 pixels, found 1 × 8"):
        reconstruct(narrow, "tfp")[0]


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "grbg", "gbrg"])
@pytest.mark.parametrize("peak", [1e-4, 1.0, 50.0])
def test_demosaicing_keeps_a_colour_and_its_scale(pattern: Any, peak: float) -> None:
    made = demosaic((peak * flat(pattern)).astype(np.float32)[None], pattern)
    expected = peak * np.array(list(COLOURS.values()))
    np.testing.assert_allclose(
        made.reshape(-1, 3), np.tile(expected, (made.size // 3, 1)), rtol=1e-3
    )
    assert not demosaic(np.zeros((4, 4), np.float32), pattern).any()


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "grbg", "gbrg"])
@pytest.mark.parametrize("size", [(2, 2), (2, 3), (3, 2), (5, 8), (13, 10)])
def test_demosaicing_keeps_what_each_pixel_saw(pattern: Any, size: tuple[int, int]) -> None:
    seen = np.random.default_rng(0).random(size).astype(np.float32)
    made = demosaic(seen[None], pattern)[0]
    index = np.select([mosaic(pattern, *size) == one for one in "rgb"], [0, 1, 2])
    own = np.take_along_axis(made, index[..., None], -1)[..., 0]
    np.testing.assert_allclose(own, seen, atol=1e-4)


@pytest.mark.parametrize("method", ["tfp", "fast"])
def test_a_flat_field_takes_out_gains_and_not_the_colour_of_its_lamp(
    method: str, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    gain = random.uniform(0.8, 1.2, (14, 16))
    lamp = np.select([mosaic("grbg", 14, 16) == one for one in "rgb"], [0.5, 0.3, 0.2])
    streams = {}
    for name, rate in (("flat", gain * lamp), ("scene", gain * flat("grbg", 14, 16))):
        spikes.save(tmp_path / f"{name}.npy", periodic(rate, 400), light_scale=1.0, bayer="grbg")
        streams[name] = spikes.open(tmp_path / f"{name}.npy")
    network: Network = build("model", method, **({"window": 200} if method == "tfp" else {}))
    if method == "fast":
        network = load(method)
    calibration = FixedPattern.measured(None, streams["flat"])
    video = reconstruct(streams["scene"], network, calibration=calibration, start=200, stop=201)
    (frame,) = video.frames()
    expected = np.array(list(COLOURS.values()))
    inside = frame.images[0].numpy()[2:-2, 2:-2].reshape(-1, 3)
    np.testing.assert_allclose(inside.mean(0), expected, rtol=0.05)
    assert (inside.std(0) < 0.08 * expected).all()
    grey = spikes.open(tmp_path / "flat.npy", bayer="rggb")
    with pytest.raises(
        ConfigError, match=r"calibration\.flat states bayer=rggb, but .* bayer=grbg"
    ):
        reconstruct(
            streams["scene"], network, calibration=FixedPattern.measured(None, grey), start=200
        )


def test_colours_are_not_taken_for_broken_pixels() -> None:
    rate = flat("rggb", 20, 20).astype(np.float32)
    assert find_defects(rate, 1000).broken.any()
    assert not find_defects(rate, 1000, is_mosaic=True).broken.any()
    rate[7, 9] = 0.9  # a hot blue pixel
    found = find_defects(rate, 1000, is_mosaic=True)
    assert [index.tolist() for index in np.nonzero(found.hot)] == [[7], [9]]
    repaired = Repair(found.broken, is_mosaic=True)(torch.from_numpy(rate.copy()))
    assert repaired[7, 9] == pytest.approx(COLOURS["b"])


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "grbg", "gbrg"])
def test_a_mosaic_is_noticed(pattern: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    y, x = np.mgrid[:60, :80]
    scene = flat(pattern, 60, 80) * (0.7 + 0.2 * np.sin(x / 7) * np.cos(y / 9))
    values = (random.random((400, 60, 80)) < scene).astype(np.uint8)
    stream = saved(tmp_path, values)
    assert pattern in (inspect(stream).mosaic or ())
    lines = dict(inspect(stream).lines())
    assert lines["colours"].startswith("a Bayer mosaic: set bayer=")
    stated = saved(tmp_path, values, bayer=pattern)
    assert dict(inspect(stated).lines())["colours"] == f"Bayer pattern {pattern}, as stated"


def test_grey_pictures_show_no_mosaic() -> None:
    random = np.random.default_rng(0)
    y, x = np.mgrid[:60, :80]
    for rate in (
        np.full((60, 80), 0.3),
        random.random((60, 80)),
        0.5 + 0.4 * np.sin(x / 3 + y / 5),
        np.where(y % 2, 0.2, 0.6),  # rows that differ are no mosaic
        np.where((x // 8 + y // 8) % 2, 0.2, 0.6),
    ):
        assert notice_mosaic(rate.astype(np.float32)) is None

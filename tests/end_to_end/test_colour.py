"""A chart of known colours before a simulated colour camera, through the real command line."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from spikerec import spikes
from spikerec.spikes.bayer import Flip, turned
from spikerec.streaming import reconstruct
from tests.end_to_end.command import Command

#: Rows of patches, red, green and blue of each.
PATCHES = (
    ((200, 60, 50), (60, 150, 70), (50, 60, 150)),
    ((230, 200, 40), (190, 90, 150), (120, 120, 120)),
)
SIZE = 45, 63  # both odd: the last row and column have no partner


def chart() -> NDArray[np.uint8]:
    """The picture of the patches, (45, 63, 3)."""
    rows = np.linspace(0, 2, SIZE[0], endpoint=False).astype(int)
    columns = np.linspace(0, 3, SIZE[1], endpoint=False).astype(int)
    return np.array(PATCHES, np.uint8)[rows][:, columns]


def recorded(run: Command, bayer: str) -> None:
    """Simulate `chart.dat` from a video of the chart, whose three frames are alike."""
    frames = run.folder / "frames"
    frames.mkdir()
    for index in range(3):
        Image.fromarray(chart()).save(frames / f"{index}.png")
    words = ("input=frames", "output=chart.dat", f"bayer={bayer}", "readouts_per_image=61")
    outcome = run("simulate", *words, "simulation.light_scale=0.8")
    assert outcome.status == 0, outcome.err


def assert_shows(picture: NDArray[np.float32], expected: NDArray[np.uint8]) -> None:
    """Compare all that lies further than 5 pixels from another colour."""
    assert picture.shape == expected.shape
    padded = np.pad(expected.astype(int), ((5, 5), (5, 5), (0, 0)), "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (11, 11), (0, 1))
    inside = (windows.max((-1, -2)) == windows.min((-1, -2))).all(-1)
    assert inside.mean() > 0.3
    for colour in np.unique(expected[inside], axis=0):
        place = inside & (expected == colour).all(-1)
        np.testing.assert_allclose(picture[place].mean(0), colour / 255, atol=0.02)
        np.testing.assert_allclose(
            picture[place], np.broadcast_to(colour / 255, (place.sum(), 3)), atol=0.12
        )


@pytest.mark.parametrize("bayer", ["rggb", "bggr", "grbg", "gbrg"])
def test_a_chart_has_its_colours(bayer: str, spikerec_command: Command) -> None:
    run = spikerec_command
    recorded(run, bayer)
    with Image.open(run.folder / "chart_images" / "00000002.png") as truth:
        np.testing.assert_array_equal(np.asarray(truth), chart())
    turns: list[tuple[int, Flip, tuple[str, ...]]] = [
        (0, "none", ("model=tfp", "model.window=61")),
        (90, "horizontal", ("model=tfp", "model.window=121")),
        (180, "none", ("model=fast", "tile=16", "tile_overlap=8")),
        (270, "vertical", ("model=fast",)),
    ]
    for number, (rotate, flip, words) in enumerate(turns):
        output = f"{number}.npy"
        outcome = run(
            *("reconstruct", "chart.dat", output, "at=61", f"rotate={rotate}", f"flip={flip}"),
            *words,
        )
        assert outcome.status == 0, outcome.err
        assert "wrong" not in outcome.out  # nothing is said of a geometry that is right
        expected = turned(chart().transpose(2, 0, 1), rotate, flip).transpose(1, 2, 0)
        assert_shows(np.load(run.folder / output)[0], expected)


@pytest.mark.parametrize(("top", "left"), [(0, 0), (0, 1), (1, 0), (1, 1), (0, 4)])
def test_a_crop_keeps_its_colours(top: int, left: int, spikerec_command: Command) -> None:
    recorded(spikerec_command, "gbrg")
    stream = spikes.open(spikerec_command.folder / "chart.dat")
    for part, expected in (
        (stream[:, top:, left:], chart()[top:, left:]),
        (stream[20:100, top:40, left:-3], chart()[top:40, left:-3]),
    ):
        (frame,) = reconstruct(part, "tfp", start=40, stop=41).frames()
        assert frame.images.shape[1:] == expected.shape
        place = (slice(4, 14), slice(4, 12))
        colour = expected[place].reshape(-1, 3).mean(0) / 255
        found = frame.images[0][place].reshape(-1, 3).mean(0)
        np.testing.assert_allclose(found, colour, atol=0.06)


def test_a_mosaic_that_is_not_stated_is_noticed(spikerec_command: Command) -> None:
    run = spikerec_command
    recorded(run, "bggr")
    sidecar = run.folder / "chart.yaml"
    sidecar.write_text(sidecar.read_text().replace("bayer: bggr\n", ""))
    outcome = run("data", "inspect", "chart.dat")
    assert outcome.status == 0, outcome.err
    assert "a Bayer mosaic: set bayer=rggb or bayer=bggr" in outcome.out
    stated = run("data", "inspect", "chart.dat", "--bayer", "bggr")
    assert "Bayer pattern bggr, as stated" in stated.out
    told = run("reconstruct", "chart.dat", "grey.npy", "at=61", "model=tfp")
    assert "pixels look like the Bayer mosaic" in told.out


def test_white_balance_is_given_as_gains(spikerec_command: Command) -> None:
    run = spikerec_command
    recorded(run, "rggb")
    words = ("reconstruct", "chart.dat", "chart.png", "at=61", "model=tfp", "model.window=61")
    assert run(*words, "white_balance=[0.5,1,2]").status == 0
    with Image.open(run.folder / "chart.png") as png:
        balanced = np.asarray(png)[4:18, 4:17].reshape(-1, 3).mean(0)  # of the red patch
    np.testing.assert_allclose(balanced, [100, 60, 100], atol=6)
    outcome = run(*words, "white_balance=grey_world")
    assert outcome.status == 2
    assert "did you mean gray_world? Expected gray_world or three gains" in outcome.err

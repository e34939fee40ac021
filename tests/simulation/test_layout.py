from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from spikerec import spikes
from spikerec.data.sreds import SREDS
from spikerec.errors import ConfigError, DataError, LockError
from spikerec.simulation import (
    Camera,
    RandomScene,
    Recording,
    SREDSLayout,
    write_scene,
    write_stream,
)
from spikerec.simulation.cards import MOST_IMAGES, MOST_READOUTS, read_card, write_card
from spikerec.simulation.images import read_grey
from spikerec.simulation.layout import card_path, written_before
from spikerec.spikes.files import lock_output

CAMERA = Camera(0.4)


@dataclass
class Ramp:
    """A scene whose intensity tells the readout, and which row is the top one."""

    height: int = 6
    width: int = 10
    num_readouts: int | None = None

    def frames(self, start: int, stop: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        levels = torch.arange(start, stop, dtype=dtype).view(-1, 1, 1) / 255
        return (levels * torch.linspace(0.5, 1, self.height).view(-1, 1)).expand(-1, -1, self.width)


def recording(**changes: Any) -> Recording:
    values = {"scene": Ramp(), "camera": CAMERA, "seed": 3, "images": 4} | changes
    return Recording(**values)


@pytest.mark.parametrize(
    ("name", "most"), [("images", MOST_IMAGES), ("readouts_per_image", MOST_READOUTS)]
)
def test_a_clip_is_no_longer_than_its_card_may_state(name: str, most: int) -> None:
    numbers = {"images": 1, "readouts_per_image": 1}
    recording(**numbers | {name: most})
    with pytest.raises(ConfigError, match=f"{name} must be 1 to {most:,}, found {most + 1}"):
        recording(**numbers | {name: most + 1})


def exposed(readouts: int) -> torch.Tensor:
    return CAMERA.expose(Ramp().frames(0, readouts).contiguous(), seed=3)


def test_a_written_scene_reads_back(tmp_path: Path) -> None:
    write_scene(tmp_path, "val", "ramp", recording())
    folder = tmp_path / "spike/val/interp_20_alpha_0.40/ramp"
    assert sorted(path.name for path in folder.glob("*.dat")) == [
        f"{index:08d}.dat" for index in range(1, 5)
    ]
    stream = spikes.open(folder)
    assert stream.shape == (80, 6, 10)
    assert stream.light_scale == 0.4
    assert np.array_equal(stream[:], exposed(80))


def test_image_j_shows_readout_20_j(tmp_path: Path) -> None:
    write_scene(tmp_path, "val", "ramp", recording())
    images = sorted((tmp_path / "imgs/val/val_orig/ramp").glob("*.png"))
    assert [path.name for path in images] == [f"{index:08d}.png" for index in range(1, 5)]
    for j, path in enumerate(images):
        assert (read_grey(path) * 255)[-1, 0].item() == pytest.approx(20 * j, abs=0.01)


def test_the_reader_of_sreds_reads_it(tmp_path: Path) -> None:
    write_scene(tmp_path, "train", "ramp", recording())
    (clip,) = SREDS(tmp_path, light_scale=0.4, readouts_per_image=20, key_offset=0).clips("train")
    assert clip.name == "ramp"
    assert sorted(clip.images) == [0, 20, 40, 60]


def test_rows_are_stored_bottom_up_least_significant_bit_first(tmp_path: Path) -> None:
    scene = Ramp(height=2, width=8)
    write_scene(tmp_path, "val", "two", recording(scene=scene, images=6))
    folder = SREDSLayout(tmp_path, 0.4).spikes("val", "two")
    content = (folder / "00000006.dat").read_bytes()
    expected = CAMERA.expose(scene.frames(0, 120).contiguous(), seed=3)[100:]
    weights = 2 ** torch.arange(8)
    assert list(content) == (expected.flip(1) * weights).sum(-1).flatten().tolist()


def test_how_it_was_made_stands_beside_the_spikes(tmp_path: Path) -> None:
    write_scene(tmp_path, "val", "ramp", recording())
    card = yaml.safe_load(
        (SREDSLayout(tmp_path, 0.4).spikes("val", "ramp") / "simulation.yaml").read_text()
    )
    assert Camera(**card["camera"]) == CAMERA
    assert card["seed"] == 3


def test_a_scene_is_not_overwritten(tmp_path: Path) -> None:
    write_scene(tmp_path, "val", "ramp", recording())
    with pytest.raises(DataError, match="exists already"):
        write_scene(tmp_path, "val", "ramp", recording())


def test_an_interrupted_scene_leaves_nothing_that_is_read(tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scene(tmp_path, "val", "ramp", recording(), on_image=interrupt)
    assert not SREDSLayout(tmp_path, 0.4).has("val", "ramp")
    assert list(tmp_path.iterdir()) == []
    # Killed between its two renames, a run leaves images alone: they are written again.
    SREDSLayout(tmp_path, 0.4).images("val", "ramp").mkdir(parents=True)
    write_scene(tmp_path, "val", "ramp", recording())
    assert SREDSLayout(tmp_path, 0.4).has("val", "ramp")


@pytest.mark.parametrize("suffix", [".dat", ".npy", ".npz", ".h5"])
def test_a_single_file_holds_the_same_spikes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "out" / f"ramp{suffix}"
    write_stream(path, recording())
    stream = spikes.open(path)
    assert stream.light_scale == 0.4
    assert np.array_equal(stream[:], exposed(80))
    assert len(list((path.parent / "ramp_images").glob("*.png"))) == 4
    assert (path.parent / "ramp.simulation.yaml").is_file()
    with pytest.raises(DataError, match="exists already"):
        write_stream(path, recording())


def test_a_second_process_at_the_same_output_is_told(tmp_path: Path) -> None:
    root, path = tmp_path / "set", tmp_path / "scene.dat"
    with lock_output(path), pytest.raises(LockError, match="is in use by process"):
        write_stream(path, recording())
    write_stream(path, recording())
    scene = root / "train-0000"
    with lock_output(scene), pytest.raises(LockError, match="is in use by process"):
        write_scene(root, "train", "0000", recording())
    write_scene(root, "train", "0000", recording())
    assert not [*tmp_path.rglob("*.partial"), *tmp_path.rglob(".lock")]


def test_an_unknown_suffix_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a folder or one of \.dat"):
        write_stream(tmp_path / "ramp.avi", recording())


def test_a_recording_must_fit_its_scene() -> None:
    with pytest.raises(DataError, match="lasts 79 readouts: expected at least 80"):
        recording(scene=Ramp(num_readouts=79))
    with pytest.raises(ConfigError, match="images must be 1 to 10,000, found 0"):
        recording(images=0)


def test_a_card_states_the_exact_motion_and_an_older_one_does_not(tmp_path: Path) -> None:
    scene = RandomScene([torch.rand(64, 64)], height=24, width=32, seed=0)
    moving = recording(scene=scene)
    write_scene(tmp_path, "val", "a", moving)
    folder = SREDSLayout(tmp_path, 0.4).spikes("val", "a")
    card = card_path(folder)
    content = read_card(card)
    assert len(content["motion"]) == 4
    assert content["motion"][1] == pytest.approx(
        float(scene.flow(20, 21).norm(dim=-1).mean()), abs=1e-5
    )
    assert written_before(folder, moving)
    del content["motion"]
    write_card(card, content)
    assert written_before(folder, moving)


def test_the_motion_of_another_scene_is_not_made_up(tmp_path: Path) -> None:
    write_stream(tmp_path / "ramp.npy", recording())
    assert "motion" not in read_card(card_path(tmp_path / "ramp.npy"))

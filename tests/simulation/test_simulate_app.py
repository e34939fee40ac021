from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image

from spikerec import spikes
from spikerec.apps.simulate import _scene, run
from spikerec.configs import config_dir
from spikerec.errors import ConfigError, DataError, DataNotFoundError
from spikerec.simulation.colour import BayerScene
from spikerec.spikes.bayer import mosaic


def configured(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("simulate", list(overrides))


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    levels = np.random.default_rng(0).integers(0, 256, (40, 48), dtype=np.uint8)
    Image.fromarray(levels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(4):
        Image.new("L", (24, 16), 60 * index).save(folder / f"{index}.png")
    return folder


def test_a_photograph_becomes_a_scene_in_sreds_layout(photograph: Path, tmp_path: Path) -> None:
    output = tmp_path / "set"
    run(configured(f"input={photograph}", f"output={output}", "images=2", "size=[16,24]"))
    stream = spikes.open(output / "spike/val/interp_20_alpha_0.40/photo")
    assert stream.shape == (40, 16, 24)
    assert len(list((output / "imgs/val/val_orig/photo").glob("*.png"))) == 2


def test_a_folder_of_frames_becomes_a_file(frames: Path, tmp_path: Path) -> None:
    output = tmp_path / "clip.dat"
    run(configured(f"input={frames}", f"output={output}", "interpolation=blend", "simulation=rsir"))
    assert spikes.open(output).shape == (60, 16, 24)
    images = sorted((tmp_path / "clip_images").glob("*.png"))
    assert [int(np.asarray(Image.open(path))[0, 0]) for path in images] == [0, 60, 120]


def test_camera_terms_are_set_from_the_command_line(photograph: Path, tmp_path: Path) -> None:
    output = tmp_path / "set"
    run(
        configured(
            *(f"input=[{photograph},{photograph}]", f"output={output}", "images=1"),
            *("simulation=rsir", "simulation.light_scale=0.6", "simulation.dark_current=0"),
        )
    )
    assert (output / "spike/val/interp_20_alpha_0.60/photo/00000001.dat").is_file()


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["output=x"], ConfigError, "input is not set"),
        (["input=none.mp4", "output=x"], DataNotFoundError, "input=none.mp4 does not exist"),
        (["input=FRAMES", "output=x", "images=4"], DataError, "4 frame.* at least 5"),
        (["input=FRAMES", "output=x", "size=[0,9]"], ConfigError, "size must be"),
        (["input=[FRAMES,PHOTO]", "output=x"], ConfigError, "not all images"),
        (["input=PHOTO", "output=x.avi"], DataError, "unknown format"),
        (["input=PHOTO", "output=x.npy", "images=0"], ConfigError, "images must be 1 to 10,000"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(
    overrides: list[str],
    error: type[Exception],
    message: str,
    photograph: Path,
    frames: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [one.replace("PHOTO", str(photograph)) for one in overrides]
    with pytest.raises(error, match=message) as raised:
        run(configured(*(one.replace("FRAMES", str(frames)) for one in given)))
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.glob("x*"))


def test_nothing_is_overwritten(photograph: Path, tmp_path: Path) -> None:
    arguments = (f"input={photograph}", f"output={tmp_path / 'x.npy'}", "images=1")
    run(configured(*arguments))
    before = (tmp_path / "x.npy").read_bytes()
    with pytest.raises(DataError, match=r"exists already, made with other settings \(seed\)"):
        run(configured(*arguments, "seed=1"))
    assert (tmp_path / "x.npy").read_bytes() == before


@pytest.mark.parametrize("name", ["x.npz", "x.dat", "x"])
def test_other_settings_replace_what_was_simulated_when_told(
    name: str, photograph: Path, tmp_path: Path
) -> None:
    arguments = (f"input={photograph}", f"output={tmp_path / name}", "images=2")
    run(configured(*arguments))
    run(configured(*arguments, "images=1", "seed=1", "overwrite=true"))
    fresh = f"output={tmp_path / 'fresh' / name}"
    run(configured(*arguments, fresh, "images=1", "seed=1"))
    found = [
        {
            path.relative_to(folder): path.read_bytes()
            for path in folder.rglob("*.*")
            if path.is_file()
            and "fresh" not in path.relative_to(folder).parts
            and path.suffix != ".npz"
            and path != photograph
        }
        for folder in (tmp_path, tmp_path / "fresh")
    ]
    assert found[0] == found[1]
    (tmp_path / "mine.npz").write_bytes(b"precious")
    with pytest.raises(DataError, match=r"mine\.npz exists already: name another output"):
        run(configured(*arguments, f"output={tmp_path / 'mine.npz'}", "overwrite=true"))
    assert (tmp_path / "mine.npz").read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["x.npz", "x.dat", "x"])
def test_repeated_command_is_done(
    name: str, photograph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (f"input={photograph}", f"output={tmp_path / name}", "images=2")
    for told in ("40 readouts", "done before with the same settings: 40 readouts"):
        run(configured(*arguments))
        assert capsys.readouterr().out.splitlines()[-1].startswith(told)
    photograph.write_bytes(photograph.read_bytes() + b"0")  # another file of the same name
    with pytest.raises(DataError, match=r"made with other settings \(source\)"):
        run(configured(*arguments))


def run_until(step: int, arguments: tuple[str, ...]) -> int:
    """The status of a process that dies before that step of those that give files their names."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    steps, replace = itertools.count(), Path.replace

    def die(self: Path, target: Path) -> Path:
        return os._exit(9) if next(steps) == step else replace(self, target)

    Path.replace = die  # type: ignore[method-assign,assignment]
    run(configured(*arguments))
    os._exit(0)


@pytest.mark.parametrize("name", ["x.npz", "x"])
def test_killed_command_is_finished_by_the_next(
    name: str, photograph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = (f"input={photograph}", f"output=out/{name}", "images=2")
    found = []
    for step in itertools.count():
        died = run_until(step, arguments) != 0
        run(configured(*arguments))
        found.append({path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()})
        shutil.rmtree("out")
        if not died:
            break
    assert len(found) > 3
    assert all(one == found[-1] for one in found)


def test_a_colour_camera_sees_photographs_through_its_mosaic(tmp_path: Path) -> None:
    levels = np.zeros((40, 40, 3), np.uint8)
    levels[..., 0], levels[..., 2] = 255, 51
    Image.fromarray(levels).save(tmp_path / "photo.png")
    output = tmp_path / "colour.npy"
    words = (f"input={tmp_path / 'photo.png'}", f"output={output}", "bayer=gbrg", "images=2")
    run(configured(*words, "size=[13,18]", "readouts_per_image=60", "style.objects=[0,0]"))
    stream = spikes.open(output)
    assert stream.bayer == "gbrg"
    rate = stream[:].mean(0) / stream.light_scale
    colours = mosaic("gbrg", 13, 18)
    for colour, intensity in zip("rgb", (1, 0, 0.2), strict=True):
        assert rate[colours == colour] == pytest.approx(intensity, abs=0.1)
    with Image.open(tmp_path / "colour_images" / "00000002.png") as truth:
        assert truth.mode == "RGB"
        assert np.asarray(truth).reshape(-1, 3).mean(0) == pytest.approx([255, 0, 51], abs=2)
    for words in (
        (f"input={tmp_path / 'photo.png'}", f"output={tmp_path / 'folder'}", "bayer=rggb"),
        (f"input={tmp_path / 'photo.png'}", f"output={tmp_path / 'b.npy'}", "bayer=rgb"),
    ):
        with pytest.raises(ConfigError, match="bayer"):
            run(configured(*words, "images=1", "size=[13,18]"))


def test_the_colours_of_a_video_move_alike(tmp_path: Path) -> None:
    """A disc of one colour moves: no pixel between two frames shows a colour of its own."""
    folder = tmp_path / "frames"
    folder.mkdir()
    y, x = np.mgrid[:48, :64]
    for index in range(3):
        levels = np.full((48, 64, 3), (40, 60, 80), np.uint8)
        levels[np.hypot(y - 24, x - 24 - 3 * index) < 12] = (200, 60, 120)
        Image.fromarray(levels).save(folder / f"{index}.png")
    words = (
        f"input={folder}",
        f"output={tmp_path / 'a.npy'}",
        "bayer=grbg",
        "interpolation=motion",
    )
    scene, images = _scene(configured(*words), [folder])
    assert images == 2
    assert isinstance(scene, BayerScene)
    between = scene.true_colours(30)
    share = (between[0] - 40 / 255) / (160 / 255)  # of the disc's red; its blue must be the same
    torch.testing.assert_close((between[2] - 80 / 255) / (40 / 255), share, atol=0.02, rtol=0)
    run(configured(*words))
    assert spikes.open(tmp_path / "a.npy").bayer == "grbg"
    with Image.open(tmp_path / "a_images" / "00000002.png") as truth:
        np.testing.assert_array_equal(np.asarray(truth), np.asarray(Image.open(folder / "1.png")))


def test_a_grey_photograph_gives_one_scene_in_three_colours(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 60), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "photo.png")
    words = (f"input={tmp_path / 'photo.png'}", "images=1", "size=[16,16]", "readouts_per_image=20")
    run(configured(*words, f"output={tmp_path / 'grey.npy'}"))
    run(configured(*words, f"output={tmp_path / 'colour.npy'}", "bayer=rggb"))
    np.testing.assert_array_equal(
        spikes.open(tmp_path / "grey.npy")[:], spikes.open(tmp_path / "colour.npy")[:]
    )

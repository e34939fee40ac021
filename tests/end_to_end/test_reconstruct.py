from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image

from spikerec import cli, spikes
from spikerec.apps.reconstruct import run
from spikerec.configs import config_dir
from spikerec.errors import ConfigError, WindowError
from spikerec.spikes import Geometry
from tests.fakes import fake_spikes, write_dat


def configured(*overrides: str) -> DictConfig:
    """By TFP, where nothing else is said."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("reconstruct", ["model=tfp", *overrides])


def command(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit status of `spikerec reconstruct …`."""
    monkeypatch.setattr(sys, "argv", ["spikerec", "reconstruct", *words])
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "car.dat"
    stream = fake_spikes(120, 24, 40)
    spikes.save(path, stream, geometry=Geometry(24, 40), rate_hz=40000, light_scale=0.5)
    return path


def test_a_camera_file_becomes_a_video(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "car.mp4"
    run(configured(f"input={clip}", f"output={output}", "stride=1", "stop=60"))
    assert output.stat().st_size > 1000
    text = capsys.readouterr().out
    assert "60 frames in" in text
    assert "1600× slow motion at 25 frames a second" in text


def test_methods_side_by_side_by_one_word(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "car.h5"
    assert command(monkeypatch, "model=[tfp,tfi]", f"input={clip}", f"output={output}") == 0
    with h5py.File(output) as file:
        assert set(file) == {"tfp", "tfi"}
        assert file.attrs["light_scale"] == 0.5


def test_arguments_that_could_be_of_either_method_are_refused(
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("model=[tfp,tfi]", "model.window=21", f"input={clip}", f"output={tmp_path / 'x'}")
    assert command(monkeypatch, *words) == 2
    error = capsys.readouterr().err
    assert "model.window=21 beside model=[tfp,tfi]" in error
    assert error.count("\n") == 1


def test_geometry_and_rate_come_from_the_command_line(tmp_path: Path) -> None:
    write_dat(tmp_path / "car.dat", fake_spikes(90, 24, 40))
    run(
        configured(
            *(f"input={tmp_path / 'car.dat'}", f"output={tmp_path / 'out'}", "bits=16"),
            *("geometry.height=24", "geometry.width=40", "rate_hz=20000", "slow_motion=100"),
            *("show_spikes=true", "caption=true", "tone.gamma=2.2", "exposure=auto"),
        )
    )
    files = sorted((tmp_path / "out").iterdir())
    assert len(files) == len(range(0, 90, 8))
    assert np.asarray(Image.open(files[0])).dtype == np.uint16


def test_calibration_is_read(clip: Path, tmp_path: Path) -> None:
    spikes.save(tmp_path / "flat.npy", fake_spikes(100, 24, 40, seed=3))
    base = (f"input={clip}", "stride=40")
    run(configured(*base, f"output={tmp_path / 'a.npy'}"))
    run(configured(*base, f"output={tmp_path / 'b.npy'}", f"calibration.flat={tmp_path}/flat.npy"))
    plain, corrected = np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy")
    flat = fake_spikes(100, 24, 40, seed=3).mean(0)
    assert corrected == pytest.approx(plain * flat.mean() / flat, rel=1e-4)


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["output=x"], ConfigError, "input is not set"),
        (["input=CLIP"], ConfigError, "output is not set"),
        (["input=CLIP", "output=x", "ends=drop", "stop=15"], WindowError, r"\[0, 15\).* of 31"),
        (["input=CLIP", "output=x", "ends=crop"], ConfigError, "ends must be reflect or drop"),
        (["input=CLIP", "output=x.avi"], ConfigError, r"found '.avi'"),
        (["input=CLIP", "output=x", "tone.curve=cubic"], ConfigError, r"tone.curve must be"),
        (["input=CLIP", "output=x", "checkpoint=b.ckpt"], ConfigError, "no parameters"),
    ],
)
def test_what_cannot_work_is_said_and_nothing_written(
    words: list[str],
    error: type[Exception],
    message: str,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message) as raised:
        run(configured(*(word.replace("CLIP", str(clip)) for word in words)))
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.glob("x*"))


#: Names that a shell hands over; Hydra's grammar, a pattern or rich's markup read them otherwise.
SPECIAL = (
    *("数据/车.dat", "car [1],{x}.dat", "a=b.DAT", 'it\'s "q".dat', "back\\s$lash${x}.dat"),
    *("new\nline.dat", "[bold]:smile:.dat", "*.dat", "-x.dat", "~+@#;&.dat"),
)


def fill(folder: Path) -> list[Path]:
    paths = [folder / name for name in SPECIAL]
    for seed, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        spikes.save(path, fake_spikes(12, 8, 8, seed=seed), geometry=Geometry(8, 8), rate_hz=1e4)
    (folder / "._car.dat").write_bytes(b"a companion that macOS writes")
    return paths


def test_names_of_any_letters_and_what_is_printed_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in fill(Path("in")):
        output = f"./{path.stem}.npy"
        assert command(monkeypatch, str(path), output, "model=tfp", "model.window=5") == 0
        assert Path(output).is_file()
        assert output[2:].replace("\n", "\\n") in capsys.readouterr().out


def test_a_folder_of_recordings_of_which_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = fill(Path("in"))
    Path("in/broken.npy").write_bytes(b"no array")
    words = ("in", "out/{stem}.npy", "model=tfp", "model.window=5")
    assert command(monkeypatch, *words) == 1
    told = capsys.readouterr()
    assert "11 recordings: 10 made, 0 done before, 1 failed" in told.out
    assert "1 of 11 recordings failed: in/broken.npy" in told.err
    assert told.err.count("\n") == 1
    assert {path.name for path in Path("out").iterdir()} == {f"{path.stem}.npy" for path in paths}

    Path("out/a=b.npy").unlink()
    spikes.save("in/broken.npy", fake_spikes(12, 8, 8), overwrite=True)
    assert command(monkeypatch, *words) == 0
    assert "11 recordings: 2 made, 9 done before, 0 failed" in capsys.readouterr().out


def test_a_job_for_each_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill(Path("in"))
    assert command(monkeypatch, "-m", "in/[*a]*", "out", "model=tfp", "model.window=5") == 0
    assert {path.name for path in Path("out").iterdir()} == {"*.mp4", "a=b.mp4"}


def test_a_job_for_each_recording_of_a_folder_without_sidecars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for name in ("a", "b"):
        write_dat(Path(f"in/{name}.dat"), fake_spikes(12, 8, 8))
    size = ("height=8", "width=8", "model=tfp", "model.window=5")
    assert command(monkeypatch, "-m", "in", "out", *size) == 1
    assert "say folder=parts or folder=recordings" in capsys.readouterr().err
    assert command(monkeypatch, "-m", "in", "out", *size, "folder=recordings") == 0
    assert {path.name for path in Path("out").iterdir()} == {"a.mp4", "b.mp4"}


def test_other_settings_replace_an_output_only_when_told(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for output in ("a.npy", "frames"):
        words = ("model=tfp", f"input={clip}", f"output={tmp_path / output}")
        assert command(monkeypatch, *words) == 0
        assert command(monkeypatch, *words, "stride=40") == 1
        assert "made with other settings (" in (told := capsys.readouterr().err)
        assert "overwrite=true" in told
        assert command(monkeypatch, *words, "stride=40", "overwrite=true") == 0
    assert len(np.load(tmp_path / "a.npy")) == 3
    assert len(list((tmp_path / "frames").iterdir())) == 3
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "000000.png").write_bytes(b"precious")
    output = f"output={tmp_path / 'mine'}"
    assert command(monkeypatch, "model=tfp", f"input={clip}", output, "--overwrite") == 1
    assert (tmp_path / "mine" / "000000.png").read_bytes() == b"precious"

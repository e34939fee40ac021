"""A result of `spikerec reconstruct` states a command that makes it again, pixel by pixel."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import av
import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from spikerec import cli, spikes
from spikerec.configs import build
from spikerec.spikes import Geometry
from spikerec.streaming.about import read_about
from spikerec.weights.writing import save_state
from tests.end_to_end.test_reconstruct import SPECIAL, command
from tests.fakes import fake_spikes, write_dat

SINKS = ("a.mp4", "a.webm", "a.gif", "a.npy", "a.h5", "frames", "one.png")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which commands are given: recordings, weights and calibrations."""
    monkeypatch.chdir(tmp_path)
    geometry = Geometry(24, 40)
    spikes.save(tmp_path / "rec/car.dat", fake_spikes(90, 24, 40), geometry=geometry, rate_hz=2e4)
    write_dat(tmp_path / "bare.dat", fake_spikes(90, 24, 40))
    spikes.save(tmp_path / "cal/dark.npy", fake_spikes(90, 24, 40, rate=0.02))
    with h5py.File(tmp_path / "lab.h5", "w") as file:
        file["trial 1/spk"] = fake_spikes(40, 24, 40)
        file["trial 2/spk"] = fake_spikes(40, 24, 40, seed=1)
    torch.manual_seed(5)
    state = build("model", "base").state_dict()
    save_state(tmp_path / "runs/two words/mine.safetensors", state, {})
    (tmp_path / "at.txt").write_text("3, 1ms\n40\n")
    hot = fake_spikes(90, 24, 40, rate=0.1)
    hot[:, 5, 5] = 1
    spikes.save(tmp_path / "hot.npy", hot, rate_hz=2e4)
    for part in range(2):
        write_dat(tmp_path / "parts" / f"{part}.dat", fake_spikes(20, 24, 40, seed=part))
    return tmp_path


def pixels(path: Path) -> NDArray[np.float32]:
    """The content of a result as numbers."""
    if path.is_dir():
        return np.stack([np.asarray(Image.open(one)) for one in sorted(path.iterdir())])
    if path.suffix == ".png":
        return np.asarray(Image.open(path))
    if path.suffix == ".npy":
        return np.asarray(np.load(path))
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return np.stack([file[name][:] for name in sorted(file)])
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)])


def shell_words(line: str) -> list[str]:
    """The words that bash makes of a line."""
    script = 'spikerec() { printf "%s\\0" "$@"; }\n' + line
    run = subprocess.run(["bash", "-c", script], capture_output=True, check=True)  # noqa: S607
    return [word.decode("utf-8", "surrogateescape") for word in run.stdout.split(b"\0")[:-1]]


def remade(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[NDArray[np.float32], ...]:
    """The content of a result, and of what the command that it states makes."""
    line = read_about(path)["command"]
    first = pixels(path)
    path.rename(path.with_name(f"first_{path.name}"))
    words = shell_words(line)
    assert words[0] == "reconstruct"
    assert command(monkeypatch, *words[1:]) == 0, line
    return first, pixels(path)


@pytest.mark.parametrize("sink", SINKS)
def test_every_kind_of_result_is_made_again(
    sink: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["rec/car.dat", sink, "model=tfp", "model.window=21", "stride=20"]
    assert command(monkeypatch, *words[:-1], *(["at=2ms"] if "one" in sink else words[-1:])) == 0
    first, again = remade(folder / sink, monkeypatch)
    assert np.array_equal(first, again)


SETTINGS: dict[str, Sequence[str]] = {
    "default model": ["rec/car.dat", "stride=60"],
    "checkpoint": ["rec/car.dat", "model=base", "checkpoint=runs/two words/mine.safetensors"],
    "checkpoints": [
        *("rec/car.dat", "stride=60", "model=[tfp,base]"),
        "checkpoint={base: runs/two words/mine.safetensors}",
    ],
    "overrides": ["rec/car.dat", "model=tfi", "model.window=21", "model.rule=sequence"],
    "drop": ["rec/car.dat", "model=tfp", "ends=drop", "start=5", "stop=70", "stride=3"],
    "slow motion": ["rec/car.dat", "model=tfp", "slow_motion=200", "fps=10"],
    "file of readouts": ["rec/car.dat", "model=tfp", "at=at.txt"],
    "list of readouts": ["rec/car.dat", "model=tfp", "at=[0,1.5ms,40]"],
    "exposure": ["rec/car.dat", "model=tfp", "exposure=0.3", "tone.curve=log", "tone.gamma=2.2"],
    "auto": ["rec/car.dat", "model=[tfp,tfi]", "exposure=auto", "light_scale=0.4"],
    "calibration": ["rec/car.dat", "model=tfp", "calibration.dark=cal/dark.npy"],
    "defects": ["hot.npy", "model=tfp", "mask_defects=true"],
    "no repair": ["hot.npy", "model=tfp", "mask_defects=false"],
    "geometry": ["bare.dat", "model=tfp", "--geometry", "24x40", "--top-down", "rate_hz=2e4"],
    "dataset": ["lab.h5", "model=tfp", "dataset=/trial 2/spk", "start=20"],
    "parts": ["parts", "model=tfp", "geometry=[24,40]", "folder=parts"],
    "tiles": ["rec/car.dat", "model=fast", "stride=80", "tile=16", "tile_overlap=8"],
    "precision": ["rec/car.dat", "model=fast", "stride=80", "precision=bf16", "optimise=false"],
    "panels": ["rec/car.dat", "model=tfp", "--show-spikes", "--caption", "stride=30"],
    "colour": ["rec/car.dat", "model=tfp", "bayer=rggb", "white_balance=[1.5,1,2]", "stride=30"],
    "turned": ["rec/car.dat", "model=tfp", "rotate=90", "flip=vertical", "stride=30"],
}


def test_a_command_is_legible(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = "checkpoint=runs/two words/mine.safetensors"
    typed = ["rec/car.dat", "one.png", "at=2ms", checkpoint, "model=base"]
    assert command(monkeypatch, *typed) == 0
    line = read_about(folder / "one.png")["command"]
    words = f"rec/car.dat one.png at=2ms '{checkpoint}' model=base precision=float32"
    assert line == f"spikerec reconstruct {words}"


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_kept(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = SETTINGS[name]
    assert command(monkeypatch, words[0], "out/new.h5", *words[1:]) == 0
    assert command(monkeypatch, words[0], "out/new", *words[1:]) == 0
    for made in ("new.h5", "new"):
        (folder / "out" / made).rename(folder / made)
        first, again = remade(folder / made, monkeypatch)
        assert np.array_equal(first, again)


def test_a_command_names_the_engine_that_was_chosen(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openvino")
    typed = ("rec/car.dat", "fast.npy", "model=fast", "engine=auto", "stride=40")
    assert command(monkeypatch, *typed) == 0
    assert "engine=auto takes torch (too few images for a trial)" in capsys.readouterr().out
    about = read_about(folder / "fast.npy")
    assert about["engine"] == "torch"
    assert "engine=auto" not in about["command"]
    assert " engine=torch" in about["command"]


def test_a_command_of_several_outputs_makes_them_all_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = ("b.h5", "b c.mp4")
    assert command(monkeypatch, "rec/car.dat", f"output=[{','.join(outputs)}]", "model=tfp") == 0
    first = [pixels(folder / name) for name in outputs]
    for name in outputs:
        (folder / name).rename(folder / f"first_{name}")
    words = shell_words(read_about(folder / "first_b c.mp4")["command"])
    assert command(monkeypatch, *words[1:]) == 0
    assert all(np.array_equal(pixels(folder / n), f) for n, f in zip(outputs, first, strict=True))


def test_files_of_any_name_are_made_again_from_what_inspect_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in SPECIAL:
        source = Path("in") / name
        spikes.save(source, fake_spikes(12, 8, 8), geometry=Geometry(8, 8), rate_hz=1e4)
        result = Path(f"{Path(name).stem}.npy")
        words = (str(source), f"./{result}", "model=tfp", "model.window=5")
        assert command(monkeypatch, *words) == 0
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["spikerec", "data", "inspect", f"./{result}"])
        cli.main()
        printed = capsys.readouterr().out
        (line,) = [one for one in printed.splitlines() if one.startswith("command ")]
        assert "None" not in printed
        assert re.search(r"(?m)^methods +TFP \(5\) \(class TFP, window 5,", printed)
        first = np.load(result)
        result.rename("first.npy")
        assert command(monkeypatch, *shell_words(line.removeprefix("command").strip())[1:]) == 0
        assert np.array_equal(np.load(result), first)
        result.unlink()

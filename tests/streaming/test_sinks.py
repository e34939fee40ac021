from __future__ import annotations

import json
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path

import av
import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from spikerec.errors import ConfigError, DataError, LockError
from spikerec.spikes.grey import grey_levels
from spikerec.streaming.sinks import base, open_sink
from spikerec.streaming.sinks.videos import VideoFile

SETTINGS = {"input": "a.dat", "stride": 3}
DRAWN = ["x.mp4", "x.webm", "x.gif", "x"]
NUMBERS = ["x.npy", "x.h5"]


def pictures(count: int) -> list[NDArray[np.float32]]:
    """A ramp that moves, (33, 47): odd sides."""
    y, x = np.mgrid[0:33, 0:47]
    return [((x + y + 3 * k) % 64 / 63).astype(np.float32) for k in range(count)]


def shown(path: Path) -> list[NDArray[np.uint8]]:
    if path.is_dir():
        return [np.asarray(Image.open(one)) for one in sorted(path.iterdir())]
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]


def write(path: Path, frames: list[NDArray[np.float32]], **options: object) -> None:
    with open_sink(path, len(frames), SETTINGS, **options) as sink:  # type: ignore[arg-type]
        for frame in frames[sink.count :]:
            sink.write(frame if sink.is_drawn else frame[None])


def break_off(path: Path, frames: list[NDArray[np.float32]], after: int) -> None:
    """Write some of the frames, then be interrupted."""
    with suppress(KeyboardInterrupt), open_sink(path, len(frames), SETTINGS, resume=True) as sink:
        for frame in frames[sink.count : after]:
            sink.write(frame if sink.is_drawn else frame[None])
        raise KeyboardInterrupt


@pytest.mark.parametrize("name", DRAWN)
def test_frames_come_back_in_order(name: str, tmp_path: Path) -> None:
    frames = pictures(7)
    write(tmp_path / name, frames)
    found = shown(tmp_path / name)
    assert len(found) == 7
    for one, frame in zip(found, frames, strict=True):
        error = np.abs(one[:33, :47].astype(float) - 255 * frame)
        assert error.mean() < (1 if name in ("x", "x.gif") else 6)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", DRAWN)
def test_what_another_process_finishes_meanwhile_is_done(name: str, tmp_path: Path) -> None:
    frames = pictures(7)
    break_off(tmp_path / name, frames, 7)
    late = open_sink(tmp_path / name, 7, SETTINGS, resume=True)
    write(tmp_path / name, frames, resume=True)
    before = shown(tmp_path / name)
    with late:
        assert late.is_done
    assert len(before) == len(shown(tmp_path / name)) == 7
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", DRAWN)
def test_resumed_equals_uninterrupted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "SEGMENT_FRAMES", 4)
    frames = pictures(11)
    break_off(tmp_path / name, frames, 3)
    assert not (tmp_path / name).exists()
    break_off(tmp_path / name, frames, 9)
    write(tmp_path / name, frames, resume=True)
    found = shown(tmp_path / name)
    assert len(found) == 11
    for one, frame in zip(found, frames, strict=True):
        assert np.abs(one[:33, :47].astype(float) - 255 * frame).mean() < 6
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_joined_video_keeps_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "SEGMENT_FRAMES", 4)
    for name in ("x.mp4", "x.webm", "x.gif"):
        write(tmp_path / name, pictures(10), fps=20)
        with av.open(str(tmp_path / name)) as container:
            times = [frame.time for frame in container.decode(video=0)]
        assert times == pytest.approx([k / 20 for k in range(10)], abs=2e-3), name


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("is_broken_off", [False, True])
def test_numbers_are_kept_as_they_are(name: str, is_broken_off: bool, tmp_path: Path) -> None:
    frames = [7.5 * frame - 1 for frame in pictures(9)]
    if is_broken_off:
        break_off(tmp_path / name, frames, 5)
    write(tmp_path / name, frames, resume=True)
    if name == "x.npy":
        found = np.load(tmp_path / name)
    else:
        with h5py.File(tmp_path / name) as file:
            found = file["images"][:]
            assert dict(file.attrs) == {**SETTINGS, "Description": "{}"}
    assert np.array_equal(found, np.stack(frames))
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", NUMBERS)
def test_several_methods_are_told_apart(name: str, tmp_path: Path) -> None:
    frames = np.random.default_rng(0).random((4, 2, 5, 6), np.float32)
    with open_sink(tmp_path / name, 4, SETTINGS, names=("tfp", "stir")) as sink:
        for frame in frames:
            sink.write(frame)
    if name == "x.npy":
        assert np.array_equal(np.load(tmp_path / name), frames)
    else:
        with h5py.File(tmp_path / name) as file:
            assert np.array_equal(file["stir"], frames[:, 1])


def test_pngs_of_16_bits_tell_more_levels(tmp_path: Path) -> None:
    frame = np.linspace(0, 1, 1000, dtype=np.float32).reshape(10, 100)
    write(tmp_path / "deep", [frame], bits=16)
    found = np.asarray(Image.open(tmp_path / "deep" / "000000.png"))
    assert np.array_equal(found, grey_levels(frame, 16))
    assert len(np.unique(found)) == 1000


def test_an_unfinished_output_is_not_touched_unasked(tmp_path: Path) -> None:
    break_off(tmp_path / "x.npy", pictures(9), 5)
    with pytest.raises(DataError, match=r"partial holds 5 of 9 frames: continue with resume=true"):
        write(tmp_path / "x.npy", pictures(9))


def test_other_settings_do_not_continue_it(tmp_path: Path) -> None:
    break_off(tmp_path / "x.npy", pictures(9), 5)
    with pytest.raises(DataError, match="begun with stride=3, found stride=4"):
        open_sink(tmp_path / "x.npy", 9, {**SETTINGS, "stride": 4}, resume=True)


def test_an_output_that_is_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"mine")
    with pytest.raises(DataError, match="exists already"):
        write(tmp_path / "x.mp4", pictures(1))
    assert (tmp_path / "x.mp4").read_bytes() == b"mine"


@pytest.mark.parametrize("name", [*DRAWN, *NUMBERS])
def test_output_made_by_the_same_settings_is_done(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path, pictures(5))
    before = {one: one.read_bytes() for one in [path, *path.glob("*")] if one.is_file()}
    (tmp_path / f"{name}.partial").mkdir()  # killed between the last two steps
    with open_sink(path, 5, SETTINGS) as sink:
        assert (sink.is_done, sink.count) == (True, 5)
    assert before == {one: one.read_bytes() for one in [path, *path.glob("*")] if one.is_file()}
    assert [one.name for one in tmp_path.iterdir()] == [name]
    with pytest.raises(DataError, match=r"made with other settings \(frames, stride\)"):
        open_sink(path, 6, {**SETTINGS, "stride": 4})


@pytest.mark.parametrize("name", ["x.mp4", "x.webm", "x.gif"])
def test_video_interrupted_while_it_takes_a_frame(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = pictures(7)
    take = VideoFile.write

    def interrupted(file: VideoFile, levels: NDArray[np.uint8]) -> None:
        take(file, levels)
        if file._count == 4:  # it has the frame, and nobody has counted it
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(VideoFile, "write", interrupted)
        write(tmp_path / name, frames)
    write(tmp_path / name, frames, resume=True)
    found = shown(tmp_path / name)
    assert len(found) == 7
    for one, frame in zip(found, frames, strict=True):
        assert np.abs(one[:33, :47].astype(float) - 255 * frame).mean() < 6


def test_output_that_was_killed_at_its_very_start_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "x.npy.partial").mkdir()
    (tmp_path / "x.npy.partial" / ".lock").touch()
    write(tmp_path / "x.npy", pictures(3))
    assert len(np.load(tmp_path / "x.npy")) == 3
    assert [one.name for one in tmp_path.iterdir()] == ["x.npy"]


def test_two_processes_do_not_write_one_output(tmp_path: Path) -> None:
    with (
        open_sink(tmp_path / "x.npy", 1, SETTINGS),
        pytest.raises(LockError, match=r"x\.npy\.partial is in use by process"),
    ):
        write(tmp_path / "x.npy", pictures(1), resume=True)


def test_stopped_before_the_first_frame_nothing_is_left(tmp_path: Path) -> None:
    break_off(tmp_path / "x.mp4", [], 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x.npy", "x"])
def test_a_full_disk_is_told_in_one_line(name: str, tmp_path: Path) -> None:
    child = os.fork()
    if not child:  # a limit on file size stands in for a full disk, and cannot be taken back
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
        rough = np.random.default_rng(0).random((200, 200), np.float32)
        try:
            write(tmp_path / name, [rough] * 9)
        except DataError as error:
            is_told = "no space is left" in str(error) and "resume=true" in str(error)
            os._exit(0 if is_told and not (tmp_path / name).exists() else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_missing_codec_names_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", {"gif"})
    with pytest.raises(ConfigError, match=r"needs the encoder libx264.*a folder for PNGs"):
        open_sink(tmp_path / "x.mp4", 1, SETTINGS)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("x.avi", {}, r"expected .mp4, .webm, .gif, .png, .npy, .h5, .hdf5 or a folder.*'.avi'"),
        ("x", {"bits": 12}, "bits must be 8 or 16, found 12"),
        ("x.mp4", {"fps": 0}, "fps must be above 0"),
    ],
)
def test_what_cannot_be_written_is_refused(
    name: str, options: dict[str, int], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        open_sink(tmp_path / name, 1, SETTINGS, **options)  # type: ignore[arg-type]


def test_slow_frames_are_kept_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "SEGMENT_SECONDS", -1)
    with open_sink(tmp_path / "x.mp4", 3, SETTINGS) as sink:
        for count, frame in enumerate(pictures(3), 1):
            sink.write(frame)
            state = json.loads((tmp_path / "x.mp4.partial" / "state.json").read_text())
            assert state["frames"] == count
    assert len(shown(tmp_path / "x.mp4")) == 3

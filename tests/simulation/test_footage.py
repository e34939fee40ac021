"""Frames of videos and folders: upright, timed, one by one, and from no other file."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from spikerec import spikes
from spikerec.errors import DataError
from spikerec.simulation import Camera, Recording, VideoScene, footage, write_scene, write_stream
from spikerec.simulation.footage import KEPT, Footage, read_frames
from spikerec.simulation.opening import CONTAINERS
from tests.fakes import fake_image, write_image


def write_video(
    path: Path,
    frames: np.ndarray,
    *,
    times: list[int] | None = None,
    turned: int | None = None,
    codec: str = "mpeg4",
    **settings: Any,
) -> Path:
    """Grey frames (F, H, W), at these milliseconds (else 40 apart)."""
    with av.open(str(path), "w", **settings) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = frames.shape[2], frames.shape[1]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        stream.codec_context.time_base = Fraction(1, 1000)
        if turned is not None:
            stream.set_display_rotation(turned)
        for index, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="gray")
            frame.pts = 40 * index if times is None else times[index]
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def levels(count: int, height: int = 32, width: int = 48) -> np.ndarray:
    """Even frames, each brighter than the one before."""
    steps = np.linspace(20, 220, count).astype(np.uint8)
    return np.broadcast_to(steps[:, None, None], (count, height, width)).copy()


@pytest.mark.parametrize(("size", "detail"), [((20, 30), 2), ((40, 30), 1), ((40, 60), 1)])
def test_frames_are_read_at_twice_the_size_where_they_have_it(
    tmp_path: Path, size: tuple[int, int], detail: int
) -> None:
    for k in range(2):
        write_image(tmp_path / f"{k}.png", fake_image(40, 60, k))
    found = Footage(tmp_path, size=size, detail=2)
    assert found.detail == detail
    assert found[0].shape == (detail * size[0], detail * size[1])
    scene = VideoScene(found)
    assert scene.frames(0, 1).shape == (1, *size)


@pytest.mark.parametrize("turned", [0, 90, 180, -90])
def test_a_video_is_shown_upright(tmp_path: Path, turned: int) -> None:
    stored = levels(2)
    stored[:, :16, :24] = 255  # the corner at the top left
    path = write_video(tmp_path / "a.mp4", stored, turned=turned)
    found = read_frames(path).numpy()[0]
    expected = np.rot90(stored[0], turned // 90) / 255
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 0.05


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_gap_ten_times_as_long_has_ten_times_the_readouts(tmp_path: Path, suffix: str) -> None:
    path = write_video(tmp_path / f"a.{suffix}", levels(4), times=[0, 40, 440, 480])
    film = Footage(path)
    assert film.times == pytest.approx([0, 0.04, 0.44, 0.48])
    assert film.gaps(20) == [20, 200, 20]
    scene = VideoScene(film, readouts_per_frame=20, interpolation="blend")
    assert scene.num_readouts == 240
    seen = [readout for readout in range(240) if scene.is_seen(readout)]
    assert seen == [0, 20, 220]
    middle = scene.frames(120, 121)  # halfway through the long gap
    expected = (film[1] + film[2]) / 2
    np.testing.assert_allclose(middle[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0, 33, 67, 100, 133], [20, 20, 20, 20]),  # 30 a second in milliseconds
        ([0, 4, 8, 13, 17], [20, 20, 20, 20]),  # 240 a second
        ([0, 33, 67, 133, 167], [20, 20, 40, 20]),  # one frame was dropped
        ([0, 40, 100, 140, 180], [20, 30, 20, 20]),
    ],
)
def test_jitter_of_the_clock_is_no_motion(
    tmp_path: Path, times: list[int], expected: list[int]
) -> None:
    path = write_video(tmp_path / "a.mkv", levels(5), times=times)
    assert Footage(path).gaps(20) == expected


def test_images_are_written_only_where_a_frame_shows_one(tmp_path: Path) -> None:
    film = Footage(write_video(tmp_path / "a.mp4", levels(3), times=[0, 40, 160]))
    scene = VideoScene(film, interpolation="blend")
    recording = Recording(scene, Camera(0.4), seed=0, images=4)
    assert recording.num_images == 2
    write_stream(tmp_path / "s.npz", recording)
    assert spikes.open(tmp_path / "s.npz").num_readouts == 80
    names = sorted(path.name for path in (tmp_path / "s_images").iterdir())
    assert names == ["00000001.png", "00000002.png"]
    write_scene(tmp_path, "val", "s", recording)
    folder = tmp_path / "imgs/val/val_orig/s"
    assert sorted(path.name for path in folder.iterdir()) == names


PLAYLISTS = {
    "ffconcat": "ffconcat version 1.0\nfile {named}\n",
    "hls": "#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1.0,\n{named}\n#EXT-X-ENDLIST\n",
    "sdp": "v=0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"/>',
    "edl": "# mpv EDL v0\n{named}\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_video_names_no_other_file(tmp_path: Path, kind: str) -> None:
    write_video(tmp_path / "secret.mp4", levels(3))
    path = tmp_path / "a.mp4"
    path.write_text(PLAYLISTS[kind].format(named="secret.mp4"))
    with pytest.raises(DataError, match=r"a\.mp4 cannot be read as a video") as caught:
        Footage(path)
    assert "secret" not in str(caught.value)


def test_containers_that_can_name_files_are_not_read() -> None:
    risky = {"concat", "hls", "dash", "sdp", "rtsp", "image2", "lavfi", "imf", "webm_dash_manifest"}
    assert not risky & set(CONTAINERS)


def test_the_name_of_a_file_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "a.mp4", levels(2))
    (tmp_path / "a.mp4").rename(tmp_path / "concat:a|b.mp4")
    assert len(Footage("concat:a|b.mp4")) == 2


def test_frames_are_read_as_they_are_asked_for(tmp_path: Path) -> None:
    film = Footage(write_video(tmp_path / "a.mp4", levels(9)))
    for index in (0, 1, 2, 5, 8, 3, 0):
        expected = levels(9)[index].mean() / 255
        assert film[index].mean().item() == pytest.approx(expected, abs=0.02)
        assert len(film._kept) <= KEPT
    with pytest.raises(IndexError):
        film[9]


def test_a_folder_is_footage_too(tmp_path: Path) -> None:
    for index in (0, 1, 2, 10, 11):
        Image.new("L", (12, 8), 20 * index).save(tmp_path / f"f_{index}.png")
    (tmp_path / "._f_0.png").write_bytes(b"Mac OS X")
    found = [round(frame.mean().item() * 255) for frame in read_frames(tmp_path)]
    assert found == [0, 20, 40, 200, 220]


@pytest.mark.parametrize(
    ("bound", "value", "message"),
    [
        ("MAX_FRAMES", 3, "is longer than the 3 frames"),
        ("MAX_VIDEO_PIXELS", 4000, "4,000 pixels of a video"),
        ("MAX_FRAME_PIXELS", 1000, "expected at most 1,000"),
        ("MAX_GAP_RATIO", 5, "more than 5 times another one"),
    ],
)
def test_a_video_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: int, message: str
) -> None:
    path = write_video(tmp_path / "a.mp4", levels(4), times=[0, 40, 440, 480])
    monkeypatch.setattr(footage, bound, value)
    with pytest.raises(DataError, match=message):
        Footage(path)


def test_a_small_file_of_many_repeated_frames_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "a.mp4", np.full((20, 320, 320), 90, np.uint8))
    held = path.stat().st_size
    assert len(Footage(path)) == 20
    monkeypatch.setattr(footage, "FREE_VIDEO_PIXELS", 10 * 320 * 320)
    monkeypatch.setattr(footage, "MAX_PIXELS_PER_BYTE", 20 * 320 * 320 // held - 1)
    with pytest.raises(DataError, match=f"pixels of a video of its {held:,} bytes. Cut it"):
        Footage(path)
    assert len(Footage(path, frames=10)) == 10


def test_text_that_is_not_utf8_in_a_video_does_not_matter(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", levels(2))
    content = path.read_bytes()
    assert content.count(b"Lavf") >= 1
    path.write_bytes(content.replace(b"Lavf", b"\xff\xfe\xfd\xfc"))
    assert len(Footage(path)) == 2


@pytest.mark.parametrize("share", [0, 0.02, 0.5])
def test_a_video_that_is_cut_short_is_one_error(tmp_path: Path, share: float) -> None:
    path = write_video(tmp_path / "a.mp4", levels(4))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"a\.mp4"):
        read_frames(path)


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    film = Footage(write_video(tmp_path / "a.mp4", levels(40, 64, 64)))
    scene = VideoScene(film, readouts_per_frame=2, interpolation="blend")
    exposed = Recording(scene, Camera(0.4), 0, images=39, readouts_per_image=2).parts()
    total = sum(part.mean() for part, _ in exposed) / 39
    assert math.isclose(total, 0.4 * 120 / 255, rel_tol=0.05)
    assert len(film._kept) <= KEPT

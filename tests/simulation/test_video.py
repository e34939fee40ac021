from __future__ import annotations

import math
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from spikerec.errors import ConfigError, DataError, DataNotFoundError, InputError
from spikerec.simulation import VideoScene, read_frames
from spikerec.simulation.video import Interpolation


def moving_bumps(times: torch.Tensor, size: int = 48) -> torch.Tensor:
    """A pattern that moves 0.25 pixels a readout to the right: (T, size, size)."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    shifted = x - 0.25 * times[:, None, None]
    return 0.5 + 0.25 * torch.sin(shifted / 2) + 0.2 * torch.cos(y / 3 + shifted / 5)


def write_video(path: Path, frames: np.ndarray) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = frames.shape[2], frames.shape[1]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        for image in frames:
            frame = av.VideoFrame.from_ndarray(image, format="gray")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def psnr(image: torch.Tensor, target: torch.Tensor) -> float:
    return -10 * math.log10((image - target).square().mean().item())


@pytest.mark.parametrize("interpolation", ["motion", "blend"])
def test_key_readouts_are_the_frames_themselves(interpolation: Interpolation) -> None:
    frames = torch.rand(3, 16, 16)
    scene = VideoScene(frames, readouts_per_frame=4, interpolation=interpolation)
    assert scene.num_readouts == 8
    assert torch.equal(scene.frames(0, 8)[::4], frames[:2])


def test_blend_mixes_linearly() -> None:
    frames = torch.stack((torch.zeros(8, 8), torch.ones(8, 8)))
    values = VideoScene(frames, readouts_per_frame=4, interpolation="blend").frames(0, 4)
    assert values[:, 0, 0].tolist() == [0, 0.25, 0.5, 0.75]


def test_motion_follows_what_moves_where_blend_shows_it_double() -> None:
    times = torch.arange(21.0)
    truth = moving_bumps(times)
    quality = {}
    for interpolation in ("motion", "blend"):
        scene = VideoScene(truth[[0, 20]], readouts_per_frame=20, interpolation=interpolation)
        quality[interpolation] = psnr(scene.frames(10, 11)[0, :, 8:-8], truth[10, :, 8:-8])
    assert quality["motion"] > quality["blend"] + 6


def test_large_frames_have_their_flow_from_smaller_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = moving_bumps(torch.arange(21.0), size=96)
    monkeypatch.setattr("spikerec.simulation.video.FLOW_PIXELS", 48 * 48)
    scene = VideoScene(truth[[0, 20]], readouts_per_frame=20)
    assert psnr(scene.frames(10, 11)[0, :, 8:-8], truth[10, :, 8:-8]) > 26


def test_a_video_is_read_as_grey_frames(tmp_path: Path) -> None:
    truth = (moving_bumps(torch.arange(0, 60, 10.0)) * 255).to(torch.uint8)
    write_video(tmp_path / "clip.mp4", truth.numpy())
    frames = read_frames(tmp_path / "clip.mp4")
    assert frames.shape == (6, 48, 48)
    assert (frames - truth.float() / 255).abs().mean() < 0.03
    assert read_frames(tmp_path / "clip.mp4", size=(16, 32), frames=3).shape == (3, 16, 32)


def test_a_folder_of_frames_is_read_in_order(tmp_path: Path) -> None:
    for index, level in enumerate((10, 20, 30)):
        Image.new("L", (12, 8), level).save(tmp_path / f"{index}.png")
    frames = read_frames(tmp_path)
    assert frames.shape == (3, 8, 12)
    assert (frames[:, 0, 0] * 255).round().tolist() == [10, 20, 30]


def test_errors_name_the_input(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="does not exist"):
        read_frames(tmp_path / "none.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(DataError, match="cannot be read as a video"):
        read_frames(tmp_path / "text.mp4")
    frames = tmp_path / "frames"
    frames.mkdir()
    Image.new("L", (12, 8)).save(frames / "0.png")
    with pytest.raises(DataError, match=r"holds 1 frame.*at least 2"):
        read_frames(frames)
    Image.new("L", (10, 8)).save(frames / "1.png")
    with pytest.raises(DataError, match="2 sizes"):
        read_frames(frames)
    with pytest.raises(DataError, match="at least 5"):
        read_frames(frames, frames=5)


def test_a_video_at_twice_the_size_is_as_sharp_between_its_frames() -> None:
    noise = torch.rand(1, 202, 202, generator=torch.Generator().manual_seed(0))
    texture = F.avg_pool2d(noise, 3, 1)[0]
    fine = torch.stack([texture[20:148, 20:148], texture[20:148, 18:146]])  # a pixel of the scene
    scene = VideoScene(fine, readouts_per_frame=4, detail=2)
    assert (scene.height, scene.width) == (64, 64)
    frames = scene.frames(0, 4)
    torch.testing.assert_close(frames[0], F.avg_pool2d(fine[:1], 2)[0])

    def power(image: torch.Tensor) -> float:
        """Power from 0.3 cycles a pixel along the rows, away from the border."""
        spectrum = torch.fft.fft(image[8:-8, 8:-8]).abs() ** 2
        return float(spectrum[:, torch.fft.fftfreq(48).abs() >= 0.3].sum())

    for frame in frames[1:]:
        assert power(frame) == pytest.approx(power(frames[0]), rel=0.1)


def test_a_scene_refuses_what_it_cannot_show() -> None:
    with pytest.raises(InputError, match="F ≥ 2"):
        VideoScene(torch.rand(1, 8, 8))
    with pytest.raises(ConfigError, match="motion or blend"):
        VideoScene(torch.rand(2, 8, 8), interpolation="cubic")
    with pytest.raises(InputError, match="lasts 20"):
        VideoScene(torch.rand(2, 8, 8)).frames(10, 21)

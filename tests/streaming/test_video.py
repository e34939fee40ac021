from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import spikerec
from spikerec import spikes
from spikerec.errors import ConfigError, DataError, InputError
from spikerec.models.base import Network, Reconstruction
from spikerec.spikes import SpikeStream
from spikerec.streaming import Frame, Tone, Video, make_frames, reconstruct
from spikerec.streaming.panels import side_by_side
from tests.fakes import fake_spikes


@pytest.fixture
def stream(tmp_path: Path) -> SpikeStream:
    spikes.save(tmp_path / "clip.npy", fake_spikes(90, 20, 28), rate_hz=20000, light_scale=0.5)
    return spikes.open(tmp_path / "clip.npy")


def test_three_lines_make_a_video(stream: SpikeStream, tmp_path: Path) -> None:
    stream = spikerec.open(stream.path)
    video = spikerec.reconstruct(stream, "tfp")
    video.save(tmp_path / "clip.mp4")
    assert (tmp_path / "clip.mp4").stat().st_size > 500


def test_a_notebook_shows_a_frame(stream: SpikeStream) -> None:
    video = reconstruct(stream, "tfp", stride=10)
    assert len(video) == 9
    assert video._repr_png_().startswith(b"\x89PNG")
    assert video[-1].size == (28, 20)
    with pytest.raises(IndexError):
        video[9]
    assert repr(video) == "Video(9 frames of clip.npy by tfp)"
    several = reconstruct([stream.path, stream.path], "tfp", stride=200)
    assert repr(several) == "Video(1 frame of clip.npy … clip.npy (2 files) by tfp)"


def test_wrong_tiles_and_outputs_are_refused_at_once(stream: SpikeStream) -> None:
    for tile, overlap, message in (
        (5, 64, "larger than tile_overlap, found 5 and 64.*multiples of 4.*a tile of 68 or more"),
        (0, 64, "tile must be at least 1, found 0"),
        (64, -1, "tile_overlap must be at least 0, found -1"),
    ):
        with pytest.raises(ConfigError, match=message):
            reconstruct(stream, "fast", tile=tile, tile_overlap=overlap)
    with pytest.raises(ConfigError, match="path must name an output"):
        reconstruct(stream, "tfp").save([])


def test_a_slice_is_the_video_of_those_frames(stream: SpikeStream) -> None:
    video = reconstruct(stream, "tfp", stride=10, exposure="auto")
    pictures = [np.asarray(picture) for picture in video]
    for part in (slice(0, 2), slice(-3, None), slice(1, 8, 3), slice(4, 4)):
        assert len(video[part]) == len(pictures[part])
        for made, expected in zip(video[part], pictures[part], strict=True):
            assert np.array_equal(made, expected)
    for wrong in ("a", [0, 1], slice(None, None, -1)):
        with pytest.raises(IndexError, match="frames"):
            video[wrong]  # type: ignore[call-overload]


def test_methods_and_streams_are_taken_in_every_form(stream: SpikeStream) -> None:
    frame = np.asarray(reconstruct(stream, "tfp", "tfi", stride=30)[1])
    array = stream[:]
    for source in (stream.path, str(stream.path), [stream.path], array, torch.tensor(array)):
        video = reconstruct(source, ["tfp", "tfi"], stride=np.int64(30), exposure=2.0)
        assert len(video) == 3
    assert np.array_equal(reconstruct(array, ["tfp", "tfi"], stride=30)[1], frame)
    with pytest.raises(ConfigError, match=r"methods must be text, a Network, .* found 5"):
        reconstruct(stream, 5)  # type: ignore[arg-type]


class Watched(Network):
    """The firing rate; counts its windows and the times it is moved to a device."""

    def __init__(self) -> None:
        super().__init__(window=31, output_scale=1.0)
        self.scale = nn.Parameter(torch.ones(()))
        self.windows = self.moves = 0

    def forward(self, spikes: Tensor) -> Reconstruction:
        self.windows += len(spikes)
        return Reconstruction(self.scale * spikes.mean(1, keepdim=True))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Watched:
        self.moves += 1
        super()._apply(fn, recurse)
        return self


def test_a_loop_over_the_pictures_runs_the_engine_once(
    stream: SpikeStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, runs = Watched().eval(), []

    def counted(*arguments: Any, **settings: Any) -> Generator[Frame, None, None]:
        runs.append(arguments)
        return make_frames(*arguments, **settings)

    monkeypatch.setattr("spikerec.streaming.processes.make_frames", counted)
    video = reconstruct(stream, network, stride=4, device="cpu", batch_size=1, optimise=False)
    pictures = list(video)
    assert len(pictures) == len(video) == 23
    assert len(runs) == network.moves == 1
    assert network.windows == len(video)
    one_by_one = [video[index] for index in range(len(video))]
    assert [picture.tobytes() for picture in pictures] == [one.tobytes() for one in one_by_one]


GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
def test_a_network_stays_where_it_computes(stream: SpikeStream, device: str) -> None:
    network = Watched()
    video = reconstruct(stream, network, stride=4, device=device, optimise=False)
    video[0]
    where, moved = network.scale.data_ptr(), []
    network.register_forward_pre_hook(lambda *_: moved.append(network.scale.data_ptr() != where))
    for index in range(3):
        video[index]
    list(video)
    assert network.scale.device.type == device
    assert network.scale.data_ptr() == where
    assert moved
    assert not any(moved)


def test_frames_are_intensity(stream: SpikeStream) -> None:
    frame = next(iter(reconstruct(stream, "tfp").frames()))
    expected = stream.window(0, 31).mean(0) / 0.5
    assert frame.images[0].numpy() == pytest.approx(expected)


def test_an_unstated_light_scale_is_measured(tmp_path: Path) -> None:
    spikes.save(tmp_path / "dim.npy", fake_spikes(400, 24, 24, rate=0.03))
    video = reconstruct(spikes.open(tmp_path / "dim.npy"), "tfp")
    assert video.light_scale == pytest.approx(0.03, rel=0.5)


def test_a_stated_light_scale_leaves_intensity_alone(stream: SpikeStream) -> None:
    class OwnUnit(Network):
        """Seven times the firing rate."""

        def forward(self, spikes: Tensor) -> Reconstruction:
            return Reconstruction(7 * spikes.mean(1, keepdim=True))

    images = next(reconstruct(stream, OwnUnit(31)).frames()).images
    assert images[0].numpy() == pytest.approx(7 * stream.window(0, 31).mean(0), rel=1e-5)


def test_exposure_is_the_same_for_all_frames(tmp_path: Path) -> None:
    half_dark = np.concatenate([fake_spikes(100, 16, 16, rate=0.1), fake_spikes(100, 16, 16, 1)])
    spikes.save(tmp_path / "clip.npy", half_dark)
    video = reconstruct(spikes.open(tmp_path / "clip.npy"), "tfp", stride=139)
    dark, bright = (np.asarray(video[k], float).mean() for k in range(2))
    assert bright / dark == pytest.approx(4, rel=0.2)


@pytest.mark.parametrize(("exposure", "gain"), [("light_scale", 1), (2, 2), (0.25, 0.25)])
def test_exposure_by_hand(exposure: float | str, gain: float, stream: SpikeStream) -> None:
    video = reconstruct(stream, "tfp", exposure=exposure)
    frame = next(iter(video.frames()))
    assert video.light_scale == 0.5
    assert video.draw(frame) == pytest.approx(np.clip(gain * frame.images[0].numpy(), 0, 1))


@pytest.mark.parametrize("exposure", [None, "auto", 0.5])
def test_an_image_that_is_not_finite_is_refused(
    exposure: float | str | None, stream: SpikeStream, tmp_path: Path
) -> None:
    network = spikerec.load("fast")
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.fill_(3e38)  # finite themselves
    video = reconstruct(stream, {"mine": network}, exposure=exposure, stride=30)
    with pytest.raises(
        InputError, match=r"the image of readout \d+ by mine has values that are not"
    ):
        video.save(tmp_path / "a.npy")
    assert not (tmp_path / "a.npy").exists()


def test_hot_pixels_are_masked(tmp_path: Path) -> None:
    rough = fake_spikes(200, 20, 20, rate=0.1)
    rough[:, 7, 8] = 1
    spikes.save(tmp_path / "hot.npy", rough)
    stream = spikes.open(tmp_path / "hot.npy")
    masked = reconstruct(stream, "tfp", mask_defects=True, exposure=1.0)
    kept = reconstruct(stream, "tfp", mask_defects=False)
    sure = reconstruct(stream, "tfp", exposure=1.0)  # beyond doubt, so that it is by default
    assert torch.equal(next(iter(sure.frames())).images, next(iter(masked.frames())).images)
    rough_frame, frame = (next(iter(video.frames())).images[0] for video in (kept, masked))
    assert rough_frame[7, 8] == rough_frame.max()
    assert frame[7, 8] < 0.5


def test_panels_carry_labels_and_a_caption(stream: SpikeStream) -> None:
    bare = reconstruct(stream, "tfp")[0]
    assert bare.size == (28, 20)
    video = reconstruct(stream, "tfp", "tfi", show_spikes=True, caption=True)
    picture = np.asarray(video[0])
    assert picture.shape[1] == 3 * 28 + 2 * 2
    top = (picture.shape[0] - 20) // 2
    drawn = picture[top : top + 20, :28]
    assert np.array_equal(drawn, 255 * stream[video.key_readouts.first])
    assert picture[:top].any()
    assert picture[-top:].any()


def test_text_is_cut_rather_than_the_picture_widened() -> None:
    picture = side_by_side([np.zeros((30, 20), np.float32)], ["a" * 50])
    assert picture.shape[1] == 20


def test_slow_motion_sets_the_stride(stream: SpikeStream) -> None:
    video = reconstruct(stream, "tfp", slow_motion=160, fps=25)
    assert video.key_readouts.stride == 5
    assert video.slow_motion(25) == 160
    with pytest.raises(ConfigError, match="lower slow_motion or fps"):
        reconstruct(stream, "tfp", slow_motion=1e6)


def test_slow_motion_needs_the_sampling_rate(tmp_path: Path) -> None:
    spikes.save(tmp_path / "clip.npy", fake_spikes(90, 8, 8))
    with pytest.raises(ConfigError, match="set rate_hz, or stride"):
        reconstruct(spikes.open(tmp_path / "clip.npy"), "tfp", slow_motion=100)


def test_one_pass_writes_several_outputs(stream: SpikeStream, tmp_path: Path) -> None:
    video = reconstruct(stream, "tfp", stride=7, tone=Tone("log"))
    video.save([tmp_path / "a.npy", tmp_path / "frames"])
    numbers = np.load(tmp_path / "a.npy")
    assert len(numbers) == len(video) == len(list((tmp_path / "frames").iterdir()))
    assert numbers.max() > 1  # intensity, not what was drawn
    drawn = np.asarray(Image.open(tmp_path / "frames" / "000002.png"))
    assert np.array_equal(drawn, np.rint(255 * Tone("log")(numbers[2])))


def test_interrupted_and_resumed_equals_uninterrupted(stream: SpikeStream, tmp_path: Path) -> None:
    def video() -> Video:
        return reconstruct(stream, "tfp", "tfi", stride=3)

    video().save(tmp_path / "whole.npy")

    def interrupt(done: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    outputs = [tmp_path / "part.npy", tmp_path / "part"]
    with pytest.raises(KeyboardInterrupt):
        video().save(outputs, on_frame=interrupt)
    assert not any(path.exists() for path in outputs)
    with pytest.raises(DataError, match=r"part.npy.partial holds 8 of 30 frames"):
        video().save(outputs)
    counts: list[int] = []
    video().save(outputs, resume=True, on_frame=counts.append)
    assert counts == list(range(8, 31))
    assert np.array_equal(np.load(outputs[0]), np.load(tmp_path / "whole.npy"))
    assert len(list(outputs[1].iterdir())) == 30


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"exposure": "bright"}, "exposure must be "),
        ({"exposure": -1}, "exposure must be"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"stride": 2.5}, r"stride must be a whole number or None, found 2\.5"),
        ({"stride": "10"}, "stride must be a whole number or None, found the text '10'"),
        ({"start": 1.5}, r"start must be a whole number, found 1\.5"),
        ({"stop": "9", "stride": 2}, "stop must be a whole number or None, found the text '9'"),
    ],
)
def test_settings_out_of_range_are_named(
    settings: dict[str, object], message: str, stream: SpikeStream
) -> None:
    with pytest.raises(ConfigError, match=message):
        reconstruct(stream, "tfp", **settings)  # type: ignore[arg-type]


def test_methods_of_another_kind_are_refused(stream: SpikeStream) -> None:
    with pytest.raises(ConfigError, match="methods names no method"):
        reconstruct(stream, [])
    with pytest.raises(ConfigError, match=r"methods\.a must be a Network, found the text 'tfp'"):
        reconstruct(stream, {"a": "tfp"})  # type: ignore[dict-item]
    video = reconstruct(stream, "tfp", stride=10)
    with pytest.raises(IndexError, match=rf"frame 99 .*the video has {len(video)} frames"):
        video[99]


def test_methods_must_be_named_once_and_their_checkpoints_by_name(stream: SpikeStream) -> None:
    with pytest.raises(ConfigError, match="named twice"):
        reconstruct(stream, "tfp", "tfp")
    with pytest.raises(ConfigError, match=r"any of 2 methods: say which, checkpoint.NAME"):
        reconstruct(stream, "tfp", "stir", checkpoint="best.ckpt")

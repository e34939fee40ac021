"""Videos scored from the command line, on two tiny simulated clips."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import spikerec
from spikerec.configs import build
from spikerec.data import SpikeDataModule
from spikerec.data.frames import Frames, _unchanged
from spikerec.data.video import VideoClips
from spikerec.models import TFI, Hann
from spikerec.results import Record, Store
from spikerec.results.boards import gather
from spikerec.results.page.videos import filmstrip
from spikerec.simulation.images import read_grey
from spikerec.streaming.animations import read_animation
from spikerec.training.evaluation import SampleVideos, Split
from spikerec.training.module import ReconstructionModule
from spikerec.training.standard import named_protocol
from tests.training.command import call, start

IMAGES = 4
SIZE = (48, 64)
WITHOUT_WEIGHTS = ("~protocol.metrics.lpips", "~protocol.metrics.tlpips")


def words(folder: Path, outputs: str, *overrides: str, model: str = "hann") -> list[str]:
    tiny = {"root": folder / "data", "scenes.test": 2, "images_per_scene": IMAGES}
    tiny |= {"height": SIZE[0], "width": SIZE[1]}
    return [
        *("evaluate", f"model={model}", "data=video", "protocol=video", "efficiency=null"),
        *(f"data.sets.video.{name}={value}" for name, value in tiny.items()),
        *(f"paths.outputs={folder / outputs}", "trainer.accelerator=cpu"),
        *("trainer.enable_progress_bar=false", *WITHOUT_WEIGHTS, *overrides),
    ]


def made(folder: Path) -> VideoClips:
    height, width = SIZE
    return VideoClips(
        folder / "data", scenes={"test": 2}, images_per_scene=IMAGES, height=height, width=width
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two records, of Hann and of TFI, and the saved videos of both."""
    folder = tmp_path_factory.mktemp("videos")
    with pytest.MonkeyPatch.context() as patch:
        for model in ("hann", "tfi"):
            call(patch, words(folder, "outputs", model=model))
    return folder


def records(folder: Path, outputs: str = "outputs") -> dict[str, Record]:
    return {one.method: one for one in Store(folder / outputs / "results").read_all().records}


def frames(path: Path) -> list[np.ndarray]:
    return [np.asarray(image) for image in read_animation(path, 9999, 99)]


def test_samples_are_clips_and_their_values_means_over_the_curves(folder: Path) -> None:
    for record in records(folder).values():
        assert record.samples.keys == ("0000", "0001")
        assert record.dataset.num_samples == 2
        assert record.curves is not None
        assert record.curves.readouts["0001"] == (0, 10, 20, 30)
        assert set(record.curves.values) == set(record.samples.values)
        for metric, curve in record.curves.values.items():
            for clip, column in zip(record.samples.keys, record.column(metric), strict=True):
                known = curve[clip][~np.isnan(curve[clip])]
                assert len(known) == 0 or known.mean() == pytest.approx(column, rel=1e-12)
        assert np.isfinite(record.curves.values["psnr"]["0000"]).all()
        assert np.isnan(record.curves.values["warping_error"]["0000"]).tolist() == [True] + 3 * [
            False
        ]
        assert record.samples.covariates["motion"].shape == (2,)
        assert record.samples.conditions["noise"] == ("ideal", "ideal")


def test_tfi_flickers_more_than_hann(folder: Path) -> None:
    found = records(folder)
    for metric in ("warping_error", "warping_error_estimated"):
        assert found["tfi"].mean(metric) > 1.5 * found["hann"].mean(metric)


def test_the_saved_videos_are_the_images_that_were_scored(folder: Path) -> None:
    record = records(folder)["hann"]
    roles = record.images["0001"]
    assert set(roles) == {"prediction", "target", "tfp"}
    videos = {role: frames(folder / "outputs/results" / path) for role, path in roles.items()}
    (_, clip) = made(folder).clips("test")
    assert record.curves is not None
    for place, key_readout in enumerate(record.curves.readouts["0001"]):
        truth = read_grey(clip.images[key_readout]).numpy() * 255
        assert np.array_equal(videos["target"][place], truth)
        error = ((videos["prediction"][place] - truth) ** 2).mean()
        psnr = record.curves.values["psnr"]["0001"][place]
        assert 10 * np.log10(255**2 / error) == pytest.approx(psnr, abs=0.05)  # rounded to levels


def test_a_board_of_videos_is_not_one_of_images(folder: Path) -> None:
    data, images = made(folder), folder / "images"
    for network in (Hann(), TFI()):
        spikerec.evaluate(network, data, "corrected", images, efficiency=None)
    both = [*records(folder).values(), *Store(images).read_all().records]
    boards, problems = gather(both)
    assert [str(board.name) for board in boards] == ["video (test)", "video (test), videos"]
    assert problems == []
    plain, videos = boards
    assert "flicker" not in plain.metrics
    assert [len(board.keys) for board in boards] == [8, 2]
    assert {"psnr", "flicker", "warping_error"} <= set(videos.metrics)


def test_python_gives_the_record_of_the_command_line(folder: Path) -> None:
    record = spikerec.evaluate(Hann(), made(folder), "video", efficiency=None)
    assert isinstance(record, Record)
    own = records(folder)["hann"]
    for metric in own.samples.values:
        np.testing.assert_allclose(record.column(metric), own.column(metric), rtol=1e-9)
    assert record.dataset.digest == own.dataset.digest


def test_of_a_set_made_with_other_settings_the_motion_is_not_known(folder: Path) -> None:
    other = VideoClips(folder / "data", scenes={"test": 2}, images_per_scene=IMAGES, seed=1)
    (clip, _) = made(folder).clips("test")
    assert other.scene("test", clip) is None
    assert made(folder).scene("test", clip) is not None


def test_clipped_intensity_that_may_move_is_not_static() -> None:
    images = np.array([[0, 255, 0.4, 7, 7], [0, 255, 0.4, 7, 8]], np.float32)
    assert _unchanged(images, 0).tolist() == [False, False, False, True, False]
    assert _unchanged(images, 1).tolist() == [False, False, False, True, True]


def test_static_pixels_have_one_level_in_all_true_images(folder: Path) -> None:
    data = made(folder)
    windows = SpikeDataModule(data, window=61).evaluation_windows("video", "test")
    frame = Frames(windows, range(IMAGES), lambda _: None)[0]["frame"]
    images = data.clips("test")[0].images
    truths = np.stack([np.asarray(Image.open(images[key])) for key in sorted(images)])
    inside = (truths > 0).all(0) & (truths < 255).all(0)
    assert np.array_equal(frame["static"], (np.ptp(truths, 0) == 0) & inside)


@pytest.mark.parametrize(("least", "is_told"), [(30, True), (31, False)])
def test_of_a_short_clip_no_pixel_is_taken_for_static(
    folder: Path, monkeypatch: pytest.MonkeyPatch, least: int, is_told: bool
) -> None:
    monkeypatch.setattr("spikerec.data.frames.LEAST_SPAN", least)  # the clip's images span 30
    windows = SpikeDataModule(made(folder), window=61).evaluation_windows("video", "test")
    frame = Frames(windows, range(IMAGES), lambda _: None)[0]["frame"]
    assert frame["static_estimated"].any() == is_told


@pytest.mark.parametrize(("rank", "clips"), [(0, ["0000"]), (1, ["0001"]), (2, [])])
def test_a_process_saves_the_whole_clips_of_its_own_share(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int, clips: list[str]
) -> None:
    # The third of three processes has no clip: it repeats an image as often as a clip has images.
    monkeypatch.setattr(SpikeDataModule, "_process", lambda _: (rank, 3))
    split = Split(SpikeDataModule(made(folder), window=61), "video", "test", as_videos=True)
    trainer: Any = SimpleNamespace(
        datamodule=split, strategy=SimpleNamespace(broadcast=lambda value: value)
    )
    split.trainer = trainer
    videos, module = SampleVideos(tmp_path, -1, 21), ReconstructionModule(Hann())
    videos.on_test_start(trainer, module)
    steps = split.test_dataloader()
    assert len(steps) == IMAGES
    for number, encoded in enumerate(steps):
        batch = split.on_after_batch_transfer(encoded, 0)
        outputs = {"image": module.reconstruct(batch).image}
        videos.on_test_batch_end(trainer, module, outputs, batch, number)
    saved = {clip: roles for clip, roles in videos.saved().items() if roles}
    assert list(saved) == clips
    for roles in saved.values():
        assert [len(frames(path)) for path in roles.values()] == 3 * [IMAGES]


@pytest.mark.slow
def test_two_processes_score_whole_clips(folder: Path) -> None:
    # Three processes share two clips: one has none, and repeats an image that counts once.
    devices = ("trainer=ddp_cpu", "trainer.devices=3", "save_images=-1")
    ended = start(words(folder, "shared", *devices))
    assert ended.returncode == 0, ended.stderr
    alone, shared = records(folder)["hann"], records(folder, "shared")["hann"]
    for metric in alone.samples.values:
        np.testing.assert_allclose(shared.column(metric), alone.column(metric), rtol=1e-9)
    paths = [path for roles in shared.images.values() for path in roles.values()]
    lengths = [len(frames(folder / "shared/results" / path)) for path in paths]
    assert lengths == [IMAGES] * 6


def test_a_network_with_a_state_carries_it_along_a_clip(tmp_path: Path) -> None:
    # An image that went on from the state of another one than the batch says is an error.
    height, width = SIZE
    data = VideoClips(tmp_path, scenes={"test": 1}, images_per_scene=5, height=height, width=width)
    network, protocol = (
        build("model", "ssir", channels=4),
        named_protocol("video", ["psnr", "flicker"]),
    )
    record = spikerec.evaluate(network, data, protocol, carry="start", efficiency=None)
    assert record.carry == "start"
    assert record.curves is not None
    assert record.curves.readouts == {"0000": (0, 10, 20, 30, 40)}


def test_the_page_contains_the_videos_as_filmstrips(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = folder / "outputs/results"
    call(monkeypatch, ["leaderboard", f"results={results}", f"output={folder / 'board'}"])
    page = (folder / "board" / "leaderboard.html").read_text(encoding="utf-8")
    text = page.split('id="data">')[1].split("</script>")[0]
    data: dict[str, Any] = json.loads(text)
    (board,) = data["boards"]
    assert board["images"] == []
    assert [clip["key"] for clip in board["videos"]] == ["0000", "0001"]
    first = board["videos"][0]
    assert set(first["strips"]) == {"Ground truth", "TFP of the window", "Hann", "TFI"}
    assert first["strips"]["Hann"] | {"image": 0} == {
        **{"image": 0, "frames": IMAGES, "columns": 2},
        **{"width": SIZE[1], "height": SIZE[0]},
    }
    assert first["readouts"] == [0, 10, 20, 30]
    assert len(first["curves"]["psnr"]["TFI"]) == IMAGES
    assert data["imagesLeftOut"] == 0


def test_a_damaged_video_is_refused(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "still.webp", "WEBP")
    strip = filmstrip(tmp_path / "still.webp", 100)
    assert strip is not None
    assert strip.frames == 1
    (tmp_path / "broken.webp").write_bytes((tmp_path / "still.webp").read_bytes()[:40])
    with pytest.raises(OSError, match=r"."):
        filmstrip(tmp_path / "broken.webp", 100)

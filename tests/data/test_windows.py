from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from spikerec import spikes
from spikerec.data import REDS, Clip, SpikeDataModule, Windows, decode
from spikerec.data.epochs import EpochSampler
from spikerec.data.windows import Crop, Draw, apply_symmetry
from spikerec.errors import ConfigError, DataError, WindowError
from spikerec.spikes import Geometry
from tests.fakes import fake_image, fake_reds, fake_spikes, write_dat, write_image


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    write_dat(tmp_path / "a.dat", fake_spikes(50, 21, 43))
    write_image(tmp_path / "a.png", fake_image(21, 43))
    return Clip("a", (tmp_path / "a.dat",), 0.6, Geometry(21, 43), images={25: tmp_path / "a.png"})


def one_batch(windows: Windows, draws: list[Draw], workers: int = 0) -> dict:
    loader = DataLoader(windows, batch_size=len(draws), sampler=draws, num_workers=workers)
    return decode(next(iter(loader)))


def test_clips_without_a_key_readout_to_use_are_told(clip: Clip) -> None:
    for clips, message in (
        ([], "there are no clips"),
        ([replace(clip, images={})], "none of 1 clips has a key readout"),
        (
            [replace(clip, key_readouts=[50])],
            "clip a states 50, and the stream has readouts 0 to 49",
        ),
    ):
        with pytest.raises(DataError, match=message):
            Windows(clips, window=11, margin=0)
    with pytest.raises(ConfigError, match=r"clip a .*key_readouts must differ.* found 40 twice"):
        replace(clip, key_readouts=[40, 20, 40])


def test_whole_window_is_the_stream_around_the_key_readout(clip: Clip) -> None:
    windows = Windows([clip], window=11, margin=0)
    batch = one_batch(windows, [Draw(0, 0, 0)])
    with clip.open() as stream:
        assert np.array_equal(batch["spikes"][0].numpy(), stream[20:31])
    assert batch["key"] == ["a/25"]
    assert batch["light_scale"].item() == pytest.approx(0.6)


def test_crop_and_symmetry_move_spikes_and_image_alike(clip: Clip) -> None:
    # A stream that repeats a thresholded image must stay equal to its target under any draw.
    image = fake_image(21, 43)
    binary = (image > 127).astype(np.uint8)
    write_dat(clip.files[0].with_name("b.dat"), np.repeat(binary[None], 50, axis=0))
    write_image(clip.images[25], binary * 255)
    stream = Clip(
        "b", (clip.files[0].with_name("b.dat"),), 0.6, Geometry(21, 43), images=clip.images
    )
    windows = Windows([stream], window=3, margin=0, crop=Crop(12, 12, "dihedral", seed=1))
    batch = one_batch(windows, [Draw(0, 0, position) for position in range(32)])
    for spikes_of, target in zip(batch["spikes"], batch["target"], strict=True):
        assert torch.equal(spikes_of[1].float(), target[0])


def test_draws_do_not_depend_on_workers(clip: Clip) -> None:
    windows = Windows([clip], window=5, margin=0, crop=Crop(8, 8, "dihedral", seed=3))
    draws = list(EpochSampler(1, samples_per_epoch=6, seed=3))
    alone, shared = one_batch(windows, draws), one_batch(windows, draws, workers=2)
    assert torch.equal(alone["spikes"], shared["spikes"])
    assert torch.equal(alone["target"], shared["target"])


def test_a_cut_window_mirrors_the_rest_around_its_cut(clip: Clip) -> None:
    windows = Windows([clip], window=11, margin=0, crop=Crop(21, 43, "none", seed=0, ends=1.0))
    with clip.open() as stream:
        whole = stream[20:31]
    kinds = set()
    for position in range(200):
        seen = one_batch(windows, [Draw(0, 0, position)])["spikes"][0].numpy()
        assert np.array_equal(seen[5], whole[5])
        same = [np.array_equal(one, other) for one, other in zip(seen, whole, strict=True)]
        first, last = same.index(True), 10 - same[::-1].index(True)
        assert all(same[first : last + 1])
        assert first == 0 or last == 10
        for outside in range(first):
            assert np.array_equal(seen[outside], whole[2 * first - outside])
        for outside in range(last + 1, 11):
            assert np.array_equal(seen[outside], whole[2 * last - outside])
        kinds.add((first, last))
    # Each of the five readouts on either side may be the last that is known, and the middle too.
    assert kinds == {(0, k) for k in range(5, 11)} | {(k, 10) for k in range(6)}


def test_a_share_of_windows_is_cut_and_none_without_it(clip: Clip) -> None:
    with pytest.raises(ConfigError, match=r"ends must be in \[0, 1\], found 1\.5"):
        Crop(8, 8, "none", seed=0, ends=1.5)
    plain, cut = (
        Windows([clip], window=11, margin=0, crop=Crop(8, 8, "none", seed=0, ends=share))
        for share in (0.0, 0.5)
    )
    draws = [Draw(0, 0, position) for position in range(200)]
    pairs = [(plain[draw]["bits"], cut[draw]["bits"]) for draw in draws]
    changed = sum(not np.array_equal(one, other) for one, other in pairs)
    assert 60 < changed < 110  # one cut in six leaves all readouts


def test_epochs_draw_other_crops(clip: Clip) -> None:
    windows = Windows([clip], window=5, margin=0, crop=Crop(8, 8, "none", seed=0))
    first, second = (one_batch(windows, [Draw(0, epoch, 0)]) for epoch in (0, 1))
    assert not torch.equal(first["target"], second["target"])


def test_symmetries_are_the_eight_of_the_square() -> None:
    x = torch.arange(9).view(1, 3, 3)
    assert len({tuple(apply_symmetry(x, k).flatten().tolist()) for k in range(8)}) == 8


def test_every_key_readout_has_a_window_unless_a_margin_is_asked_for(clip: Clip) -> None:
    every = Clip("a", clip.files, 0.6, Geometry(21, 43), key_readouts=range(50))
    windows = Windows([every], window=61, margin=0)
    assert len(windows) == 50
    with clip.open() as stream:
        for item in (0, 3, 49):
            batch = one_batch(windows, [Draw(item, 0, item)])
            assert np.array_equal(batch["spikes"][0].numpy(), stream.window(item, 61))
    assert [windows.mirrored(item) for item in (0, 25, 49)] == [30, 5 + 6, 30]
    within = Windows([every], window=11, margin=20)
    assert [within.key(item) for item in (0, -1 + len(within))] == ["a/20", "a/29"]
    assert not any(within.mirrored(item) for item in range(len(within)))


def test_covariates_are_of_the_stream_and_of_what_the_set_states(clip: Clip) -> None:
    stated = replace(
        clip, covariates={"level": 0.5, "motion": {25: 0.3}}, conditions={"factor": "light"}
    )
    with clip.open() as stream:
        rate = float(stream[1:49].mean())
    plain, told = (Windows([one], window=11, margin=0) for one in (clip, stated))
    assert told.covariates(0) == pytest.approx(
        {"firing_rate": rate, "light_scale": 0.6, "motion": 0.3, "level": 0.5}
    )
    assert told.conditions(0) == {"motion_source": "stated", "noise": "unknown", "factor": "light"}
    assert plain.covariates(0).keys() == {"firing_rate", "light_scale", "motion"}
    assert plain.conditions(0) == {"motion_source": "estimated", "noise": "unknown"}


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"conditions": {"factor": "a\x1b[2J"}}, "conditions.factor must be printable text"),
        ({"conditions": {"factor": "x" * 201}}, "conditions.factor must be .* 1 to 200 characters"),
        ({"conditions": {"label": ""}}, "conditions.label must be printable text of 1 to"),
        ({"conditions": {"a\nb": "light"}}, "conditions must be named in printable text"),
        ({"conditions": {"motion": "fast"}}, "conditions names motion, which is measured"),
        ({"covariates": {"mirrored": 1.0}}, "covariates names mirrored, which is measured"),
        ({"covariates": {"firing_rate": 1.0}}, "covariates names firing_rate, which is measured"),
        ({"covariates": {"": 1.0}}, "covariates must be named in printable text of 1 to 100"),
        ({"covariates": {"level": 1e19}}, r"covariates.level must hold numbers up to 1e\+18"),
        ({"covariates": {"level": {99: 1.0}}}, "level must have a number for each key .* for 25"),
        ({"covariates": {"x": 1.0}, "conditions": {"x": "a"}}, "x is a covariate and a condition"),
    ],
)
def test_what_a_record_could_not_hold_is_refused_when_the_clip_is_made(
    clip: Clip, facts: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"clip a .*: .*{message}"):
        replace(clip, **facts)


def test_estimated_motion_is_of_the_stream_and_not_of_the_window(clip: Clip) -> None:
    motions = [
        Windows([clip], window=window, margin=0).covariates(0)["motion"] for window in (5, 61)
    ]
    assert motions[0] == pytest.approx(motions[1], nan_ok=True)


def test_a_margin_that_no_key_readout_has_is_refused(clip: Clip) -> None:
    with pytest.raises(
        DataError, match=r"margin: no key readout has 30 readouts on both sides.*has 50"
    ):
        Windows([clip], window=5, margin=30)
    with pytest.raises(ConfigError, match=r"margin must be at least 0, found -1"):
        Windows([clip], window=5, margin=-1)


def test_a_stream_too_short_to_be_mirrored_is_refused(clip: Clip) -> None:
    write_dat(clip.files[0].with_name("b.dat"), fake_spikes(2, 21, 43))
    short = Clip("b", (clip.files[0].with_name("b.dat"),), 0.6, Geometry(21, 43), key_readouts=[0])
    with pytest.raises(WindowError, match=r"b\.dat holds 2 readouts.*at least 3"):
        Windows([short], window=1, margin=0)


def test_crop_larger_than_the_image_names_the_key(clip: Clip) -> None:
    with pytest.raises(ConfigError, match=r"crop is 64 × 64, but a is 21 × 43"):
        Windows([clip], window=5, margin=0, crop=Crop(64, 64, "none", seed=0))


@pytest.mark.parametrize("crop", [32, "32", (32,), (32, 32, 1)])
def test_a_crop_that_is_no_pair_is_refused(crop: object, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="crop must be two whole numbers, found"):
        SpikeDataModule(REDS(tmp_path), window=5, crop=crop)  # type: ignore[arg-type]


def test_a_crop_of_numpy_numbers_is_taken(tmp_path: Path) -> None:
    data = SpikeDataModule(REDS(tmp_path), window=5, crop=np.array([32, 16]), augment="flips")  # type: ignore[arg-type]
    assert (data.crop.height, data.crop.width) == (32, 16)


def test_a_folder_is_no_data_set() -> None:
    with pytest.raises(ConfigError, match=r"sets must be a SpikeSet, .*, found the text "):
        SpikeDataModule("data/reds", window=5)  # type: ignore[arg-type]


def test_rotating_a_rectangle_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"augment=dihedral.*8 × 16"):
        Crop(8, 16, "dihedral", seed=0)


def test_image_of_another_size_names_the_file(clip: Clip) -> None:
    write_image(clip.images[25], fake_image(20, 43))
    with pytest.raises(DataError, match=r"a\.png is 20 × 43, but its stream is 21 × 43"):
        Windows([clip], window=5, margin=0)[0]


def test_a_truth_that_was_written_anew_is_read_anew(clip: Clip) -> None:
    before = Windows([clip], window=11, margin=0)[0]["target"]
    path = clip.images[min(clip.images)]
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    np.testing.assert_allclose(
        Windows([clip], window=11, margin=0)[0]["target"], 1 - before, atol=1e-6
    )


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "I;16"])
def test_a_truth_is_read_in_every_mode(clip: Clip, mode: str) -> None:
    levels = fake_image(21, 43)
    image = Image.fromarray(levels.astype(np.uint16) * 257 if mode == "I;16" else levels)
    (image if mode == "I;16" else image.convert(mode)).save(clip.images[25])
    target = Windows([clip], window=5, margin=0)[0]["target"]
    np.testing.assert_allclose(target[0], levels / 255, atol=1e-6)


def test_save_then_window_round_trips_through_npz(tmp_path: Path) -> None:
    stream = fake_spikes(9, 5, 7)
    spikes.save(tmp_path / "a.npz", stream)
    clip = Clip("a", (tmp_path / "a.npz",), 1.0, key_readouts=[4])
    batch = one_batch(Windows([clip], window=9, margin=0), [Draw(0, 0, 0)])
    assert np.array_equal(batch["spikes"][0].numpy(), stream)


def test_key_readouts_of_a_clip_rise_in_whatever_order_they_are_stated(clip: Clip) -> None:
    stated = Clip("a", clip.files, 0.6, Geometry(21, 43), key_readouts=[30, 10, 20])
    assert [readout for _, readout in Windows([stated], window=5, margin=0).items] == [10, 20, 30]


def test_sets_whose_clips_have_one_name_mix(tmp_path: Path) -> None:
    sets = []
    for name in ("one", "other"):
        fake_reds(tmp_path / name, num_readouts=41)
        sets.append(REDS(tmp_path / name, height=24, width=40, name=name))
    data = SpikeDataModule(sets, window=11, crop=(16, 16), samples_per_epoch=8)
    data.setup("fit")
    assert isinstance(data.train_windows, Windows)
    names = [clip.name for clip in data.train_windows.clips]
    assert len(set(names)) == len(names)
    assert {name.partition("/")[0] for name in names} == {"one", "other"}
    first, second = (one.clips("train") for one in sets)
    assert [clip.files for clip in data.train_windows.clips] == [
        clip.files for clip in (*first, *second)
    ]
    alone = SpikeDataModule(sets[0], window=11, crop=(16, 16), samples_per_epoch=8)
    alone.setup("fit")
    assert isinstance(alone.train_windows, Windows)
    assert [clip.name for clip in alone.train_windows.clips] == [clip.name for clip in first]

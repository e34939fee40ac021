"""The set whose scenes vary one factor at a time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from spikerec.apps.data import main
from spikerec.data import Robustness
from spikerec.data.clips import digest
from spikerec.data.photographs import catalogue
from spikerec.data.photos import DEAL_SEED, SHARES
from spikerec.data.robustness import HELD_OUT, MIDDLE
from spikerec.errors import ConfigError, DataError
from spikerec.simulation import SourceImage, deal_images
from spikerec.simulation.images import BUNDLED_IMAGES, read_grey

SMALL: dict[str, Any] = {"scenes": 2, "height": 32, "width": 40}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Robustness:
    return make(tmp_path_factory.mktemp("robustness"))


def make(root: Path, **changes: object) -> Robustness:
    found = Robustness(root, **SMALL | changes)
    found.prepare()
    return found


def recorded(found: Robustness, factor: str, scene: str = "00") -> list[NDArray[np.uint8]]:
    """The streams of a scene in the middle and at the other levels of a factor, in order."""
    clips = [clip for clip in found.clips("test") if clip.name.startswith(scene)]
    names = (f"{scene}@{MIDDLE}", f"{scene}@{factor}=")
    return [clip.open()[:] for clip in clips if clip.name.startswith(names)]


def test_a_condition_differs_from_the_middle_in_its_factor_alone(made: Robustness) -> None:
    middle, *others = made.conditions()
    assert middle.factor == MIDDLE
    for one in others:
        changed = [
            name for name, value in one.covariates.items() if value != middle.covariates[name]
        ]
        if one.factor == "noise":
            assert set(changed) <= {"fixed_pattern"}
            assert one.noise != middle.noise
            assert one.camera.light_scale == middle.camera.light_scale
        else:
            assert changed == [one.factor]
            assert one.noise == middle.noise


def test_every_factor_has_five_levels_or_more_in_order(made: Robustness) -> None:
    middle, *others = made.conditions()
    factors = list(dict.fromkeys(one.factor for one in others))
    assert factors == [
        "light_scale", "motion", "noise", "hot_pixels", "fixed_pattern", "readouts_after",
    ]  # fmt: skip
    for factor in factors:
        levels = [one for one in others if one.factor == factor]
        assert len(levels) >= 4  # and the middle
        if factor != "noise":
            values = [one.covariates[factor] for one in levels]
            assert values in (sorted(values), sorted(values, reverse=True))
            assert middle.covariates[factor] not in values
    assert (middle.camera.light_scale, middle.motion) == (0.4, 0.2)


def test_all_recordings_of_a_scene_share_one_truth(made: Robustness) -> None:
    key = made.key_readout
    middle = made.frames(0, made.motion)
    for motion in made.motions:
        frames = made.frames(0, motion)
        assert torch.equal(frames[key], middle[key])
        assert torch.equal(frames[key], frames[key + 1]) == (motion == 0)
    for clip in made.clips("test"):
        (readout, truth), *rest = clip.images.items()
        assert not rest
        assert readout == key < clip.open().num_readouts
        assert truth.stem == clip.name.partition("@")[0]
    shown = read_grey(made.root / "test" / "00.png")
    assert torch.allclose(shown, middle[key], atol=0.5 / 255 + 1e-6)


def test_streams_vary_as_their_factor_says(made: Robustness) -> None:
    rates = [stream.mean() for stream in recorded(made, "light_scale")]
    middle, *others = rates
    assert others == sorted(others)
    assert others[0] < middle < others[-1]
    truth = made.frames(0, 0.0)[0].numpy()
    expected = [scale * truth.mean() for scale in made.light_scales if scale != made.light_scale]
    assert others == pytest.approx(expected, rel=0.1)

    hot = [stream.min(axis=0) == 1 for stream in recorded(made, "hot_pixels")]
    shares = [float(np.mean(one)) for one in hot]
    assert shares == pytest.approx(made.hot_pixels, abs=0.02)
    assert all((few <= many).all() for few, many in pairwise(hot))

    even, *uneven = (stream.mean(axis=0) for stream in recorded(made, "fixed_pattern"))
    spreads = [float(np.abs(one - even).mean()) for one in uneven]
    assert spreads == sorted(spreads)

    whole, *cut = recorded(made, "readouts_after")
    for stream, after in zip(cut, made.readouts_after[1:], strict=True):
        assert len(stream) == made.key_readout + 1 + after
        assert np.array_equal(stream, whole[: len(stream)])

    ideal, *noisy = recorded(made, "noise")
    assert all(not np.array_equal(stream, ideal) for stream in noisy)


def test_the_same_seed_gives_the_same_bytes(made: Robustness, tmp_path: Path) -> None:
    again = make(tmp_path / "again")
    assert digest(again.clips("test")) == digest(made.clips("test"))
    other = make(tmp_path / "other", seed=1, scenes=1)
    first = other.clips("test")[0].files[0]
    assert first.read_bytes() != made.clips("test")[0].files[0].read_bytes()
    with pytest.raises(DataError, match="differs in seed"):
        Robustness(again.root, **SMALL, seed=1).prepare()


def test_a_set_that_was_cut_short_is_finished_the_same(made: Robustness, tmp_path: Path) -> None:
    cut = Robustness(tmp_path / "cut", **SMALL)

    def stop(done: int, total: int) -> None:
        assert (done, total) == (1, SMALL["scenes"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut.fetch(print, stop)
    with pytest.raises(DataError, match="does not hold the set"):
        cut.clips("test")
    cut.prepare()
    assert digest(cut.clips("test")) == digest(made.clips("test"))


def test_no_set_trains_on_its_photographs() -> None:
    names = [one.name for one in catalogue() if one.split is None] + list(BUNDLED_IMAGES)
    images = [SourceImage(name, torch.zeros(1, 1), "", sha256=name) for name in names]
    shares = deal_images(images, SHARES, DEAL_SEED)
    assert set(HELD_OUT) <= {one.name for split in ("val", "test") for one in shares[split]}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"motion": 0.3}, "motions must hold 0.3"),
        ({"light_scales": (0.4, 0.2)}, "light_scales must be levels from 0 up, in order"),
        ({"hot_pixels": (0.1, 0.2)}, "hot_pixels must hold 0"),
        ({"readouts_after": (0, 60)}, "readouts_after must be levels"),
        ({"cameras": {}}, "cameras names no camera"),
        ({"scenes": 0}, "scenes must be at least 1"),
    ],
)
def test_levels_that_make_no_sense_are_refused(
    changes: dict[str, Any], text: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=text):
        Robustness(tmp_path, **changes)


def test_there_is_a_test_split_alone(made: Robustness) -> None:
    with pytest.raises(DataError, match="a test split alone"):
        made.clips("train")


def test_pictures_of_ones_own_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="robustness takes no photographs"):
        main(["fetch", "robustness", "--photographs", "skimage"])

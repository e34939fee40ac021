"""The set of moving photographs, simulated from a folder of one's own pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikerec.configs import build
from spikerec.data import SpikeDataModule, Windows
from spikerec.data.photographs import catalogue, fetch_photographs, photographs
from spikerec.data.photos import SHARES, LivePhotos, Photos
from spikerec.errors import ConfigError, DataError, DataNotFoundError
from spikerec.fetch import FetchError
from spikerec.simulation import (
    RandomScene,
    SceneStyle,
    bundled_images,
    deal_images,
    folder_images,
)
from spikerec.simulation.cards import read_card
from tests.fakes import fake_image, write_image

SMALL = {
    "scenes": {"train": 2, "val": 1, "test": 1},
    "images_per_scene": 4,
    "height": 24,
    "width": 32,
}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for k in range(8):
        write_image(tmp_path / "pictures" / f"{k}.png", fake_image(40, 56, k))
    return tmp_path / "pictures"


def make(root: Path, pictures: Path, **changes: object) -> Photos:
    own = SMALL | {"root": str(root), "photographs": str(pictures)} | changes
    return build("data", "photos_small", **own)


def fetch(photos: Photos) -> None:
    photos.fetch(report=[].append, progress=divmod)


def test_scenes_have_their_own_light_scale_and_give_windows(tmp_path: Path, pictures: Path) -> None:
    photos = make(tmp_path / "set", pictures)
    with pytest.raises(DataNotFoundError, match="spikerec data fetch photos_small"):
        photos.prepare()
    fetch(photos)
    photos.prepare()
    clips = photos.clips("train")
    scales = [clip.light_scale for clip in clips]
    assert len(set(scales)) == 2
    assert all(0.1 <= scale <= 1 for scale in scales)
    sample = Windows(clips, window=21, margin=0)[0]
    assert sample["target"].shape == (1, 24, 32)
    assert sample["light_scale"] == np.float32(scales[0])


def test_rates_are_those_of_the_images(tmp_path: Path, pictures: Path) -> None:
    photos = make(tmp_path / "set", pictures)
    photos.style = SceneStyle(still=1.0, objects=(0, 0), brightness=(0.5, 1.0))
    photos.cameras = {"ideal": photos.cameras["ideal"]}
    fetch(photos)
    for clip in photos.clips("train"):
        sample = Windows([clip], window=39, margin=0)[0]
        rate = clip.open()[0:40].mean(0)
        error = rate / clip.light_scale - sample["target"][0]
        # A count of 40 readouts is off by less than one spike.
        assert np.abs(error).max() < 1 / 40 / clip.light_scale + 1 / 255


def test_no_split_shows_what_another_was_trained_on(tmp_path: Path, pictures: Path) -> None:
    fetch(make(tmp_path / "set", pictures))
    shares = read_card(tmp_path / "set" / "dataset.yaml")["photographs"]
    names = [one["sha256"] for share in shares.values() for one in share]
    assert len(names) == len(set(names)) == 8
    assert all(shares.values())


def test_the_deal_does_not_depend_on_the_size() -> None:
    images = bundled_images()
    shares = deal_images(images, SHARES, 0)
    assert {split: len(share) for split, share in shares.items()} == {
        "train": 10,
        "val": 2,
        "test": 2,
    }


def test_an_interrupted_set_is_finished_the_same(tmp_path: Path, pictures: Path) -> None:
    whole, cut = make(tmp_path / "whole", pictures), make(tmp_path / "cut", pictures)
    fetch(whole)

    def stop(done: int, total: int) -> None:
        del total
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut.fetch(print, stop)
    with pytest.raises(DataNotFoundError, match="is unfinished"):
        cut.prepare()
    fetch(cut)
    for split in SHARES:
        for one, other in zip(whole.clips(split), cut.clips(split), strict=True):
            assert one.files[0].read_bytes() == other.files[0].read_bytes()


def test_another_set_in_the_folder_is_not_overwritten(tmp_path: Path, pictures: Path) -> None:
    fetch(make(tmp_path / "set", pictures))
    with pytest.raises(DataError, match="differs in seed"):
        fetch(make(tmp_path / "set", pictures, seed=1))


def test_wrong_arguments_name_their_key(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(ConfigError, match=r"light_scale must be a range .* found \[0.0, 1.0\]"):
        make(tmp_path, pictures, light_scale=[0.0, 1.0])
    with pytest.raises(ConfigError, match="scenes may name train, val, test, found extra"):
        make(tmp_path, pictures, scenes={"extra": 1})


def test_without_apt_the_error_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match="photographs=FOLDER"):
        fetch_photographs(tmp_path)


def test_a_file_of_another_content_is_refused(tmp_path: Path) -> None:
    first = catalogue()[0]
    (tmp_path / first.name).write_bytes(b"something else")
    with pytest.raises(DataError, match="is not the file of that name"):
        photographs(tmp_path)


def test_every_photograph_states_its_licence_and_digest() -> None:
    listed = catalogue()
    assert len({one.sha256 for one in listed}) == len(listed) > 30
    assert all(one.licence and len(one.sha256) == 64 for one in listed)
    # Pictures that joined after the deal train only: what was tested on before still is.
    assert {one.split for one in listed} == {None, "train"}


def make_live(root: Path, pictures: Path, **changes: object) -> LivePhotos:
    own = SMALL | {"root": str(root), "photographs": str(pictures)}
    return build("data", "photos_live", **own | {"scenes": {"val": 1, "test": 1}} | changes)


def live_module(live: LivePhotos, **changes: object) -> SpikeDataModule:
    arguments: dict[str, Any] = {"batch_size": 2, "samples_per_epoch": 4, "margin": 10, "seed": 0}
    arguments |= {"crop": [16, 16], "augment": "dihedral", "num_workers": 0}
    arguments |= {"val_samples": None, "repeat_epoch": False}
    return SpikeDataModule({live.name: live}, window=21, **arguments | changes)


def test_live_windows_are_new_in_every_draw_and_the_same_for_a_seed(
    tmp_path: Path, pictures: Path
) -> None:
    live = make_live(tmp_path / "live", pictures)
    fetch(live)
    batches = []
    for _ in range(2):
        module = live_module(live)
        module.prepare_data()
        module.setup("fit")
        batches.append([module.on_after_batch_transfer(b, 0) for b in module.train_dataloader()])
    assert len(batches[0]) == 2
    for one, other in zip(*batches, strict=True):
        assert one["spikes"].shape == (2, 21, 16, 16)
        assert one["target"].shape == (2, 1, 16, 16)
        assert torch.equal(one["spikes"], other["spikes"])
        assert torch.equal(one["target"], other["target"])
    drawn = torch.cat([batch["target"] for batch in batches[0]])
    assert all(not torch.equal(drawn[0], rest) for rest in drawn[1:])
    assert len(list(module.val_dataloader()[0])) > 0


def test_a_live_crop_is_a_part_of_its_scene(tmp_path: Path, pictures: Path) -> None:
    live = make_live(tmp_path, pictures)
    scene = live.recording([one.image for one in folder_images(pictures)], "train/3").scene
    assert isinstance(scene, RandomScene)
    place = (slice(3, 15), slice(7, 29))
    torch.testing.assert_close(scene.frames(0, 3, place=place), scene.frames(0, 3)[:, *place])


def test_live_sets_refuse_what_they_cannot_do(tmp_path: Path, pictures: Path) -> None:
    live = make_live(tmp_path / "live", pictures)
    fetch(live)
    with pytest.raises(ConfigError, match=r"set data\.samples_per_epoch"):
        live_module(live, samples_per_epoch=None).setup("fit")
    with pytest.raises(ConfigError, match=r"data\.crop is 64 × 64, but scenes"):
        live.simulate([1], window=9, height=64, width=64, device=torch.device("cpu"))

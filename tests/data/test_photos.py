"""The set of moving photographs, simulated from a folder of one's own pictures."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from spikerec.configs import build
from spikerec.data import SpikeDataModule, Windows
from spikerec.data import photographs as catalogued
from spikerec.data.clips import digest
from spikerec.data.folds import make_folds
from spikerec.data.photographs import (
    FIRST,
    GROUPS,
    Photograph,
    catalogue,
    fetch_photographs,
    photographs,
)
from spikerec.data.photos import SHARES, LivePhotos, Photos
from spikerec.errors import ConfigError, DataError, DataNotFoundError, InputError
from spikerec.fetch import FetchError
from spikerec.simulation import (
    RandomScene,
    SceneStyle,
    bundled_images,
    deal_images,
    folder_images,
)
from spikerec.simulation.cards import plain_values, read_card
from spikerec.simulation.images import read_grey
from tests.fakes import fake_image, write_image
from tests.test_packages import make_debian

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


@pytest.mark.parametrize("layout", ["streams", "sreds"])
def test_interpolated_scenes_have_images_where_they_are_exact(
    tmp_path: Path, pictures: Path, layout: str
) -> None:
    light = [0.5, 0.5]
    photos = make(tmp_path / "set", pictures, layout=layout, light_scale=light, images_per_scene=10)
    photos.style = SceneStyle(interpolated=1.0)
    fetch(photos)
    for clip in photos.clips("train"):
        scene = photos.scene("train", clip)
        assert scene is not None
        assert list(clip.images) == [k for k in range(0, 100, 10) if scene.is_seen(k)]
        assert 50 in clip.images
        exact = read_grey(clip.images[50])
        torch.testing.assert_close(exact, scene.frames(50, 51)[0], atol=0.5 / 255 + 1e-4, rtol=0)


def test_an_image_is_named_by_its_number(tmp_path: Path, pictures: Path) -> None:
    photos = make(tmp_path / "set", pictures)
    fetch(photos)
    images = tmp_path / "set" / "train" / "0000_images"
    assert list(photos.clips("train")[0].images) == [0, 10, 20, 30]
    (images / "copy.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"copy.png is no image of the set: expected NUMBER.png"):
        photos.clips("train")


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


def test_a_set_that_was_copied_in_part_is_told(tmp_path: Path, pictures: Path) -> None:
    photos = make(tmp_path / "set", pictures)
    fetch(photos)
    (tmp_path / "set" / "train" / "0001.dat").unlink()
    with pytest.raises(DataError, match=r"1 of the 2 scenes of train that were made: .* fetch"):
        photos.clips("train")
    shutil.rmtree(tmp_path / "set" / "val" / "0000_images")
    with pytest.raises(DataError, match=r"0000_images holds no image of the scene in 0000.dat"):
        photos.clips("val")


@pytest.mark.parametrize("layout", ["streams", "sreds"])
@pytest.mark.parametrize("part", ["0001.dat", "0001.yaml", "0001_images"])
def test_a_finished_set_gets_back_what_it_lost(
    layout: str, part: str, tmp_path: Path, pictures: Path
) -> None:
    photos = make(tmp_path / "set", pictures, layout=layout, light_scale=[0.5, 0.5])
    fetch(photos)
    before = contents(tmp_path / "set")
    if layout == "streams":
        lost = tmp_path / "set" / "train" / part
    else:
        lost = photos.clips("train")[1].files[0].parent
    if lost.is_dir():
        shutil.rmtree(lost)
    else:
        lost.unlink()
    done = []
    photos.fetch(report=print, progress=lambda *counts: done.append(counts))
    assert done == [(4, 4)]
    assert contents(tmp_path / "set") == before


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 3}, "seed"),
        ({"height": 16}, "height"),
        ({"scenes": {"train": 2, "val": 1, "test": 2}}, "scenes"),
        ({"light_scale": [0.2, 1.0]}, "light_scale"),
        ({"images_per_scene": 3, "readouts_per_image": 5}, "readouts_per_image, images_per_scene"),
    ],
)
def test_a_set_of_other_settings_is_not_read(
    changes: dict[str, Any], told: str, tmp_path: Path, pictures: Path
) -> None:
    fetch(make(tmp_path / "set", pictures))
    other = make(tmp_path / "set", pictures, **changes)
    for read in (other.prepare, partial(other.clips, "test")):
        with pytest.raises(DataError, match=f"describes another set .it differs in {told}"):
            read()


def test_a_set_is_read_without_its_pictures_and_under_another_name(
    tmp_path: Path, pictures: Path
) -> None:
    fetch(make(tmp_path / "set", pictures))
    shutil.rmtree(pictures)
    renamed = make(tmp_path / "set", pictures, name="mine")
    renamed.prepare()
    assert len(renamed.clips("train")) == 2


@pytest.mark.parametrize("text", ["", "name: [", "- 1"])
def test_a_damaged_card_is_told(text: str, tmp_path: Path, pictures: Path) -> None:
    photos = make(tmp_path / "set", pictures)
    fetch(photos)
    (tmp_path / "set" / "dataset.yaml").write_text(text)
    with pytest.raises(DataError, match=r"dataset\.yaml"):
        photos.clips("test")


def test_files_of_two_scenes_are_told(tmp_path: Path, pictures: Path) -> None:
    photos = make(tmp_path / "set", pictures)
    fetch(photos)
    one, other = (tmp_path / "set" / "train" / f"000{k}.yaml" for k in range(2))
    other.write_bytes(one.read_bytes())
    clip = photos.clips("train")[1]
    with pytest.raises(DataError, match="files of two scenes are mixed"):
        clip.covariates_at(10)


def swap(one: Path, other: Path) -> None:
    held = one.rename(one.with_suffix(".held"))
    other.rename(one)
    held.rename(other)


@pytest.mark.parametrize(
    ("layout", "parts"),
    [
        ("streams", ("0000.dat", "0001.dat")),
        ("streams", ("0000_images", "0001_images")),
        ("streams", ("0000_images/00000001.png", "0000_images/00000003.png")),
        ("sreds", ("0000/00000001.dat", "0001/00000001.dat")),
        ("sreds", ("0000/00000002.png", "0001/00000002.png")),
    ],
)
def test_files_that_changed_places_are_not_scored(
    layout: str, parts: tuple[str, str], tmp_path: Path, pictures: Path
) -> None:
    photos = make(tmp_path / "set", pictures, layout=layout, light_scale=[0.4, 0.4])
    fetch(photos)
    digest(photos.clips("train"))
    swap(*(next((tmp_path / "set").rglob(f"train*/**/{part}")) for part in parts))
    with pytest.raises(DataError, match=r"simulation.yaml\): files of two scenes are mixed"):
        digest(photos.clips("train"))


def test_a_lost_image_of_an_interpolated_scene_is_told(tmp_path: Path, pictures: Path) -> None:
    photos = make(tmp_path / "set", pictures, images_per_scene=10)
    photos.style = SceneStyle(interpolated=1.0)
    fetch(photos)
    clip = photos.clips("test")[0]
    clip.images[50].unlink()
    (clip.images[50].parent / "00000001.png").write_bytes(b"another")
    with pytest.raises(DataError, match="does not hold the images that were simulated"):
        digest(photos.clips("test"))


def test_a_scene_of_an_older_version_has_no_sums(tmp_path: Path, pictures: Path) -> None:
    photos = make(tmp_path / "set", pictures)
    fetch(photos)
    before = digest(photos.clips("test"))
    card = tmp_path / "set" / "test" / "0000.simulation.yaml"
    content = yaml.safe_load(card.read_text())
    assert set(content.pop("sha256")) == {"readouts", "images"}
    card.write_text(yaml.safe_dump(content))
    assert digest(photos.clips("test")) == before
    card.write_text(yaml.safe_dump(content | {"sha256": ["x"]}))
    with pytest.raises(DataError, match="sha256 must state a sum of readouts"):
        digest(photos.clips("test"))


def test_one_picture_twice_is_refused(tmp_path: Path, pictures: Path) -> None:
    shutil.copy(pictures / "2.png", pictures / "again.png")
    with pytest.raises(InputError, match=r"2\.png and again\.png are the same picture"):
        fetch(make(tmp_path / "set", pictures))
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("layout", ["streams", "sreds"])
def test_a_scene_that_was_copied_in_part_is_told(
    layout: str, tmp_path: Path, pictures: Path
) -> None:
    photos = make(tmp_path / "set", pictures, layout=layout, light_scale=[0.5, 0.5])
    fetch(photos)
    (first, _), (third,) = photos.clips("train"), photos.clips("val")
    first.images[20].unlink()
    with pytest.raises(DataError, match="holds 3 of the 4 images that were made: copy it"):
        photos.clips("train")
    stream = third.files[-1]
    stream.write_bytes(stream.read_bytes()[: 5 * 24 * 32 // 8])
    with pytest.raises(DataError, match=r"holds \d+ of the 40 readouts that were made"):
        photos.clips("val")
    shutil.rmtree(tmp_path / "set" / ("train" if layout == "streams" else "spike/train"))
    with pytest.raises(DataError, match="holds 0 of the 2 scenes of train that were made"):
        photos.clips("train")
    with pytest.raises(DataError, match=r"that were made"):
        make_folds(photos, 2)


def test_a_picture_too_small_for_a_scene_is_named(tmp_path: Path, pictures: Path) -> None:
    write_image(pictures / "dot.png", fake_image(1, 56, 0))
    with pytest.raises(DataError, match=r"dot.png is 1 × 56 pixels: expected 8 a side at least"):
        fetch(make(tmp_path / "set", pictures))


def test_groups_are_a_set(tmp_path: Path, pictures: Path) -> None:
    for groups in (["more", "first"], ["first", "more", "first"]):
        assert make(tmp_path / "set", pictures, groups=groups).groups == ("first", "more")


def test_another_set_in_the_folder_is_not_overwritten(tmp_path: Path, pictures: Path) -> None:
    fetch(make(tmp_path / "set", pictures))
    with pytest.raises(DataError, match="differs in seed"):
        fetch(make(tmp_path / "set", pictures, seed=1))


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("layout", ["streams", "sreds"])
def test_a_seed_gives_the_same_bytes(tmp_path: Path, pictures: Path, layout: str) -> None:
    changes: dict[str, Any] = {"layout": layout, "light_scale": [0.4, 0.4]}
    changes["scenes"] = {"train": 1, "val": 1}
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        fetch(make(tmp_path / name, pictures, **changes, seed=seed))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert contents(tmp_path / "one") != contents(tmp_path / "three")


def test_both_layouts_hold_the_same_scenes(tmp_path: Path, pictures: Path) -> None:
    streams, sreds = (
        make(tmp_path / layout, pictures, layout=layout, light_scale=[0.4, 0.4])
        for layout in ("streams", "sreds")
    )
    for one in (streams, sreds):
        fetch(one)
    for split in SHARES:
        for plain, other in zip(streams.clips(split), sreds.clips(split), strict=True):
            assert plain.light_scale == other.light_scale == 0.4
            assert list(plain.images) == list(other.images) == [0, 10, 20, 30]
            with plain.open() as first, other.open() as second:
                assert np.array_equal(first[0:40], second[0:40])
            for key in plain.images:
                assert plain.images[key].read_bytes() == other.images[key].read_bytes()


def test_the_card_says_how_a_set_was_made(tmp_path: Path, pictures: Path) -> None:
    fetch(make(tmp_path / "set", pictures))
    card = read_card(tmp_path / "set" / "dataset.yaml")
    assert (card["version"], card["layout"]) == (2, "streams")
    assert (card["height"], card["width"]) == (24, 32)
    assert card["cameras"]["shot"] == {"weight": 1, "threshold": 255.0, "shot_noise": True}
    assert card["style"]["motion"] == [0.6, 122]


def test_a_set_whose_cards_state_everything_is_finished(tmp_path: Path, pictures: Path) -> None:
    photos = make(tmp_path / "set", pictures)
    fetch(photos)
    card, stated = tmp_path / "set" / "dataset.yaml", plain_values(photos._card())
    card.write_text(yaml.safe_dump(stated))  # as versions before wrote it
    files = contents(tmp_path / "set")
    fetch(photos)
    assert contents(tmp_path / "set") == files
    assert photos.scene("test", photos.clips("test")[0]) is not None


def test_scenes_take_their_speeds_in_turn(tmp_path: Path, pictures: Path) -> None:
    small = SMALL | {"root": str(tmp_path / "set"), "photographs": str(pictures)}
    still = build("data", "still", **small | {"scenes": {"test": 4}, "speeds": [0, 1.5]})
    fetch(still)
    clips = still.clips("test")
    assert [clip.name for clip in clips] == ["0000_0px", "0001_1.5px", "0002_0px", "0003_1.5px"]
    changes = []
    for clip in clips:
        first, *_, last = (read_grey(path) for path in clip.images.values())
        changes.append((first - last).abs().max())
    assert max(changes[::2]) < 0.01  # levels of 8 bits, rounded
    assert min(changes[1::2]) > 0.02
    with pytest.raises(ConfigError, match=r"speeds must be speeds from 0 up, .* found \[-1\]"):
        build("data", "still", **small | {"speeds": [-1]})


def test_the_synthetic_set_is_made_on_first_use_and_not_before(tmp_path: Path) -> None:
    small = SMALL | {"root": str(tmp_path / "set"), "readouts_per_image": 5}
    synthetic = build("data", "synthetic", **small)
    with pytest.raises(DataNotFoundError, match="when training or evaluation first asks for it"):
        synthetic.clips("test")
    synthetic.prepare()
    made = contents(tmp_path / "set")
    synthetic.prepare()
    assert contents(tmp_path / "set") == made
    clip = synthetic.clips("test")[0]
    assert clip.light_scale == 0.6
    assert (tmp_path / "set/spike/test/interp_5_alpha_0.60/0000/00000001.dat").is_file()


def test_wrong_arguments_name_their_key(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(ConfigError, match=r"light_scale must be a range .* found \[0.0, 1.0\]"):
        make(tmp_path, pictures, light_scale=[0.0, 1.0])
    with pytest.raises(ConfigError, match=r"layout=sreds has one light scale .* from 0.1 to 1.0"):
        make(tmp_path, pictures, layout="sreds")
    with pytest.raises(ConfigError, match="layout must be streams or sreds, found"):
        make(tmp_path, pictures, layout="other")
    with pytest.raises(ConfigError, match=r"height must be at least 1, found 0"):
        make(tmp_path, pictures, height=0)
    with pytest.raises(ConfigError, match="scenes may name train, val, test, found extra"):
        make(tmp_path, pictures, scenes={"extra": 1})
    with pytest.raises(ConfigError, match=r"groups must name at least one of first, .* found \[\]"):
        make(tmp_path, pictures, groups=[])


def test_without_apt_the_error_names_the_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match=r"apt-get.*--photographs FOLDER.*--photographs skimage"):
        fetch_photographs(tmp_path)


def test_pictures_come_out_of_their_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = {one: f"picture {number}".encode() for number, one in enumerate(catalogue()[:2])}
    listed = [
        replace(one, package="pictures", sha256=hashlib.sha256(content).hexdigest())
        for one, content in contents.items()
    ]
    files = {one.member: content for one, content in zip(listed, contents.values(), strict=True)}
    monkeypatch.setattr(
        catalogued, "catalogue", lambda groups: [one for one in listed if one.group in groups]
    )
    monkeypatch.setattr(
        catalogued, "download_debian", lambda name, folder: make_debian(folder / name, files)
    )
    told: list[str] = []
    kept = fetch_photographs(tmp_path / "sources", report=told.append)
    assert [path.read_bytes() for path in kept] == list(contents.values())
    assert sorted((tmp_path / "sources").iterdir()) == sorted(kept)
    assert told == ["downloading the pictures of pictures with apt"]
    assert fetch_photographs(tmp_path / "sources", report=told.append) == kept
    assert len(told) == 1  # those that are there are kept


def test_a_file_of_another_content_is_refused(tmp_path: Path) -> None:
    first = catalogue()[0]
    (tmp_path / first.name).write_bytes(b"something else")
    with pytest.raises(DataError, match="is not the file of that name"):
        photographs(tmp_path)


def test_every_photograph_states_its_licence_and_digest() -> None:
    listed = catalogue()
    assert len({one.sha256 for one in listed}) == len(listed) > 30
    assert all(one.licence and len(one.sha256) == 64 for one in listed)
    assert len({one.name for one in listed}) == len(listed)
    # Pictures that joined after the deal train only: what was tested on before still is.
    assert {one.split for one in listed} == {None, "train"}
    for group in GROUPS[1:]:
        assert {one.split for one in catalogue((group,))} == {"train"}


def test_the_first_group_does_not_change() -> None:
    digests = "".join(sorted(one.sha256 for one in catalogue(FIRST)))
    digest = hashlib.sha256(digests.encode()).hexdigest()
    assert digest.startswith("99cabf43f60c3c95")


def test_a_group_that_joins_trains_only_and_moves_no_other_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = tmp_path / "sources"
    listed: list[Photograph] = []
    for k, group in enumerate(["first"] * 6 + ["more"] * 2 + ["cutouts"]):
        split = None if group == "first" else "train"
        one = Photograph("pictures", f"{k}.png", "CC0", "", group=group, split=split)
        picture = fake_image(40, 56, k)
        if group == "cutouts":
            opacity = np.where(picture > 128, 255, 0).astype(np.uint8)
            picture = np.stack((picture, picture, picture, opacity), axis=-1)
        write_image(sources / one.name, picture)
        digest = hashlib.sha256((sources / one.name).read_bytes()).hexdigest()
        listed.append(replace(one, sha256=digest))
    monkeypatch.setattr(
        catalogued, "catalogue", lambda groups: [one for one in listed if one.group in groups]
    )
    cards = []
    for groups in (["first"], ["first", "more", "cutouts"]):
        root = tmp_path / "-".join(groups)
        fetch(make(root, tmp_path, photographs=None, sources=str(sources), groups=groups))
        cards.append(read_card(root / "dataset.yaml")["photographs"])
    first, every = cards
    assert (first["val"], first["test"]) == (every["val"], every["test"])
    assert every["train"][: len(first["train"])] == first["train"]
    joined = every["train"][len(first["train"]) :]
    assert [one["name"] for one in joined] == [f"pictures_{k}.png" for k in (6, 7, 8)]


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


def test_no_training_scene_of_a_live_set_is_written(tmp_path: Path, pictures: Path) -> None:
    live = make_live(tmp_path, pictures, scenes={"train": 3, "val": 1, "test": 1})
    fetch(live)
    assert read_card(tmp_path / "dataset.yaml")["scenes"] == {"val": 1, "test": 1}
    assert not (tmp_path / "train").exists()


def test_a_live_crop_is_a_part_of_its_scene(tmp_path: Path, pictures: Path) -> None:
    live = make_live(tmp_path, pictures)
    scene = live.recording([one.image for one in folder_images(pictures)], "train/3").scene
    assert isinstance(scene, RandomScene)
    place = (slice(3, 15), slice(7, 29))
    torch.testing.assert_close(scene.frames(0, 3, place=place), scene.frames(0, 3)[:, *place])


def test_live_windows_are_exact_in_the_middle(tmp_path: Path, pictures: Path) -> None:
    live = make_live(tmp_path, pictures)
    images = [one.image for one in folder_images(pictures)]
    exact = live.recording(images, "train/3").scene.frames(10, 11)
    live.style = replace(live.style, interpolated=1.0)
    for key in (10, 12):
        scene = live.recording(images, "train/3", key_readout=key).scene
        assert torch.equal(scene.frames(10, 11), exact) == (key == 10)


def test_live_sets_refuse_what_they_cannot_do(tmp_path: Path, pictures: Path) -> None:
    live = make_live(tmp_path / "live", pictures)
    fetch(live)
    with pytest.raises(ConfigError, match=r"samples_per_epoch must be stated"):
        live_module(live, samples_per_epoch=None).setup("fit")
    with pytest.raises(ConfigError, match=r"crop is 64 × 64, but scenes"):
        live.simulate([1], window=9, height=64, width=64, device=torch.device("cpu"))

"""Every data set of conf/data, found there, over a fake in its layout."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from spikerec import spikes
from spikerec.configs import build, config_names
from spikerec.data import Windows
from spikerec.data.clips import Clip, SpikeSet, digest
from spikerec.errors import ConfigError, DataError, DataNotFoundError, SpikerecError
from spikerec.spikes import Geometry
from tests.fakes import (
    FAKE_ARGUMENTS,
    FAKES,
    fake_image,
    fake_reds_base,
    fake_spikes,
    write_dat,
    write_image,
)


def fake(name: str, root: Path) -> SpikeSet:
    FAKES[name](root / name)
    spike_set: SpikeSet = build("data", name, root=str(root / name), **FAKE_ARGUMENTS.get(name, {}))
    return spike_set


@pytest.mark.parametrize("name", sorted(set(config_names("data")) & set(FAKES)))
def test_layout_gives_windows_in_every_split(name: str, tmp_path: Path) -> None:
    spike_set = fake(name, tmp_path)
    spike_set.prepare()
    assert spike_set.name == name
    for split in ("train", "val", "test"):
        windows = Windows(spike_set.clips(split), window=21, margin=0)
        keys = [windows.key(item) for item in range(len(windows))]
        assert len(set(keys)) == len(keys) > 0
        sample = windows[0]
        assert ("target" in sample) == spike_set.has_images()
        assert len(sample["bits"]) == 21


@pytest.mark.parametrize("name", sorted(FAKES))
def test_missing_folder_says_how_to_get_the_set(name: str, tmp_path: Path) -> None:
    spike_set: SpikeSet = build("data", name, root=str(tmp_path / "nowhere"))
    with pytest.raises(
        DataNotFoundError, match=r"root: there is no folder|root: .* does not exist"
    ):
        spike_set.prepare()


@pytest.mark.parametrize("name", sorted(FAKES))
def test_digest_follows_content_not_place(name: str, tmp_path: Path) -> None:
    here, there = fake(name, tmp_path / "a"), fake(name, tmp_path / "b")
    assert digest(here.clips("test")) == digest(there.clips("test"))
    file = there.clips("test")[0].files[0]
    if file.suffix == ".dat":
        file.write_bytes(bytes(file.stat().st_size))
        assert digest(here.clips("test")) != digest(there.clips("test"))


@pytest.mark.parametrize("name", sorted(set(config_names("data")) & set(FAKES)))
def test_companions_that_macos_writes_do_not_count(name: str, tmp_path: Path) -> None:
    spike_set = fake(name, tmp_path)
    before = [(clip.name, clip.files, dict(clip.images)) for clip in spike_set.clips("test")]
    for path in list((tmp_path / name).rglob("*")):
        path.with_name(f"._{path.name}").write_bytes(b"Mac OS X")
    (tmp_path / name / ".Trash").mkdir()
    (tmp_path / name / ".Trash" / "old.dat").write_bytes(b"")
    after = [(clip.name, clip.files, dict(clip.images)) for clip in spike_set.clips("test")]
    assert after == before


def test_clips_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        write_dat(tmp_path / "real" / f"f_{number}.dat", fake_spikes(60, 24, 40))
    spike_set: SpikeSet = build("data", "real", root=str(tmp_path / "real"), height=24, width=40)
    assert [clip.name for clip in spike_set.clips("test")] == ["f_1", "f_2", "f_10"]


def test_the_sidecar_of_a_real_stream_states_its_size(tmp_path: Path) -> None:
    spikes.save(tmp_path / "a.dat", fake_spikes(70, 8, 16), geometry=Geometry(8, 16))
    (clip,) = build("data", "real", root=str(tmp_path)).clips("test")
    assert clip.open().shape == (70, 8, 16)


def test_a_name_is_that_of_one_clip(tmp_path: Path) -> None:
    for suffix in ("dat", "npy"):
        spikes.save(tmp_path / "real" / "day" / f"a.{suffix}", fake_spikes(60, 24, 40))
    spike_set: SpikeSet = build("data", "real", root=str(tmp_path / "real"), height=24, width=40)
    with pytest.raises(DataError, match=r"two clips are named 'day/a': .*a\.dat and .*a\.npy"):
        Windows(spike_set.clips("test"), window=21, margin=0)


def test_a_held_out_end_shares_no_readout_with_the_beginning(tmp_path: Path) -> None:
    write_dat(tmp_path / "real" / "a.dat", fake_spikes(800, 8, 16))
    arguments = {"root": str(tmp_path / "real"), "height": 8, "width": 16, "key_stride": 10}
    spike_set: SpikeSet = build("data", "real", **arguments, held_out=0.3)
    (train,), (val,) = spike_set.clips("train"), spike_set.clips("val")
    assert max(train.key_readouts) < 800 * 0.7 - 99
    assert min(val.key_readouts) >= 800 * 0.7 + 100
    assert spike_set.clips("test") == [val]
    whole: SpikeSet = build("data", "real", **arguments)
    assert whole.clips("train") == whole.clips("val")


@pytest.mark.parametrize(("held_out", "split"), [(0.5, "val"), (0.95, "train")])
def test_a_stream_too_short_to_hold_out_a_part_is_refused(
    held_out: float, split: str, tmp_path: Path
) -> None:
    write_dat(tmp_path / "real" / "a.dat", fake_spikes(180, 8, 16))
    spike_set: SpikeSet = build(
        "data", "real", root=str(tmp_path / "real"), height=8, width=16, held_out=held_out
    )
    with pytest.raises(DataError, match=rf"180 readouts: no key readout is left for {split}"):
        spike_set.clips(split)
    with pytest.raises(ConfigError, match=r"held_out must be in \[0, 1\), found 1"):
        build("data", "real", root=str(tmp_path / "real"), held_out=1.0)


@pytest.mark.parametrize("value", [float("nan"), 0, -1, "text", 1.5])
def test_a_light_scale_that_cannot_be_is_refused(value: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"light_scale must be a "):
        Clip("a", (tmp_path / "a.dat",), value)


def test_reds_reports_files_without_partner(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spike_set = fake("reds", tmp_path)
    folder = tmp_path / "reds" / "test"
    next((folder / "gt").glob("200*")).unlink()
    next((folder / "spike").glob("201*")).unlink()
    with caplog.at_level(logging.WARNING):
        assert len(spike_set.clips("test")) == 1
    assert "200_part1_key_id41.dat has no image; it is skipped" in caplog.text
    assert "201_part1_key_id41.png has no stream; it is skipped" in caplog.text


def test_reds_key_readout_is_the_middle(tmp_path: Path) -> None:
    assert [list(clip.images) for clip in fake("reds", tmp_path).clips("test")] == [[40]] * 3


def reds_base(root: Path, folder: str) -> SpikeSet:
    """The fuller layout: 41 readouts with five true images beside 301 readouts with one."""
    fake_reds_base(root / "reds", folder=folder)
    reds: SpikeSet = build("data", "reds", root=str(root / "reds"), height=24, width=40)
    return reds


@pytest.mark.parametrize("folder", ["spike", "input"])
def test_reds_base_has_all_its_true_images(
    folder: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reds = reds_base(tmp_path, folder)
    with caplog.at_level(logging.WARNING):
        clips = {clip.name: clip for clip in reds.clips("test")}
    assert not caplog.records
    assert {name: list(clip.images) for name, clip in clips.items()} == {
        "000_part1_key_id21": [6, 13, 20, 27, 34],
        "001_part1_key_id21": [6, 13, 20, 27, 34],
        "200_part1_key_id151": [150],
    }
    for clip in clips.values():
        for readout, image in clip.images.items():
            assert image.stem == f"{clip.name.split('_key')[0]}_key_id{readout + 1}"
    windows = Windows(list(clips.values()), window=61, margin=0)
    assert [windows.key(item) for item in range(6)] == [
        *(f"000_part1_key_id21/{readout}" for readout in (6, 13, 20, 27, 34)),
        "001_part1_key_id21/6",
    ]
    assert [windows.mirrored(item) for item in (0, 2, 10)] == [24, 20, 0]
    assert windows[0]["target"].shape == (1, 24, 40)
    assert len(Windows(list(clips.values()), window=61, margin=30)) == 1


def test_reds_images_that_fit_no_stream_or_two_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reds = reds_base(tmp_path, "input")
    folder = tmp_path / "reds" / "test"
    write_image(folder / "gt" / "777_part1_key_id21.png", fake_image(24, 40))
    with caplog.at_level(logging.WARNING):
        assert len(reds.clips("test")) == 3
    assert "777_part1_key_id21.png has no stream; it is skipped" in caplog.text
    late = folder / "gt" / "000_part1_key_id42.png"
    write_image(late, fake_image(24, 40))
    with pytest.raises(DataError, match=r"key_id42\.png shows readout 41 .*holds 41 readouts"):
        reds.clips("test")
    late.unlink()
    twin = folder / "gt" / "000_part1_key_id07.png"
    write_image(twin, fake_image(24, 40))
    with pytest.raises(DataError, match="show one readout"):
        reds.clips("test")
    twin.unlink()
    write_dat(folder / "input" / "000_part1_key_id151.dat", fake_spikes(301, 24, 40))
    with pytest.raises(DataError, match=r"could belong to 000_part1_key_id21\.dat and 000_part1"):
        reds.clips("test")
    write_dat(folder / "spike" / "5.dat", fake_spikes(41, 24, 40))
    with pytest.raises(DataError, match="streams in spike and in input"):
        reds.clips("test")


def test_sreds_windows_are_those_of_the_paper(tmp_path: Path) -> None:
    # STIR evaluates images 2 .. F−2 (from 0), each one readout before 20·k, with 61 readouts.
    clips = fake("sreds", tmp_path).clips("val")
    windows = Windows(clips, window=61, margin=30)
    keys = [windows.key(item) for item in range(len(windows))]
    assert keys[:5] == [f"000/{20 * k - 1}" for k in range(2, 7)]
    assert len(keys) == 2 * 5


def test_sreds_size_that_contradicts_the_image_is_an_error(tmp_path: Path) -> None:
    spike_set = fake("sreds", tmp_path)
    file = spike_set.clips("val")[0].files[0]
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(SpikerecError, match=file.name):
        spike_set.clips("val")[0].open()

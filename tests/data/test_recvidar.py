"""recVidarReal2019: nine clips from a host, which here is one on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from spikerec.data import RecVidar, recvidar
from spikerec.data.clips import digest
from spikerec.errors import ConfigError, DataError, DataNotFoundError
from spikerec.fetch import FetchError
from tests.http_server import Host, cut_after, serve_files

NAMES = [name for names in recvidar.CLIPS.values() for name in names]
READOUT_BYTES = 250 * 400 // 8


def listing(parent: str) -> str:
    asked = {"dataset_name": recvidar.REPOSITORY, "parent_dir": parent, "page_size": 1000}
    return f"/api/v1/dataset/files?{urlencode(asked)}"


def file(place: str) -> str:
    asked = {"dataset_name": recvidar.REPOSITORY, "file_name": place, "parent_dir": ""}
    return f"/api/v1/dataset/file?{urlencode(asked)}"


def answer(*entries: tuple[str, int, bool]) -> bytes:
    files = [{"FileName": name, "Size": size, "IsDir": is_dir} for name, size, is_dir in entries]
    return json.dumps({"code": 0, "msg": "ok", "data": {"file_list": files}}).encode()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host that answers as the public client expects it, with clips of twelve readouts."""
    with serve_files() as served:
        monkeypatch.setattr(recvidar, "HOST", served.url)
        folders = [(folder, 0, True) for folder in recvidar.CLIPS]
        served.files[listing("")] = answer(*folders, ("config.yaml", 9, False))
        for folder, names in recvidar.CLIPS.items():
            clips = [(f"{name}.dat", 12 * READOUT_BYTES, False) for name in names]
            served.files[listing(folder)] = answer(*clips)
            for name in names:
                content = bytes([NAMES.index(name)]) * (12 * READOUT_BYTES)
                served.files[file(f"{folder}/{name}.dat")] = content
        yield served


def fetch(data: RecVidar) -> list[str]:
    lines: list[str] = []
    data.fetch(lines.append, lambda _done, _total: None)
    return lines


def small(root: Path) -> RecVidar:
    return RecVidar(root, key_readouts=(3, 8))


def test_fetching_lays_out_the_nine_clips_and_remembers_their_digests(
    tmp_path: Path, host: Host
) -> None:
    data = small(tmp_path / "set")
    lines = fetch(data)
    clips = data.clips("test")
    assert [clip.name for clip in clips] == NAMES
    assert [list(clip.key_readouts) for clip in clips] == [[3, 8]] * 9
    known = json.loads((data.root / recvidar.DIGESTS).read_text())
    assert set(known) == set(NAMES)
    assert any(known["forest"] in line and "12 readouts" in line for line in lines)
    assert "report them" in lines[-1]
    asked = len(host.asked)
    assert fetch(data) == []
    assert len(host.asked) == asked  # nothing was asked for again


def test_a_cut_clip_goes_on_where_it_stopped(tmp_path: Path, host: Host) -> None:
    place = file("classB/railway.dat")
    host.behaviours[place] = cut_after(1000)
    fetch(small(tmp_path))
    assert (place, "bytes=1000-") in host.asked
    assert (tmp_path / "classB/railway.dat").read_bytes() == host.files[place]


def test_a_host_that_is_away_is_one_line_with_the_way_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recvidar, "HOST", "http://127.0.0.1:9")
    with pytest.raises(FetchError, match=r"refused.*openi dataset download Cordium") as caught:
        fetch(small(tmp_path / "set"))
    assert "\n" not in str(caught.value)


def test_a_list_without_the_clips_is_refused_with_what_it_lists(tmp_path: Path, host: Host) -> None:
    host.files[listing("")] = answer(("recVidarReal2019.zip", 9, False))
    with pytest.raises(FetchError, match=r"does not list .*it lists recVidarReal2019\.zip"):
        fetch(small(tmp_path))
    host.files[listing("")] = b'{"code": 9004, "msg": "not found"}'
    with pytest.raises(FetchError, match=r"expected a list of files, found 'not found'"):
        fetch(small(tmp_path))


def test_a_clip_that_changed_since_is_refused(tmp_path: Path, host: Host) -> None:
    data = small(tmp_path)
    fetch(data)
    (tmp_path / "classA/ballon.dat").write_bytes(b"\1" * 12 * READOUT_BYTES)
    (tmp_path / "classA/rotation1.dat").unlink()
    with pytest.raises(DataError, match=r"ballon\.dat is not the file that was downloaded"):
        fetch(data)
    del host


def test_a_set_that_lacks_clips_says_which(tmp_path: Path) -> None:
    content = bytes(12 * READOUT_BYTES)
    (tmp_path / "own").mkdir()
    for name in NAMES[:-1]:
        (tmp_path / "own" / f"{name}.dat").write_bytes(content)
    with pytest.raises(DataNotFoundError, match=r"lacks 1 of the 9 clips: viaduct-bridge\. Run"):
        small(tmp_path).prepare()
    (tmp_path / "viaduct-bridge.dat").write_bytes(content)
    assert [clip.name for clip in small(tmp_path).clips("test")] == NAMES
    with pytest.raises(DataError, match="holds 12 readouts, and readout 1800"):
        RecVidar(tmp_path).clips("test")


def test_other_key_readouts_are_another_set(tmp_path: Path, host: Host) -> None:
    fetch(small(tmp_path))
    one, other = (RecVidar(tmp_path, keys).clips("test") for keys in ((3, 8), (3, 9)))
    assert digest(one) != digest(other)
    with pytest.raises(ConfigError, match="each later than the one before"):
        RecVidar(tmp_path, (8, 3))
    del host

"""Example data are fetched once, and a repeated command says so."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from spikerec.apps import data
from spikerec.data import samples
from spikerec.errors import DataError

CONTENT = {"test/gt/a.png": b"a picture", "test/spike/a.dat": b"a stream"}


@pytest.fixture(autouse=True)
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the packages that were downloaded: one that holds `CONTENT`."""
    names: list[str] = []

    def download(name: str, version: str, folder: Path, **_: str) -> Path:
        names.append(f"{name} {version}")
        return folder

    def member(package: Path, name: str) -> bytes:
        assert package.is_dir()
        return CONTENT[name.removeprefix(samples.REDS_FOLDER)]

    digests = {place: hashlib.sha256(content).hexdigest() for place, content in CONTENT.items()}
    monkeypatch.setattr(samples, "REDS_FILES", digests)
    monkeypatch.setattr(samples, "download_package", download)
    monkeypatch.setattr(samples, "read_member", member)
    return names


def test_repeated_fetch_says_done_before(
    tmp_path: Path, downloads: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fetch", "reds-samples", "--root", str(tmp_path / "reds")]
    data.main(words)
    assert not capsys.readouterr().out.startswith("done before")
    data.main(words)
    assert capsys.readouterr().out.startswith("done before, 1 streams with their images in ")
    assert len(downloads) == 1
    (tmp_path / "reds/test/gt/a.png").unlink()
    data.main(words)
    assert not capsys.readouterr().out.startswith("done before")
    assert (tmp_path / "reds/test/gt/a.png").read_bytes() == CONTENT["test/gt/a.png"]


def test_file_of_that_name_with_other_content_is_kept(tmp_path: Path, downloads: list[str]) -> None:
    path = tmp_path / "test/gt/a.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    with pytest.raises(DataError, match=r"a\.png is not the file of that name"):
        samples.fetch_reds_samples(tmp_path)
    assert path.read_bytes() == b"mine"
    assert not downloads

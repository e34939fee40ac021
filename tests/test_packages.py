import hashlib
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from spikerec import packages
from spikerec.fetch import FetchError
from spikerec.packages import download_package, read_debian, read_member


def make_wheel(folder: Path) -> Path:
    """A package that pip accepts: one data file, and the three files of metadata."""
    path = folder / "spikerecfake-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("spikerecfake/data.bin", b"content")
        info = "spikerecfake-1.0.dist-info"
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: spikerecfake\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder serves as the registry: no network is touched."""
    registry = tmp_path / "registry"
    registry.mkdir()
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(registry))
    return make_wheel(registry)


def test_package_arrives_whole_and_gives_its_member(wheel: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    path = download_package("spikerecfake", "1.0", tmp_path / "here", kind="wheel", sha256=digest)
    assert path.read_bytes() == wheel.read_bytes()
    assert list((tmp_path / "here").iterdir()) == [path]
    assert read_member(path, "spikerecfake/data.bin") == b"content"


def test_source_package_arrives_without_running_its_setup(wheel: Path, tmp_path: Path) -> None:
    source = wheel.with_name("spikerec-fake-2.0.tar.gz")
    setup = b"raise SystemExit('the set-up file was run')"
    with tarfile.open(source, "w:gz") as archive:
        for name, content in {"setup.py": setup, "data.bin": b"content"}.items():
            file = tarfile.TarInfo(f"spikerec-fake-2.0/{name}")
            file.size = len(content)
            archive.addfile(file, io.BytesIO(content))
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    path = download_package("spikerec-fake", "2.0", tmp_path, kind="sdist", sha256=digest)
    assert read_member(path, "spikerec-fake-2.0/data.bin") == b"content"


def test_package_of_another_digest_is_refused(wheel: Path, tmp_path: Path) -> None:
    del wheel
    with pytest.raises(FetchError, match="another digest"):
        download_package("spikerecfake", "1.0", tmp_path / "here", kind="wheel", sha256="0" * 64)
    assert not list((tmp_path / "here").iterdir())


def test_missing_package_names_the_way_out(wheel: Path, tmp_path: Path) -> None:
    del wheel
    with pytest.raises(FetchError, match=r"spikerecfake 2\.0 could not be fetched.*PIP_FIND_LINKS"):
        download_package("spikerecfake", "2.0", tmp_path, kind="wheel", sha256="0" * 64)


def test_member_of_a_tar_must_be_a_plain_file(tmp_path: Path) -> None:
    path = tmp_path / "package.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        directory = tarfile.TarInfo("package/folder")
        directory.type = tarfile.DIRTYPE
        archive.addfile(directory)
        file = tarfile.TarInfo("package/file")
        file.size = 2
        archive.addfile(file, io.BytesIO(b"ok"))
    assert read_member(path, "package/file") == b"ok"
    with pytest.raises(FetchError, match="not a plain file"):
        read_member(path, "package/folder")
    with pytest.raises(FetchError, match="does not hold package/other"):
        read_member(path, "package/other")


def test_damaged_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "package.tar.gz"
    path.write_bytes(b"not an archive")
    with pytest.raises(FetchError, match=r"package\.tar\.gz is damaged"):
        read_member(path, "anything")


def make_debian(path: Path, files: dict[str, bytes]) -> Path:
    """A package as Debian's tools write it: an ar archive of a version and two tar archives."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as packed:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    parts = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": data.getvalue()}
    content = b"!<arch>\n"
    for name, part in parts.items():
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(part):<10}`\n"
        content += header.encode() + part + b"\n" * (len(part) % 2)
    path.write_bytes(content)
    return path


def test_files_of_a_debian_package_are_read_without_its_tools(tmp_path: Path) -> None:
    files = {"usr/share/a.jpg": b"first", "usr/share/b.jpg": b"second", "usr/c": b"third"}
    path = make_debian(tmp_path / "pictures.deb", files)
    found = dict(read_debian(path, ["usr/share/b.jpg", "usr/share/a.jpg"]))
    assert found == {"usr/share/a.jpg": b"first", "usr/share/b.jpg": b"second"}
    with pytest.raises(FetchError, match=r"pictures\.deb does not hold usr/other"):
        list(read_debian(path, ["usr/other"]))


@pytest.mark.parametrize("content", [b"", b"!<arch>\n", b"PK", b"!<arch>\n" + b"?" * 60])
def test_debian_package_that_is_none_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pictures.deb"
    path.write_bytes(content)
    with pytest.raises(FetchError, match=r"pictures\.deb is (no Debian package|damaged)"):
        list(read_debian(path, ["a"]))


def test_cut_debian_package_is_named(tmp_path: Path) -> None:
    path = make_debian(tmp_path / "pictures.deb", {"a": bytes(5000), "b": bytes(range(256)) * 40})
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(FetchError, match=r"pictures\.deb is damaged"):
        list(read_debian(path, ["b"]))


def test_a_file_of_negative_size_does_not_read_for_ever(tmp_path: Path) -> None:
    header = f"{'odd':<16}{0:<12}{0:<6}{0:<6}{100644:<8}{-60:<10}`\n"
    (tmp_path / "a.deb").write_bytes(b"!<arch>\n" + header.encode())
    with pytest.raises(FetchError, match="has -60 bytes"):
        list(read_debian(tmp_path / "a.deb", ["a"]))


@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "device"])
def test_a_link_of_an_archive_is_not_followed(tmp_path: Path, kind: str) -> None:
    kinds = {"symbolic link": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE}
    with tarfile.open(tmp_path / "a.tar", "w") as packed:
        entry = tarfile.TarInfo("a")
        entry.type, entry.linkname = kinds.get(kind, tarfile.CHRTYPE), "a"
        packed.addfile(entry)
    with pytest.raises(FetchError, match="is not a plain file"):
        read_member(tmp_path / "a.tar", "a")


def test_a_package_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_debian(tmp_path / "a.deb", {"first": bytes(1000), "second": b""})
    monkeypatch.setattr(packages, "MOST_PASSED_BYTES", 999)
    with pytest.raises(FetchError, match="more than a package of its kind"):
        list(read_debian(tmp_path / "a.deb", ["second"]))
    with zipfile.ZipFile(tmp_path / "a.whl", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a", bytes(1000))
    monkeypatch.setattr(packages, "MOST_MEMBER_BYTES", 999)
    with pytest.raises(FetchError, match="larger than it may be"):
        read_member(tmp_path / "a.whl", "a")


def _described(kind: bytes, size: int, entry: tarfile.TarInfo) -> bytes:
    """A tar archive of an entry that is described before, in `size` bytes that say nothing."""
    head = tarfile.TarInfo("description")
    head.type, head.size = kind, size
    return head.tobuf() + bytes(size) + entry.tobuf() + bytes(2 * tarfile.BLOCKSIZE)


def _sized(size: int) -> bytes:
    entry = tarfile.TarInfo("a")
    entry.pax_headers = {"size": str(size)}
    return entry.tobuf(tarfile.PAX_FORMAT) + bytes(2 * tarfile.BLOCKSIZE)


@pytest.mark.parametrize(
    "archive",
    [
        *(_described(kind, 1 << 17, tarfile.TarInfo("a")) for kind in packages.DESCRIPTIONS),
        _described(tarfile.GNUTYPE_LONGNAME, tarfile.BLOCKSIZE, tarfile.TarInfo("a"))[:1024] * 5000,
        _sized(-5),
        _sized(-1536),
    ],
    ids=lambda archive: f"{len(archive)}",
)
def test_descriptions_in_a_tar_archive_are_bounded(tmp_path: Path, archive: bytes) -> None:
    path = tmp_path / "package.tar"
    path.write_bytes(archive)
    with pytest.raises(FetchError, match=r"package\.tar is damaged"):
        read_member(path, "a")
    debian = tmp_path / "pictures.deb"
    size = str(len(archive)).encode()
    head = b"data.tar".ljust(16) + b"0".ljust(12) + b"0".ljust(6) * 2 + b"100644".ljust(8)
    debian.write_bytes(packages.AR_MAGIC + head + size.ljust(10) + b"`\n" + archive)
    with pytest.raises(FetchError, match=r"pictures\.deb is damaged"):
        list(read_debian(debian, ["a"]))

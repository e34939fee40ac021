"""Photographs to make scenes from, out of Debian packages that carry them.

`photographs.yaml` lists them: package, file, licence, digest, and the group that they belong to. A
set names the groups that it is made of, so that a new group changes no set that exists. A package
is downloaded with the user's own apt; it is unpacked without being installed, and each picture is
checked before it is kept. On any other system a folder of one's own pictures serves in place of
them (`photographs` of the data set), or those that scikit-image brings (`sources: null`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

from spikerec.errors import DataNotFoundError
from spikerec.fetch import FetchError, is_fetched, write_atomically
from spikerec.packages import download_debian, read_debian
from spikerec.parsing import RUN_DOCUMENT, parse_yaml
from spikerec.simulation.images import SourceImage, source_image

#: Groups of pictures: those of the sets `photos_tiny` to `photos_large`, and later ones.
#: `cutouts` have a transparent part, and are shown as objects alone.
Group = Literal["first", "more", "cutouts"]
GROUPS: tuple[Group, ...] = get_args(Group)
FIRST: tuple[Group, ...] = ("first",)

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
        group: the group it belongs to.
        split: the only split in which it is used; None if it is dealt out with the others.
    """

    package: str
    member: str
    licence: str
    sha256: str
    group: Group = "first"
    split: str | None = None

    @property
    def name(self) -> str:
        """Its name in the folder: package and file, without slashes."""
        short = self.member.removeprefix("usr/share/").replace("/", "_")
        return f"{self.package}_{short}"


def catalogue(groups: Sequence[Group] = GROUPS) -> list[Photograph]:
    """The photographs of these groups, in the order of `photographs.yaml`."""
    return [
        Photograph(
            entry["package"],
            f"{entry['folder']}/{name}",
            group=group,
            split=entry.get("split"),
            **facts,
        )
        for entry in _entries()
        if (group := entry.get("group", "first")) in groups
        for name, facts in entry["files"].items()
    ]


def _entries() -> list[dict[str, Any]]:
    text = files("spikerec.data").joinpath("photographs.yaml").read_text(encoding="utf-8")
    entries: list[dict[str, Any]] = parse_yaml(text, "photographs.yaml", RUN_DOCUMENT)
    return entries


def fetch_photographs(
    folder: str | Path,
    *,
    groups: Sequence[Group] = FIRST,
    report: Callable[[str], None] | None = None,
) -> list[Path]:
    """Put the photographs of some groups into a folder; those that are there are kept.

    Args:
        folder: made if need be.
        groups: those to fetch.
        report: called with a line for each package that is downloaded.

    Returns:
        Their files, in the catalogue's order.

    Raises:
        FetchError: a package or picture cannot be had.
        DataError: a file of that name holds something else.
    """
    folder = Path(folder)
    listed = catalogue(groups)
    missing = [one for one in listed if not is_fetched(folder / one.name, one.sha256)]
    for package in dict.fromkeys(one.package for one in missing):
        wanted = {one.member: one for one in missing if one.package == package}
        if report is not None:
            report(f"downloading the pictures of {package} with apt")
        with TemporaryDirectory() as scratch:
            archive = _get(package, Path(scratch))
            for member, content in read_debian(archive, list(wanted)):
                _keep(wanted[member], content, folder)
    return [folder / one.name for one in listed]


def photographs(
    folder: str | Path, split: str | None = None, *, groups: Sequence[Group] = FIRST
) -> list[SourceImage]:
    """Photographs of some groups, read from the folder they were fetched to.

    Args:
        folder: where they are.
        split: those that are used in this split alone; None: those that are dealt out.
        groups: those to read.

    Raises:
        DataNotFoundError: one is missing.
        DataError: one is another file.
    """
    folder = Path(folder)
    listed = catalogue(groups)
    missing = [one.name for one in listed if not is_fetched(folder / one.name, one.sha256)]
    if missing:
        raise DataNotFoundError(
            f"{folder} lacks {len(missing)} of {len(listed)} photographs ({missing[0]}, …): run "
            "`spikerec data fetch NAME` for a set that is made of them."
        )
    return [
        source_image(folder / one.name, one.licence, is_cut_out=one.group == "cutouts")
        for one in listed
        if one.split == split
    ]


def _get(package: str, scratch: Path) -> Path:
    try:
        return download_debian(package, scratch)
    except FetchError as error:
        raise FetchError(f"{error} {OTHER_WAYS}") from error


def _keep(photograph: Photograph, content: bytes, folder: Path) -> None:
    if hashlib.sha256(content).hexdigest() != photograph.sha256:
        raise FetchError(
            f"{photograph.package} of this system does not hold the {photograph.member} that "
            f"spikerec knows (SHA-256 {photograph.sha256[:12]}…): it has changed. {OTHER_WAYS}"
        )
    write_atomically(folder / photograph.name, content)

"""Photographs to make scenes from, out of Debian packages that carry them.

`photographs.yaml` lists them: package, file, licence, digest. A package is downloaded with the
user's own apt and unpacked without being installed; each picture is checked before it is kept.
Where there is no apt, a folder of one's own pictures serves (`photographs` of the data set).
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from spikerec.errors import DataNotFoundError
from spikerec.fetch import FetchError, is_fetched, write_atomically
from spikerec.simulation.images import SourceImage, source_image


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
    text = files("spikerec.data").joinpath("photographs.yaml").read_text(encoding="utf-8")
    return [
        Photograph(entry["package"], f"{entry['folder']}/{name}", split=entry.get("split"), **facts)
        for entry in yaml.safe_load(text)
        for name, facts in entry["files"].items()
    ]


def fetch_photographs(
    folder: str | Path, *, report: Callable[[str], None] | None = None
) -> list[Path]:
    """Put the photographs of the catalogue into a folder; those that are there are kept.

    Args:
        folder: made if need be.
        report: called with a line for each package that is downloaded.

    Returns:
        Their files, in the catalogue's order.

    Raises:
        FetchError: no apt, or a package or picture cannot be had.
        DataError: a file of that name holds something else.
    """
    folder = Path(folder)
    missing = [one for one in catalogue() if not is_fetched(folder / one.name, one.sha256)]
    for package in dict.fromkeys(one.package for one in missing):
        if report is not None:
            report(f"downloading {package}")
        with TemporaryDirectory() as scratch:
            unpacked = _unpack(package, Path(scratch))
            for one in missing:
                if one.package == package:
                    _keep(one, unpacked / one.member, folder)
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


def _unpack(package: str, scratch: Path) -> Path:
    """Download a Debian package into `scratch` and unpack it there, without installing it."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise FetchError(
                f"{package} is fetched with {tool}, which this system does not have: name a folder "
                "of your own pictures instead (photographs=FOLDER of the data set)."
            )
    _run(["apt-get", "download", package], scratch, package)
    archives = sorted(scratch.glob("*.deb"))
    if not archives:
        raise FetchError(f"{package}: apt-get download left no .deb.")
    unpacked = scratch / "unpacked"
    _run(["dpkg-deb", "--extract", str(archives[0]), str(unpacked)], scratch, package)
    return unpacked


def _run(command: list[str], folder: Path, package: str) -> None:
    result = subprocess.run(  # noqa: S603 (our own arguments, no shell)
        command, cwd=folder, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        errors = [line for line in result.stderr.splitlines() if line.startswith("E:")]
        reason = errors[0].removeprefix("E: ") if errors else f"{command[0]} gave no reason"
        raise FetchError(
            f"{package} could not be fetched: {reason}. Run `apt-get update` first, check the "
            "network, or name a folder of your own pictures (photographs=FOLDER of the data set)."
        )


def _keep(photograph: Photograph, source: Path, folder: Path) -> None:
    content = source.read_bytes() if source.is_file() else b""
    if hashlib.sha256(content).hexdigest() != photograph.sha256:
        raise FetchError(
            f"{photograph.package} of this system does not hold the {photograph.member} that "
            f"spikerec knows (SHA-256 {photograph.sha256[:12]}…): it has changed. Name a folder of "
            "your own pictures (photographs=FOLDER of the data set)."
        )
    write_atomically(folder / photograph.name, content)

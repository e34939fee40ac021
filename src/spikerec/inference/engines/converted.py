"""Converted networks, kept for the next time: conversion takes seconds, reading them back a tenth.

`SPIKEREC_ENGINES` names the folder; else it is `~/.cache/spikerec/engines`. A network's folder
there is named by all that its conversion depends on: weights, arguments, size, the code of this
package, and the versions of PyTorch and the engine. Networks of other code are converted each time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

from spikerec.describing import describe
from spikerec.errors import ConfigError, SpikerecError
from spikerec.models.base import Network
from spikerec.parsing import SMALL_DOCUMENT, read_json
from spikerec.spikes.files import atomic_path
from spikerec.weights.checkpoint import digest

#: Bytes of converted networks that are kept; the least recently used go first.
MOST_BYTES = 2 << 30
#: File that states the digests of the others in its folder, so that damage is seen.
DIGESTS = "digests.json"

_log = logging.getLogger(__name__)


def engines_dir() -> Path:
    """The folder of converted networks; it need not exist yet."""
    return Path(os.environ.get("SPIKEREC_ENGINES") or Path.home() / ".cache/spikerec/engines")


@contextmanager
def converted(
    network: Network, engine: str, size: tuple[int, ...], write: Callable[[Path], None]
) -> Iterator[Path]:
    """Yield the folder of a converted network: the one that is kept, or one that is made now.

    Args:
        network: as published, on the CPU.
        engine: the package that reads the files; its version counts.
        size: of the windows.
        write: converts the network into a folder.
    """
    kept = _place(network, engine, size)
    if kept is not None and _is_whole(kept):
        with suppress(OSError):  # another user's
            os.utime(kept)
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="spikerec-") as name:
        folder = Path(name)
        _log.info("converting %s for %s, once for this size", type(network).__name__, engine)
        write(folder)
        if kept is not None:
            with suppress(OSError):  # no room, or no permission: then it is converted each time
                _keep(folder, kept)
        yield folder


def _place(network: Network, engine: str, size: tuple[int, ...]) -> Path | None:
    """The folder for a converted network; None if it cannot be distinguished from others."""
    return kept_at([network], (engine,), list(size))


def kept_at(
    networks: Sequence[Network], engines: Sequence[str], facts: object, folder: str = ""
) -> Path | None:
    """Return the path under which something about networks is kept.

    Its name is a digest of their weights, arguments and code, the versions of PyTorch and of the
    engines, and further facts.

    Args:
        networks: as published.
        engines: packages, installed or not.
        facts: plain values.
        folder: within that of converted networks; empty for itself.

    Returns:
        None if a network has code of its own, which is not known here, or if there is no home.
    """
    modules = (module for network in networks for module in network.modules())
    if any(not _is_ours_or_pytorch(type(module).__module__) for module in modules):
        return None
    try:
        described = [
            (describe(network, "network"), digest(network.state_dict())) for network in networks
        ]
        place = engines_dir() / folder
    except (ConfigError, RuntimeError):  # not described, or there is no home folder
        return None
    stated = [described, facts, _code(), *map(_version, ("torch", *engines))]
    return place / hashlib.sha256(json.dumps(stated).encode()).hexdigest()[:32]


def _version(package: str) -> str:
    with suppress(PackageNotFoundError):
        return f"{package} {version(package)}"
    return f"no {package}"


def _is_ours_or_pytorch(module: str) -> bool:
    return module.partition(".")[0] in ("spikerec", "torch")


@cache
def _code() -> str:
    """Digest of this package's code."""
    total = hashlib.sha256()
    for path in sorted(Path(str(files("spikerec"))).rglob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()


def _digests(folder: Path) -> dict[str, str]:
    """Digest of each file of a converted network, by its name."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.name != DIGESTS
    }


def _is_whole(folder: Path) -> bool:
    """True if the folder holds what was put there."""
    try:
        stated = read_json(folder / DIGESTS, SMALL_DOCUMENT)
        return bool(stated) and stated == _digests(folder)
    except (OSError, SpikerecError):
        return False


def _keep(folder: Path, kept: Path) -> None:
    """Copy a converted network to where the next process finds it, and make room for it.

    Raises:
        OSError: it cannot be written.
    """
    shutil.rmtree(kept, ignore_errors=True)  # what is damaged
    with atomic_path(kept) as temporary:
        shutil.copytree(folder, temporary)
        (temporary / DIGESTS).write_text(json.dumps(_digests(temporary)), encoding="utf-8")
    _make_room(kept.parent)


def _make_room(folder: Path) -> None:
    """Remove the least recently used converted networks beyond `MOST_BYTES`."""
    held = [
        (one.stat().st_mtime, sum(path.stat().st_size for path in one.iterdir()), one)
        for one in folder.iterdir()
        if (one / DIGESTS).is_file()
    ]
    total = 0
    for _, size, one in sorted(held, reverse=True):
        total += size
        if total > MOST_BYTES:
            shutil.rmtree(one, ignore_errors=True)

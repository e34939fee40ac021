"""Cards: small YAML files that say how simulated data were made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from spikerec.errors import DataError
from spikerec.parsing import Bounds, read_yaml
from spikerec.spikes.files import atomic_path

#: Bounds of a card, which may list the photographs of a set.
CARD_BOUNDS = Bounds(bytes=1 << 22, depth=12, nodes=100_000)
#: Images of a simulated clip, whose card states the motion at each; 10 s of a camera of 20 kHz.
MOST_IMAGES = 10_000
#: Readouts from one image of a simulated clip to the next.
MOST_READOUTS = 1_000_000
#: Bounds of the card of a clip, which is read before the clip's samples are.
CLIP_BOUNDS = Bounds(bytes=1 << 20, depth=12, nodes=MOST_IMAGES + 10_000)


def write_card(path: Path, content: Mapping[str, Any]) -> None:
    """Write a card; it appears whole or not at all, and replaces what was there."""
    with atomic_path(path) as temporary:
        text = yaml.safe_dump(plain_values(content), sort_keys=False, allow_unicode=True)
        temporary.write_text(text, encoding="utf-8")


def read_card(path: Path, bounds: Bounds = CARD_BOUNDS) -> dict[str, Any]:
    """Read a card.

    Raises:
        DataError: not a YAML mapping, or one beyond the bounds.
    """
    content = read_yaml(path, bounds)
    if not isinstance(content, dict):
        raise DataError(f"{path} must map keys to values, found a {type(content).__name__}.")
    return content


def is_card(path: Path, card: Mapping[str, Any]) -> bool:
    """True if the file holds exactly this card.

    Raises:
        DataError: another one is.
    """
    if not path.is_file():
        return False
    found = read_card(path)
    if found == card:
        return True
    differing = [key for key in card if found.get(key) != card[key]]
    raise DataError(
        f"{path} describes another set (it differs in {', '.join(differing)}): name "
        "another folder, or remove this one."
    )


def plain_values(value: Any) -> Any:  # noqa: ANN401  # any value that YAML has, at any depth
    """The value as YAML reads it back: lists for tuples, text for paths."""
    if isinstance(value, Mapping):
        return {str(key): plain_values(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(one) for one in value]
    return str(value) if isinstance(value, Path) else value

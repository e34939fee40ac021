"""Cards: small YAML files that say how simulated data were made.

Of scenes and cameras a card states what differs from the defaults of their classes alone, and cards
are compared so. An argument that a class gains later has a default by which it makes what was made
before, so that the sets of earlier versions, whose cards do not know it, stay the sets that they
are. A default that a class has once can therefore not be changed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from spikerec.errors import DataError
from spikerec.parsing import Bounds, read_yaml
from spikerec.simulation.camera import Camera
from spikerec.simulation.style import SceneStyle
from spikerec.spikes.files import atomic_path

#: Bounds of a card, which may list the photographs of a set.
CARD_BOUNDS = Bounds(bytes=1 << 22, depth=12, nodes=100_000)
#: Images of a simulated clip, whose card states the motion at each; 10 s of a camera of 20 kHz.
MOST_IMAGES = 10_000
#: Readouts from one image of a simulated clip to the next.
MOST_READOUTS = 1_000_000
#: Bounds of the card of a clip, which is read before the clip's samples are.
CLIP_BOUNDS = Bounds(bytes=1 << 20, depth=12, nodes=MOST_IMAGES + 10_000)
#: Key by which a configuration names the class of what it describes.
TARGET = "_target_"
#: Keys of a card that stand beside the arguments of a scene's style or of a camera.
BESIDE_ARGUMENTS = ("weight", TARGET)


def write_card(path: Path, content: Mapping[str, Any]) -> None:
    """Write a card; it appears whole or not at all, and replaces what was there.

    Raises:
        DataError: an argument that scenes or cameras do not have.
    """
    with atomic_path(path) as temporary:
        card = concise(content, path)
        text = yaml.safe_dump(card, sort_keys=False, allow_unicode=True)
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


def is_card(path: Path, card: Mapping[str, Any], *, but: Collection[str] = ()) -> bool:
    """True if the file holds this card; False where there is no file.

    Args:
        path: the file.
        card: the card.
        but: keys that may differ.

    Raises:
        DataError: it holds another one; the error names the keys that differ.
    """
    if not path.is_file():
        return False
    found, own = (
        {key: value for key, value in concise(one, path).items() if key not in but}
        for one in (read_card(path), card)
    )
    if differing := differences(found, own):
        raise DataError(
            f"{path} describes another set (it differs in {', '.join(differing)}): name "
            "another folder, or remove this one."
        )
    return True


def differences(found: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """The keys in which two cards differ, each as `concise` returns it, in order."""
    keys = dict.fromkeys([*own, *found])
    return [key for key in keys if found.get(key) != own.get(key)]


def concise(card: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return a card as plain values, without keys that have none and without defaults.

    Args:
        card: of a set or of a clip, of this version or an earlier one.
        path: its file, for the error.

    Returns:
        The card; of its style and its cameras the arguments that differ from the defaults.

    Raises:
        DataError: it states an argument that scenes or cameras do not have.
    """
    plain = {key: value for key, value in plain_values(card).items() if value is not None}
    for key, cls in (("style", SceneStyle), ("camera", Camera)):
        if key in plain:
            plain[key] = _differing(plain[key], cls, f"{path}: {key}")
    if isinstance(cameras := plain.get("cameras"), dict):
        plain["cameras"] = {
            name: _differing(choice, Camera, f"{path}: cameras.{name}")
            for name, choice in cameras.items()
        }
    if isinstance(source := plain.get("source"), dict) and "style" in source:
        style = _differing(source["style"], SceneStyle, f"{path}: source.style")
        plain["source"] = source | {"style": style}
    return plain


def _differing(stated: Any, cls: type, where: str) -> Any:  # noqa: ANN401  # whatever a card holds
    """The arguments of a class that a card states otherwise than by the class's default."""
    if not isinstance(stated, dict):
        return stated
    defaults = {one.name: plain_values(one.default) for one in fields(cls)}
    unknown = [key for key in stated if key not in defaults and key not in BESIDE_ARGUMENTS]
    if unknown and TARGET not in stated:  # which may be a class of the user's own
        raise DataError(
            f"{where} states {', '.join(unknown)}, which this version of spikerec does not know: "
            "the card was made by a newer one. Update spikerec, or name another folder."
        )
    return {
        key: value for key, value in stated.items() if key not in defaults or value != defaults[key]
    }


def plain_values(value: Any) -> Any:  # noqa: ANN401  # any value that YAML has, at any depth
    """The value as YAML reads it back: lists for tuples, text for paths."""
    if isinstance(value, Mapping):
        return {str(key): plain_values(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(one) for one in value]
    return str(value) if isinstance(value, Path) else value

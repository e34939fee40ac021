"""The values that options take: their kinds, and how each may be written."""

from __future__ import annotations

import re

from spikerec.configs import is_text_key
from spikerec.errors import ConfigError
from spikerec.options import Option

#: Keys of verbs that hold whole numbers, and numbers, also where they are null at first.
WHOLE = (
    *(
        "height",
        "width",
        "readout_width",
        "skip_bytes",
        "rotate",
        "start",
        "stop",
        "stride",
        "bits",
        "batch_size",
        "tile",
    ),
    *("tile_overlap", "devices", "seed", "images", "readouts_per_image", "repeats", "warmup"),
    *("rows", "per_board", "side", "save_images", "tfp_window"),
)

NUMBERS = ("rate_hz", "light_scale", "slow_motion", "fps", "gamma", "white", "megabytes", "warp")

#: Keys that are true or false, also where they are null at first.
BOOLEANS = ("bottom_up", "mask_defects")

#: Keys that hold a height and a width.
SIZES = ("size", "crop")

TRUE = ("true", "yes", "on")

FALSE = ("false", "no", "off")


def kinds_of(option: Option) -> set[str]:
    """The kinds of value that an option of a verb takes; none where anything may be meant."""
    last = option.key.rpartition(".")[2]
    if isinstance(option.default, bool) or last in BOOLEANS:
        return {"bool"}
    if last in SIZES:
        return {"size"}
    if last in WHOLE:
        return {"int"}
    return {"float"} if last in NUMBERS else set()


def annotated_kinds(annotation: str) -> set[str]:
    """The same of an argument's annotation: only where it names plain values alone."""
    names = set(re.findall(r"\w+", annotation)) - {"Optional", "Union", "None"}
    return names if names <= {"int", "float", "bool"} else names & {"int"} and {"whole"}


def written_value(key: str, value: str, kinds: set[str], *, sweeps: bool) -> str:
    """A value as Hydra should read it.

    Raises:
        ConfigError: text where a number or a truth is expected.
    """
    if is_text_key(key):
        return value
    if key.rpartition(".")[2] in SIZES and not sweeps:
        return _size(value)
    if value[:1] in "[{'\"" or re.match(r"\w+\(", value) or "${" in value:
        return value
    return ",".join(
        _one_value(key, one, kinds) for one in (value.split(",") if sweeps else [value])
    )


def _one_value(key: str, value: str, kinds: set[str]) -> str:
    lower = value.strip().lower()
    if not kinds or lower in ("", "null", "none", "???"):
        return "null" if lower == "none" and kinds else value
    if kinds == {"bool"}:
        if lower in (*TRUE, "1") or lower in (*FALSE, "0"):
            return "true" if lower in (*TRUE, "1") else "false"
        raise ConfigError(f"{key} must be true or false, found {value}.")
    try:
        number = float(lower)
    except ValueError:
        if "bool" in kinds or "whole" in kinds:
            return value
        kind = "a whole number" if kinds == {"int"} else "a number"
        raise ConfigError(f"{key} must be {kind}, found {value}.") from None
    is_whole = number.is_integer() and not re.fullmatch(r"[+-]?\d+", lower)
    if is_whole and kinds & {"int", "whole"} and "float" not in kinds:
        return str(int(number))
    if kinds == {"int"} and not number.is_integer():
        raise ConfigError(f"{key} must be a whole number, found {value}.")
    return value


def _size(value: str) -> str:
    """`64`, `250x400` or `250,400` as a list of height and width."""
    one = re.fullmatch(r"\s*(\d+)\s*", value)
    two = re.fullmatch(r"\s*(\d+)\s*[x×,*]\s*(\d+)\s*", value)
    if one:
        return f"[{one[1]},{one[1]}]"
    return f"[{two[1]},{two[2]}]" if two else value

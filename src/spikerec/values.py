"""The values that options take: their kinds, their choices and bounds, and how each is written."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence

from spikerec.errors import ConfigError
from spikerec.options import Option
from spikerec.overrides import is_text_key, unquoted

#: Keys of verbs that hold whole numbers, and numbers, also where they are null at first.
WHOLE = (
    *("height", "width", "readout_width", "skip_bytes", "rotate", "start", "stop", "stride"),
    *("bits", "batch_size", "tile", "tile_overlap", "devices", "seed", "images"),
    *("readouts_per_image", "repeats", "warmup", "rows", "per_board", "side", "save_images"),
    *("tfp_window",),
)
NUMBERS = (
    *("rate_hz", "light_scale", "slow_motion", "fps", "gamma", "white", "exposure", "megabytes"),
    *("warp",),
)

#: Keys that are true or false, also where they are null at first.
BOOLEANS = ("bottom_up", "mask_defects")

#: Keys that hold the name of one file, or of weights.
TEXTS = (
    *("calibration.dark", "calibration.flat", "calibration.moving"),
    *("checkpoint", "output", "start_from", "weights"),
)

#: Keys that hold a height and a width.
SIZES = ("size", "crop")

#: The words that some options take; a number besides, where one of these is in `NUMBERS`. The
#: classes that get them check them too: here the answer comes before seconds of imports.
CHOICES = {
    "ends": ("reflect", "drop"),
    "folder": ("parts", "recordings"),
    "tone.curve": ("linear", "reinhard", "log"),
    "exposure": ("light_scale", "auto"),
    "white_balance": ("gray_world",),
    "bits": ("8", "16"),
    "rotate": ("0", "90", "180", "270"),
    "flip": ("none", "horizontal", "vertical"),
    "bayer": ("rggb", "bggr", "grbg", "gbrg"),
    "geometry.bit_order": ("little", "big"),
    "geometry.layout": ("plain", "sps100"),
    "geometry.partial": ("refuse", "drop"),
    "interpolation": ("motion", "blend"),
    "data.augment": ("none", "flips", "dihedral"),
    "monitor.mode": ("min", "max"),
    "lr_scaling": ("none", "linear", "sqrt"),
    "engine": ("torch", "compile", "openvino", "onnxruntime", "auto"),
    "precision": ("auto", "float32", "bf16", "fp16", "int8"),
    "split": ("train", "val", "test"),
    "on_error": ("continue", "stop", "retry"),
}

#: Values that an option takes beside the words of `CHOICES`.
BESIDE = {"white_balance": "three gains as [red,green,blue]"}

#: Words that an option could be expected to take, and the reason why it does not.
NOT_OFFERED = {
    "engine": {
        "tensorrt": "it computes on NVIDIA's GPUs alone, and spikerec could not be tried with it "
        "on any. Set engine=compile there"
    }
}

#: The least that whole numbers may be.
LEAST = {
    **dict.fromkeys(("geometry.height", "geometry.width", "geometry.readout_width"), 1),
    **dict.fromkeys(("stride", "stop", "batch_size", "tile", "devices", "data.batch_size"), 1),
    **dict.fromkeys(("images", "readouts_per_image", "repeats", "rows", "images.side"), 1),
    **dict.fromkeys(("start", "tile_overlap", "geometry.skip_bytes", "warmup", "seed"), 0),
    "images.megabytes": 0,
}
#: Numbers that are above 0.
POSITIVE = ("rate_hz", "light_scale", "slow_motion", "fps", "tone.gamma", "tone.white", "exposure")

TRUE = ("true", "yes", "on")
FALSE = ("false", "no", "off")

#: Names that PyTorch has for kinds of devices.
DEVICES = ("cpu", "cuda", "mps", "xpu", "hpu", "auto")

#: The minus of typesetting, which editors and web pages put for a hyphen.
MINUS = str.maketrans("\N{MINUS SIGN}\N{EN DASH}", "--")


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


def takes_one(option: Option) -> bool:
    """True for an option whose value is one number, truth or word: no list, and no mapping."""
    last = option.key.rpartition(".")[2]
    is_chosen = option.key in CHOICES and option.key not in BESIDE
    is_text = option.key in TEXTS
    return is_text or last == "device" or is_chosen or bool(kinds_of(option) - {"size"})


def expected_value(option: Option) -> str:
    """The value that an option must have, for an error."""
    kinds, choices = kinds_of(option), CHOICES.get(option.key, ())
    if kinds == {"size"}:
        return "[height, width] in pixels"
    return _expected(kinds, choices) if kinds else _listed(choices or ("text",))


def annotated_kinds(annotation: str) -> set[str]:
    """The same of an argument's annotation: only where it names plain values alone."""
    names = set(re.findall(r"\w+", annotation)) - {"Optional", "Union", "None"}
    return names if names <= {"int", "float", "bool"} else names & {"int"} and {"whole"}


def written_value(key: str, value: str, kinds: set[str], *, sweeps: bool) -> str:
    """A value as Hydra should read it.

    Raises:
        ConfigError: text where a number or a truth is expected, or no text where some is.
    """
    is_text = is_text_key(key)
    if (is_text or key in TEXTS) and not unquoted(value).strip():
        raise ConfigError(f"{key}= has no value: name one, or leave {key} out.")
    if is_text:
        return value
    if key.rpartition(".")[2] in SIZES and not sweeps:
        return _size(key, value)
    if value[:1] in ("[", "{") and kinds and kinds <= {"bool", "int", "float"}:
        raise ConfigError(f"{key} must be {_expected(kinds, CHOICES.get(key, ()))}, found {value}.")
    if value[:1] in ("[", "{") or re.match(r"\w+\(", value) or "${" in value:
        return value
    parts = value.split(",") if sweeps else [value]
    return ",".join(_one_value(key, one, kinds) for one in parts)


def _one_value(key: str, value: str, kinds: set[str]) -> str:
    plain = unquoted(value.strip()).strip()
    lower = plain.lower()
    choices = CHOICES.get(key, ())
    if not kinds and not choices and key != "device":
        return value
    if lower in choices:
        return lower
    if lower in ("null", "none", "???"):
        return "null" if lower == "none" else lower
    if key == "device" or not kinds:
        return _chosen(key, plain, choices)
    if kinds == {"bool"}:
        return _truth(key, plain)
    try:
        number = float(lower.translate(MINUS))
    except ValueError:
        if kinds & {"bool", "whole"} and plain:
            return value
        raise ConfigError(
            f"{key} must be {_expected(kinds, choices)}, found {_shown(plain)}."
        ) from None
    return _number(key, number, lower.translate(MINUS), kinds)


def _chosen(key: str, value: str, choices: tuple[str, ...]) -> str:
    """A word that must be one of a few.

    Raises:
        ConfigError: it is not; the message names the nearest.
    """
    if key == "device":
        if value.lower().partition(":")[0] in DEVICES:
            return value.lower()
        raise ConfigError(f"device={value} is unknown: expected cpu, cuda or cuda:1.")
    check_offered(key, value)
    near = difflib.get_close_matches(value.lower(), choices, 1)
    meant = f"did you mean {near[0]}? Expected" if near else "expected"
    found = f"{key}={value}" if value else f"{key}= without a value"
    expected = _listed([*choices, BESIDE[key]] if key in BESIDE else choices)
    raise ConfigError(f"{found} is unknown: {meant} {expected}.")


def check_offered(key: str, value: str) -> None:
    """Refuse a word of `NOT_OFFERED`.

    Raises:
        ConfigError: it is one; the message says why it is not offered.
    """
    reason = NOT_OFFERED.get(key, {}).get(value.lower())
    if reason is not None:
        raise ConfigError(f"{key}={value} is not offered: {reason}.")


def _truth(key: str, value: str) -> str:
    lower = value.lower()
    if lower in (*TRUE, "1"):
        return "true"
    if lower in (*FALSE, "0"):
        return "false"
    raise ConfigError(f"{key} must be true or false, found {_shown(value)}.")


def _number(key: str, number: float, text: str, kinds: set[str]) -> str:
    """A number as Hydra should read it, within the bounds of its option.

    Raises:
        ConfigError: it is not whole, or out of them.
    """
    choices = CHOICES.get(key, ())
    if choices and kinds == {"int"}:
        if number.is_integer() and str(int(number)) in choices:
            return str(int(number))
        raise ConfigError(f"{key} must be {_listed(choices)}, found {text}.")
    if kinds == {"int"} and not number.is_integer():
        raise ConfigError(f"{key} must be a whole number, found {text}.")
    if key in LEAST and number < LEAST[key]:
        raise ConfigError(f"{key} must be at least {LEAST[key]}, found {text}.")
    if key in POSITIVE and not 0 < number < math.inf:
        raise ConfigError(f"{key} must be a number above 0, found {text}.")
    is_whole = number.is_integer() and not re.fullmatch(r"[+-]?\d+", text)
    return (
        str(int(number)) if is_whole and kinds & {"int", "whole"} and "float" not in kinds else text
    )


def _expected(kinds: set[str], choices: tuple[str, ...]) -> str:
    if kinds == {"bool"}:
        return "true or false"
    kind = "a whole number" if kinds == {"int"} else "a number"
    return _listed([*choices, kind]) if choices and kinds != {"int"} else kind


def _listed(words: Sequence[str]) -> str:
    return " or ".join([*([", ".join(words[:-1])] if words[1:] else []), words[-1]])


def _shown(value: str) -> str:
    return value or "nothing"


def _size(key: str, value: str) -> str:
    """`64`, `250x400`, `250,400` or `(250, 400)` as a list of height and width.

    Raises:
        ConfigError: other text.
    """
    plain = unquoted(value.strip())
    if plain.lower() in ("null", "none", "???") or "${" in plain or re.match(r"\w+\(", plain):
        return "null" if plain.lower() == "none" else plain
    inside = plain[1:-1] if plain[:1] + plain[-1:] in ("[]", "()") else plain
    sides = re.fullmatch(r"\s*(\d+)\s*(?:[x×,*\s]\s*(\d+))?\s*", inside, re.ASCII | re.IGNORECASE)
    if sides is None or 0 in map(int, filter(None, sides.groups())):
        raise ConfigError(f"{key} must be [height, width] in pixels, found {_shown(plain)}.")
    return f"[{int(sides[1])},{int(sides[2] or sides[1])}]"

"""The options that `conf/` offers to a verb, and the words by which people ask for them.

An option is a key of `conf/VERB.yaml` or of a part that it names; the comment behind the key is the
option's help. `words_of` turns what was typed (`car.dat car.mp4 --height 250 rate_hz=2e4`) into the
words that Hydra composes (`input='car.dat' … geometry.height=250`), and refuses with a suggestion
what names no option. It imports neither PyTorch nor Lightning, so that the answer comes at once.
"""

from __future__ import annotations

import difflib
import re
import textwrap
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from spikerec.configs import (
    compose_verb,
    config_dir,
    config_names,
    is_text_key,
    quoted,
    renamed_key,
    split_at_commas,
    text_words,
    unquoted,
)
from spikerec.errors import ConfigError, DataNotFoundError
from spikerec.parsing import parse_yaml
from spikerec.signatures import class_arguments

#: Columns of a help text.
COLUMNS = 80

#: Hydra's own options: those that stand alone, and those that take a value.
FLAGS = (
    "-m",
    "--multirun",
    "--run",
    "-r",
    "--resolve",
    "--hydra-help",
    "-sc",
    "--shell-completion",
)
VALUED = (
    *("--cfg", "-c", "--package", "-p", "--config-dir", "-cd", "--config-name", "-cn"),
    *("--config-path", "-cp", "--info", "-i", "--experimental-rerun"),
)
#: Those by which configuration of the user's own is added: its choices and keys are not known here.
OWN = ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp")

#: Arguments that are known by their place: the last is what is written.
PLACES = {
    "reconstruct": ("input", "output"),
    "simulate": ("input", "output"),
    "export": ("output",),
    "leaderboard": ("results",),
}

#: Keys that name a file or folder which is read.
FILES = ("input", "checkpoint", "start_from", "calibration.dark", "calibration.flat")

#: Other names of options, with the value that they stand for where they take none.
ALIASES = {"method": ("model", None), "top_down": ("geometry.bottom_up", "false")}

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

#: Keys of a configuration that belong to every verb.
COMMON = ("hydra", "paths", "name", "run")


@dataclass(frozen=True)
class Option:
    """A key of a verb's configuration.

    Attributes:
        key: dotted path.
        default: plain value.
        help: the comment behind the key; empty if there is none.
    """

    key: str
    default: Any
    help: str


@dataclass
class Offer:
    """Options of a verb.

    Attributes:
        verb: the verb, or the part of a configuration.
        about: the comments at the top of its file.
        groups: default choice of each group of `conf/`.
        options: by key, in the order of the file.
    """

    verb: str
    about: list[str] = field(default_factory=list)
    groups: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Option] = field(default_factory=dict)

    @property
    def tops(self) -> set[str]:
        """First words of the keys that a command may name."""
        groups = {re.split(r"[/@]", group)[0] for group in self.groups}
        return {key.split(".")[0] for key in self.options} | groups | set(COMMON)

    def named(self, name: str) -> str | None:
        """The key of a name: itself, or the one key whose last word it is."""
        if name in self.options or name in self.groups:
            return name
        ends = [key for key in self.options if key.rpartition(".")[2] == name]
        return ends[0] if len(ends) == 1 else None


@cache
def offer(verb: str) -> Offer:
    """The options of `conf/VERB.yaml` and of the parts that it names."""
    path = config_dir() / f"{verb}.yaml"
    text = path.read_text(encoding="utf-8")
    content = parse_yaml(text, path)
    package = re.match(r"# @package (\S+)", text)
    prefix = "" if package is None or package[1] == "_global_" else f"{package[1]}."
    lines = text.splitlines()
    about = [line[2:] for line in lines if line.startswith("# ") and "@package" not in line]
    found = Offer(verb, about)
    parts = []
    for entry in content.pop("defaults", []):
        if isinstance(entry, str):
            parts += [offer(entry)] if entry != "_self_" else []
        else:
            ((name, choice),) = entry.items()
            if not name.startswith("override "):
                found.groups[name.removeprefix("optional ")] = choice
    comments = _comments(lines)
    for key, value in _flat(content):
        if not key.endswith("_target_"):
            found.options[prefix + key] = Option(prefix + key, value, comments.get(key, ""))
    for part in parts:
        found.groups = part.groups | found.groups
        found.options |= part.options
    for group in list(found.groups):  # `trainer:` in a verb's file changes a choice: no option
        for key in [key for key in found.options if key.split(".")[0] == group]:
            if group in content:
                del found.options[key]
    return found


def _flat(content: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    """Dotted keys and values in order, a mapping before what it holds."""
    for name, value in content.items():
        if isinstance(value, Mapping) and value:
            yield f"{above}{name}", value
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _comments(lines: Sequence[str]) -> dict[str, str]:
    """The comment behind each key, with the lines that continue it."""
    found: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in lines:
        if key := re.match(r"( *)(\w+):(?: +([^#]*?))?(?:\s+# ?(.*))?$", line):
            depth = len(key[1])
            path = [(one, name) for one, name in path if one < depth] + [(depth, key[2])]
            found[".".join(name for _, name in path)] = key[4] or ""
        elif path and (more := re.match(r" +# ?(.*)$", line)):
            dotted = ".".join(name for _, name in path)
            found[dotted] = f"{found[dotted]} {more[1]}".strip()
    return found


def help_text(verb: str, summary: str) -> str:
    """The help of a verb: its choices and options, each with the comment of its YAML."""
    offered = offer(verb)
    places = " ".join(name.upper() for name in PLACES.get(verb, ()))
    first = f"usage: spikerec {verb} {places} [option=value | --option value …]"
    lines = [f"spikerec {verb}: {summary}", "", " ".join(first.split()), ""]
    lines += [f"  {line}" for about in offered.about for line in textwrap.wrap(about, COLUMNS - 2)]
    groups = {name: one for name, one in offered.groups.items() if name not in ("paths", "hydra")}
    if groups:
        lines += ["", "choices"]
    for group, default in groups.items():
        shown = ", ".join(map(str, default)) if isinstance(default, list) else default
        told = "no default" if default == "???" else f"default: {shown or 'none'}"
        names = ", ".join(config_names(group))
        lines += _entry(group, f"{names} ({told})")
    lines += ["", "options"]
    for option in offered.options.values():
        if isinstance(option.default, Mapping):
            if option.help:
                lines += _entry(option.key, option.help)
            continue
        default = "" if option.default is None else f"[{_written(option.default)}]"
        lines += _entry(option.key, f"{option.help} {default}".strip())
    lines += ["", "every verb"]
    lines += _entry("-m", "go through all combinations of values: model=tfp,tfi")
    lines += _entry("--cfg job --resolve", "print what would run, with the choices' own options")
    lines += _entry("--config-dir FOLDER", "add configuration of your own: it is code")
    return "\n".join([*lines, ""])


def _written(value: Any) -> str:  # noqa: ANN401 (any YAML value)
    text = yaml.safe_dump(value, default_flow_style=True, width=1000).strip()
    return text.removesuffix("\n...").removesuffix("...").strip()


def _entry(name: str, text: str) -> list[str]:
    wide = 22
    lines = textwrap.wrap(text, COLUMNS - wide - 2, break_on_hyphens=False) or [""]
    head = f"  {name:<{wide - 2}}"
    if len(head) > wide or not head.endswith(" "):
        return [head.rstrip(), *(" " * wide + line for line in lines)]
    return [f"{head}{lines[0]}".rstrip(), *(" " * wide + line for line in lines[1:])]


def suggestion(name: str, known: Iterable[str]) -> str:
    """`: did you mean X?` for the known names nearest to one, or an empty text."""
    known = list(dict.fromkeys(known))
    lasts = {one: one.rpartition(".")[2] for one in known}
    last = name.rpartition(".")[2]
    near = [one for one in known if lasts[one] == last]
    near += difflib.get_close_matches(name, known, 2, _likeness(name))
    close = difflib.get_close_matches(last, sorted(set(lasts.values())), 2, _likeness(last))
    near += [one for one in known if lasts[one] in close]
    beside = [one for one in near if one.rpartition(".")[0] == name.rpartition(".")[0] != ""]
    near = list(dict.fromkeys(beside or near))[:3]
    return f": did you mean {' or '.join(near)}?" if near else ""


def _likeness(name: str) -> float:
    """Share of letters that a suggestion has in common: one slip in a short name weighs more."""
    return 0.6 if len(name) < 6 else 0.7


def words_of(
    verb: str, arguments: Sequence[str], expand: Callable[[str], Sequence[str]] | None = None
) -> list[str]:
    """The words of a command as Hydra reads them.

    Args:
        verb: with a `conf/VERB.yaml`.
        arguments: what follows it, as typed.
        expand: the inputs that a name stands for, of which a sweep makes a job each; None to leave
            names as they are.

    Raises:
        ConfigError: a word that names no option, or a value that cannot be one of its option; the
            message names the nearest that could.
    """
    offered = offer(verb)
    sweeps = not {"-m", "--multirun"}.isdisjoint(arguments)
    is_own = any(word.partition("=")[0] in OWN or "searchpath" in word for word in arguments)
    flags, words, placed = _sorted_out(offered, arguments)
    words = [_completed(offered, word) for word in words]
    by_place = _by_place(offered, placed, {_key(word) for word in words})
    if not sweeps and "--cfg" not in flags:
        _check_files([f"{name}={text}" for name, texts in by_place.items() for text in texts])
        _check_files(words)
    words += [_listed(name, texts, sweeps=sweeps) for name, texts in by_place.items()]
    if sweeps and expand is not None:
        words = [_swept(word, expand) if _key(word) == "input" else word for word in words]
    if not is_own:
        _check_choices(words, sweeps=sweeps)
        words = _checked(offered, words, sweeps=sweeps)
    return [*flags, *text_words(words, sweeps=sweeps)]


def _check_files(words: Sequence[str]) -> None:
    """Check that the files which a command reads are there, before seconds of imports.

    Raises:
        DataNotFoundError: one is not.
    """
    for word in words:
        key, _, value = word.partition("=")
        is_grammar = value[:1] in ("[", "{", "'", '"', "") or "${" in value
        is_word = value in ("null", "shipped", "???")
        is_pattern = re.search(r"[*?\[]", value) is not None
        if key in FILES and not (is_grammar or is_word or is_pattern or _is_there(value)):
            raise DataNotFoundError(f"{key}={value} is not there: check the path.")


def _sorted_out(offered: Offer, arguments: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Hydra's options, `key=value` words, and arguments that are known by their place."""
    flags: list[str] = []
    words: list[str] = []
    placed: list[str] = []
    left = deque(arguments)
    while left:
        word = left.popleft()
        name = word.partition("=")[0]
        if word == "--":
            placed += left
            break
        if word in FLAGS or (name in VALUED and "=" in word):
            flags.append(word)
        elif word in VALUED:
            if not left:
                raise ConfigError(f"{word} needs a value.")
            flags += [word, left.popleft()]
        elif word.startswith("-") and len(word) > 1 and not _is_there(word):
            words.append(_long(offered, word, left))
        elif _is_assignment(offered, word):
            words.append(word)
        else:
            placed.append(word)
    return flags, words, placed


def _is_there(word: str) -> bool:
    try:
        return Path(word).exists()
    except (OSError, ValueError):
        return False


def _is_assignment(offered: Offer, word: str) -> bool:
    """True for `key=value`; False for a path, which may hold an equals sign too."""
    key, equals, _ = word.partition("=")
    bare = key.lstrip("+~")
    if not re.fullmatch(r"[A-Za-z_][\w./@-]*", bare, re.ASCII):
        return False
    if not equals:
        return word.startswith("~") and not _is_there(word)
    if re.split(r"[./@]", bare)[0] in offered.tops or offered.named(bare):
        return True
    is_path = offered.verb in PLACES and (_is_there(word) or "/" in key)
    return not is_path and not _has_suffix(offered, word)


def _has_suffix(offered: Offer, word: str) -> bool:
    """True for a word that ends as the files do which a verb takes by their place."""
    is_known = Path(word).suffix.lower() in PATH_SUFFIXES
    return offered.verb in PLACES and is_known and not suggestion(_key(word), offered.options)


#: Ends of names of files that are given by their place.
PATH_SUFFIXES = (
    *(".dat", ".npy", ".npz", ".h5", ".hdf5", ".mp4", ".webm", ".gif", ".png", ".avi", ".mov"),
    *(".jpg", ".jpeg", ".pt2", ".onnx"),
)


def _long(offered: Offer, word: str, left: deque[str]) -> str:
    """`--height 250`, `--height=250`, `--overwrite` or `--no-optimise` as `key=value`."""
    name, equals, value = word.lstrip("-").partition("=")
    name = name.replace("-", "_")
    is_long = word.startswith("--")
    key, stands_for = ALIASES.get(name, (name, None)) if is_long else (name, None)
    found = offered.named(key) if is_long else None
    if found is None and is_long and name.startswith("no_"):
        found, stands_for = offered.named(name[3:]), "false"
    if found is None and is_long and key.split(".")[0] in offered.tops and "." in key:
        found = key
    if found is None:
        near = suggestion(key, [*offered.options, *offered.groups, *ALIASES])
        shown = re.sub(r"[\w.]+(?= or |\?)", lambda one: "--" + one[0].replace("_", "-"), near)
        raise ConfigError(f"{word} is no option of spikerec {offered.verb}{shown or _see(offered)}")
    if equals:
        return f"{found}={value}"
    if stands_for is not None:
        return f"{found}={stands_for}"
    option = offered.options.get(found)
    is_flag = option is not None and "bool" in _kinds(option)
    if is_flag and (not left or left[0].lower() not in (*TRUE, *FALSE)):
        return f"{found}=true"
    if not left or (left[0].startswith("--") and not _is_there(left[0])):
        raise ConfigError(f"{word} needs a value: {word} VALUE, or {found}=VALUE.")
    return f"{found}={left.popleft()}"


def _see(offered: Offer) -> str:
    return f": spikerec {offered.verb} --help lists them."


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+~")


def _by_place(offered: Offer, placed: list[str], stated: Collection[str]) -> dict[str, list[str]]:
    """The arguments that are known by their place, by the keys that they are of."""
    if not placed:
        return {}
    free = [name for name in PLACES.get(offered.verb, ()) if name not in stated]
    if not free:
        raise ConfigError(f"{placed[0]} is no option=value{_meant(offered, placed[0])}")
    values = {}
    if len(free) == 2 and len(placed) > 1:
        values[free[1]] = [placed.pop()]
    elif free == ["output"] and len(placed) > 1:
        raise ConfigError(f"{placed[1]} is one too many: expected output={placed[0]} alone.")
    values[free[0]] = placed
    return values


def _listed(key: str, texts: Sequence[str], *, sweeps: bool) -> str:
    """A word of one text or a list of texts; of texts to go through in a sweep."""
    parts = ",".join(map(quoted, texts))
    return f"{key}={parts}" if sweeps or len(texts) == 1 else f"{key}=[{parts}]"


def _swept(word: str, expand: Callable[[str], Sequence[str]]) -> str:
    """An input of a sweep with the names in it replaced by what they stand for."""
    key, _, value = word.partition("=")
    names = [value] if _is_there(value) else map(unquoted, split_at_commas(value))
    return f"{key}={','.join(quoted(one) for name in names for one in expand(name))}"


def _meant(offered: Offer, word: str) -> str:
    """The end of an error about a word that is no option."""
    groups = [group for group in offered.groups if word in config_names(group)]
    if groups:
        return f": did you mean {groups[0]}={word}?"
    if offered.named(word):
        return f": expected {offered.named(word)}=VALUE."
    everything = {f"{group}={name}" for group in offered.groups for name in config_names(group)} | {
        f"{key}=VALUE" for key in (*offered.options, *offered.groups)
    }
    near = difflib.get_close_matches(word, [one.partition("=")[2] for one in everything], 1, 0.75)
    near += difflib.get_close_matches(f"{word}=VALUE", everything, 1, 0.75)
    full = sorted(one for one in everything if near and one.endswith(near[0]))
    return f": did you mean {full[0]}?" if full else _see(offered)


def _completed(offered: Offer, word: str) -> str:
    """The word with the whole key of an option that it names by its last word."""
    key, equals, value = word.partition("=")
    bare = key.lstrip("+~")
    if bare in ALIASES and bare not in offered.options:
        whole, stands_for = ALIASES[bare]
        if stands_for is not None:
            value = stands_for if value.lower() in TRUE else "true"
        return f"{whole}{equals}{value}"
    if not equals or "." in bare or "@" in bare:
        return word
    named = offered.named(bare)
    return f"{key[: len(key) - len(bare)]}{named}={value}" if named else word


def _check_choices(words: Sequence[str], *, sweeps: bool) -> None:
    """Check that each choice of a group is one of `conf/`."""
    for word in words:
        key, equals, value = word.partition("=")
        group = key.lstrip("+~").partition("@")[0]
        if not equals or not (config_dir() / group).is_dir() or "${" in value:
            continue
        is_call = sweeps and re.match(r"\w+\(", value)
        chosen = [] if is_call else re.split(r",", value.strip("[]"))
        for name in (one.strip().strip("'\"") for one in chosen):
            name = name.removesuffix(".yaml")
            if name and name != "null" and not group.startswith("hydra"):
                check_choice(group, name)


def check_choice(group: str, name: str) -> None:
    """Check that a group of `conf/` has a choice of that name.

    Raises:
        ConfigError: it has none; the message names the nearest, and those there are.
    """
    names = config_names(group)
    if name not in names:
        near = suggestion(name, names)
        raise ConfigError(
            f"{group}={name} is unknown{near + ' Expected' if near else ': expected'} one of "
            f"{', '.join(names)}."
        )


def _checked(offered: Offer, words: Sequence[str], *, sweeps: bool) -> list[str]:
    """The words with their keys and values checked, against the composed choices where need be."""
    deep = [word for word in words if not _is_own(offered, _key(word))]
    composed = _composed(offered, words) if deep else {}
    checked = []
    for word in words:
        key, equals, value = word.partition("=")
        prefix, bare = key[: len(key) - len(_key(word))], _key(word)
        if bare in offered.options and equals:
            option = offered.options[bare]
            value = _value(bare, value, _kinds(option), sweeps=sweeps)
        elif word in deep and "~" not in prefix:
            prefix, kinds = _place(offered, composed, bare, prefix)
            value = _value(bare, value, kinds, sweeps=sweeps)
        checked.append(f"{prefix}{bare}{equals}{value}")
    return checked


def _is_own(offered: Offer, key: str) -> bool:
    """True for an option of the verb itself, a choice of a group, and what is Hydra's."""
    is_group = "@" in key or "/" in key or key in offered.groups
    return is_group or key in offered.options or key.split(".")[0] in ("hydra", *COMMON)


def _composed(offered: Offer, words: Sequence[str]) -> dict[str, Any]:
    """The verb's configuration as the command's choices make it."""
    choices = []
    for word in words:
        key, equals, value = word.partition("=")
        bare = key.lstrip("+~")
        if equals and bare in offered.groups and "(" not in value:
            is_list = value.startswith("[")
            choices.append(word if is_list else f"{key}={split_at_commas(value)[0]}")
    chosen = {_key(word) for word in choices}
    for group, default in offered.groups.items():
        if default == "???" and group not in chosen:  # any does, to know the other keys
            choices.append(f"{group}={config_names(group)[0]}")
    return compose_verb(offered.verb, choices)


def _place(
    offered: Offer, composed: Mapping[str, Any], key: str, prefix: str
) -> tuple[str, set[str]]:
    """The prefix that Hydra needs to set a key, and the kinds of value that it takes.

    Raises:
        ConfigError: no such key, nor an argument of the class whose key it would be.
    """
    if renamed := renamed_key(key):
        raise ConfigError(renamed)
    node: Any = composed
    parts = key.split(".")
    for depth, part in enumerate(parts):
        if isinstance(node, list) and part.isdecimal():
            return prefix, set()
        if not isinstance(node, Mapping):
            return prefix, set()
        target = node.get("_target_")
        arguments = class_arguments(target) if isinstance(target, str) else None
        if part in node:
            last = depth == len(parts) - 1
            if last and arguments and part in arguments:
                return prefix, _annotated(arguments[part])
            node = node[part]
            continue
        if arguments is not None and part in arguments:
            kinds = _annotated(arguments[part]) if depth == len(parts) - 1 else set()
            return prefix or "+", kinds
        if (prefix and arguments is None) or (arguments is None and target is not None):
            return prefix, set()
        above = ".".join(parts[:depth])
        known = [key for key, value in _flat(composed) if not key.endswith("_target_")]
        known += [f"{above}.{name}" for name in arguments or ()]
        near = suggestion(key, known)
        if not near and above:
            here = [name for name in node if name != "_target_"]
            near = f": expected one of {', '.join(dict.fromkeys([*here, *(arguments or ())]))}."
        raise ConfigError(f"{key} is no option of spikerec {offered.verb}{near or _see(offered)}")
    return prefix, set()


def _kinds(option: Option) -> set[str]:
    """The kinds of value that an option of a verb takes; none where anything may be meant."""
    last = option.key.rpartition(".")[2]
    if isinstance(option.default, bool) or last in BOOLEANS:
        return {"bool"}
    if last in SIZES:
        return {"size"}
    if last in WHOLE:
        return {"int"}
    return {"float"} if last in NUMBERS else set()


def _annotated(annotation: str) -> set[str]:
    """The same of an argument's annotation: only where it names plain values alone."""
    names = set(re.findall(r"\w+", annotation)) - {"Optional", "Union", "None"}
    return names if names <= {"int", "float", "bool"} else names & {"int"} and {"whole"}


def _value(key: str, value: str, kinds: set[str], *, sweeps: bool) -> str:
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

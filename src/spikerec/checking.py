"""Checks of a command's words before Hydra composes them, each with what is meant.

Hydra would report a wrong word after seconds of imports, in many lines, or in the words of its own
grammar. Here each is refused in one: a file that is not there, a choice of no group, a key that no
option and no chosen class has, and a value that cannot be one of its key.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spikerec.configs import compose_verb, config_dir, config_names, renamed_key
from spikerec.errors import ConfigError, DataNotFoundError
from spikerec.options import COMMON, Offer, Option, check_choice, flat
from spikerec.overrides import key_of, split_at_commas
from spikerec.signatures import class_arguments
from spikerec.spelling import suggestion
from spikerec.values import annotated_kinds, kinds_of, written_value

#: The values that some of Hydra's own options may have.
_SHOWN = ("job", "hydra", "all")
_ASKED = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
INFORMATION = {"--cfg": _SHOWN, "-c": _SHOWN, "--info": _ASKED, "-i": _ASKED}

#: Keys that name a file or folder which is read.
FILES = (
    *("input", "checkpoint", "start_from"),
    *("calibration.dark", "calibration.flat", "calibration.moving"),
)

#: Groups of which one run takes several choices, and verb and group of methods side by side.
JOINED = ("data", "metric", "logger", "callbacks")
SIDE_BY_SIDE = ("reconstruct", "model")


def check_flags(flags: Sequence[str]) -> None:
    """Check the values of Hydra's own options, about which Hydra prints many lines.

    Raises:
        ConfigError: one that is none of its choices.
        DataNotFoundError: a folder of configuration that is not there.
    """
    for flag, value in itertools.pairwise([*flags, ""]):
        name, equals, inside = flag.partition("=")
        given = inside if equals else value
        if name in INFORMATION and given not in INFORMATION[name]:
            near = difflib.get_close_matches(given, INFORMATION[name], 1)
            meant = f"did you mean {near[0]}? Expected" if near else "expected"
            raise ConfigError(f"{name} {given}: {meant} one of {', '.join(INFORMATION[name])}.")
        if name in ("--config-dir", "-cd", "--config-path", "-cp") and not Path(given).is_dir():
            raise DataNotFoundError(f"{name} {given}: no such folder. Check the path.")


def check_outputs(by_place: Mapping[str, Sequence[str]], words: Sequence[str]) -> None:
    """Refuse `-`, by which other programs mean the standard output.

    Raises:
        ConfigError: an output is called so.
    """
    if "-" in by_place.get("output", ()) or "output=-" in words:
        raise ConfigError(
            "output=- would be the standard output, to which spikerec writes no result: name a "
            "file. (A folder of that name is ./-.)"
        )


def check_files(words: Sequence[str]) -> None:
    """Check that the files which a command reads are there, before seconds of imports.

    Raises:
        DataNotFoundError: one is not.
    """
    for word in words:
        key, _, value = word.partition("=")
        is_grammar = value[:1] in ("[", "{", "'", '"', "") or "${" in value
        # start_from takes names of weights, too, which only the catalogue knows
        is_word = value in ("null", "???") or (key == "start_from" and value.isidentifier())
        is_pattern = re.search(r"[*?\[]", value) is not None
        if key in FILES and not (is_grammar or is_word or is_pattern) and _is_missing(value):
            raise DataNotFoundError(f"{key}={value} does not exist: check the path.")


def _is_missing(name: str) -> bool:
    """True for a file that is not there; False also where this user may not look."""
    try:
        return not Path(name).exists()
    except PermissionError:  # whoever opens it says so
        return False
    except (OSError, ValueError):
        return True


def check_no_null(words: Sequence[str]) -> None:
    """Refuse null in place of a choice of a group, which Hydra takes for no name.

    Raises:
        ConfigError: a group, one of Hydra's own included, is set to null, or to a list with it.
    """
    for word in words:
        key, _, value = word.partition("=")
        group = key_of(word).partition("@")[0]
        is_group = group.startswith("hydra/") or (config_dir() / group).is_dir()
        if is_group and "null" in (one.strip() for one in value.strip("[]").split(",")):
            names = config_names(group)
            expected = f"expected one of {', '.join(names)}" if names else "expected a name"
            raise ConfigError(
                f"{word}: null is no choice of {group}: {expected}. Leave {key}=… out for the "
                "default."
            )


def check_paths(words: Sequence[str]) -> None:
    """Refuse what is no path for a folder that Hydra makes before a verb can look.

    Raises:
        ConfigError: `run` or one of `paths` has no value, or null, a list or a mapping.
    """
    for word in words:
        key, equals, value = key_of(word), "=" in word, word.partition("=")[2]
        is_none = value in ("", "null") or value[:1] in ("[", "{")
        if equals and is_none and (key == "run" or key.startswith("paths.")):
            raise ConfigError(f"{key} must be a path, found {value or 'nothing'}.")


def check_choices(verb: str, words: Sequence[str], *, sweeps: bool) -> None:
    """Check that each choice of a group is one of `conf/`, and without a sweep the only one.

    Raises:
        ConfigError: one is not.
    """
    for word in words:
        key, equals, value = word.partition("=")
        group = key.lstrip("+~").partition("@")[0]
        if not equals or not (config_dir() / group).is_dir() or "${" in value:
            continue
        is_call = sweeps and re.match(r"\w+\(", value)
        chosen = [] if is_call else re.split(r",", value.strip("[]"))
        if chosen[1:] and not sweeps and value[:1] not in ("[", "'", '"'):
            raise _are_several(word, joins=group in JOINED or (verb, group) == SIDE_BY_SIDE)
        for name in (one.strip().strip("'\"") for one in chosen):
            name = name.removesuffix(".yaml")
            if value == "" and not group.startswith("hydra"):
                raise ConfigError(
                    f"{group}= has no value: expected one of {', '.join(config_names(group))}."
                )
            if name and not group.startswith("hydra"):
                check_choice(group, name)


def _are_several(word: str, *, joins: bool) -> ConfigError:
    """The error of several choices of a group without a sweep; `joins` if one run takes several."""
    key, _, value = word.partition("=")
    joined = f", or write '{key}=[{value}]' for one run of them all" if joins else ", or name one"
    return ConfigError(f"{word} names several choices: add -m to run each in turn{joined}.")


def checked_words(offered: Offer, words: Sequence[str], *, sweeps: bool) -> list[str]:
    """The words with their keys and values checked, against the composed choices where need be."""
    deep = [word for word in words if not _is_own(offered, key_of(word))]
    composed = _composed(offered, words) if deep else {}
    checked = []
    for word in words:
        key, equals, value = word.partition("=")
        prefix, bare = key[: len(key) - len(key_of(word))], key_of(word)
        if bare in offered.options and equals:
            option = offered.options[bare]
            _check_part(offered, option, value)
            value = written_value(bare, value, kinds_of(option), sweeps=sweeps)
        elif word in deep and "~" not in prefix:
            prefix, kinds = _place(offered, composed, bare, prefix)
            _check_no_list(composed, bare, value)
            value = written_value(bare, value, kinds, sweeps=sweeps)
        checked.append(f"{prefix}{bare}{equals}{value}")
    return checked


def _check_part(offered: Offer, option: Option, value: str) -> None:
    """Refuse one value for an option that is made of several: `tone=reinhard`.

    Raises:
        ConfigError: there is one; the message names the parts.
    """
    if not isinstance(option.default, Mapping) or value[:1] in ("{", "") or "${" in value:
        return
    if value.lower() in ("null", "none"):
        return
    parts = [key for key in offered.options if key.startswith(f"{option.key}.")]
    if parts:
        raise ConfigError(
            f"{option.key}={value}: {option.key} is made of {', '.join(parts)}. Set one of these, "
            f"as {parts[0]}=VALUE."
        )


def _check_no_list(composed: Mapping[str, Any], key: str, value: str) -> None:
    """Refuse a list where the choices have named parts: `protocol.metrics=[psnr]`.

    Raises:
        ConfigError: there is one; the message names the parts.
    """
    node: Any = composed
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    if isinstance(node, Mapping) and value.startswith("["):
        parts = [f"{key}.{name}" for name in node if name != "_target_"]
        names = f" of {', '.join(parts)}" if parts else " of parts by name"
        told = f" Leave one out by ~{parts[0]}." if parts[1:] else ""
        raise ConfigError(f"{key}={value}: {key} is no list, it is made{names}.{told}")


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
        is_added = key != bare and bare != "hydra" and (config_dir() / bare).is_dir()  # +sweep=
        if equals and (bare in offered.groups or is_added) and "(" not in value:
            is_list = value.startswith("[")
            choices.append(word if is_list else f"{key}={split_at_commas(value)[0]}")
    chosen = {key_of(word) for word in choices}
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
        if isinstance(node, int | float):
            above = ".".join(parts[:depth])
            raise ConfigError(f"{key} is no option: {above} is one value, as in {above}={node}.")
        if node is None and depth:  # `budget.seconds=5` where `budget` is null
            return prefix or "+", set()
        if not isinstance(node, Mapping):
            return prefix, set()
        target = node.get("_target_")
        arguments = class_arguments(target) if isinstance(target, str) else None
        if part in node:
            last = depth == len(parts) - 1
            if last and arguments and part in arguments:
                return prefix, annotated_kinds(arguments[part])
            node = node[part]
            continue
        if arguments is not None and part in arguments:
            kinds = annotated_kinds(arguments[part]) if depth == len(parts) - 1 else set()
            return prefix or "+", kinds
        if (prefix and arguments is None) or (arguments is None and target is not None):
            return prefix, set()
        above = ".".join(parts[:depth])
        known = [key for key, value in flat(composed) if not key.endswith("_target_")]
        known += [f"{above}.{name}" for name in arguments or ()]
        near = suggestion(key, known)
        if not near and above:
            here = [name for name in node if name != "_target_"]
            near = f": expected one of {', '.join(dict.fromkeys([*here, *(arguments or ())]))}."
        raise ConfigError(
            f"{key} is no option of spikerec {offered.verb}{near or offered.see_help}"
        )
    return prefix, set()

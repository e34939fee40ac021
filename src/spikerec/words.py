"""The words of a command as people type them, and as Hydra composes them.

`words_of` turns `car.dat car.mp4 --height 250 rate_hz=2e4` into `input='car.dat' …
geometry.height=250`, and refuses with a suggestion what names no option. It imports neither PyTorch
nor Lightning, so that the answer comes at once.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from spikerec.configs import compose_verb, config_dir, config_names, renamed_key
from spikerec.errors import ConfigError, DataNotFoundError
from spikerec.options import COMMON, PLACES, Offer, Option, check_choice, flat, offer
from spikerec.overrides import quoted, split_at_commas, text_words, unquoted
from spikerec.signatures import class_arguments
from spikerec.spelling import suggestion
from spikerec.values import FALSE, TRUE, annotated_kinds, kinds_of, written_value

#: Hydra's own options: those without a value, and those that take one.
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

#: The values that some of them may have.
_SHOWN = ("job", "hydra", "all")
_ASKED = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
INFORMATION = {"--cfg": _SHOWN, "-c": _SHOWN, "--info": _ASKED, "-i": _ASKED}

#: Keys that name a file or folder which is read.
FILES = (
    *("input", "checkpoint", "start_from"),
    *("calibration.dark", "calibration.flat", "calibration.moving"),
)

#: Other names of options, with their value where they take none.
ALIASES = {"method": ("model", None), "top_down": ("geometry.bottom_up", "false")}

#: Suffixes of files that may be stated without a key.
PATH_SUFFIXES = (
    *(
        ".dat",
        ".raw",
        ".bin",
        ".mat",
        ".npy",
        ".npz",
        ".h5",
        ".hdf5",
        ".mp4",
        ".webm",
        ".gif",
        ".png",
        ".avi",
        ".mov",
    ),
    *(".jpg", ".jpeg", ".pt2", ".onnx"),
)


def words_of(
    verb: str,
    arguments: Sequence[str],
    expand: Callable[[str, str | None], Sequence[str]] | None = None,
) -> list[str]:
    """The words of a command as Hydra reads them.

    Args:
        verb: with a `conf/VERB.yaml`.
        arguments: what follows it, as typed.
        expand: the inputs that a name refers to, under a value of `folder`; a sweep makes one
            job of each; None to leave names as they are.

    Raises:
        ConfigError: a word that names no option, or a value that cannot be one of its option; the
            message names the nearest that could.
    """
    offered = offer(verb)
    sweeps = not {"-m", "--multirun"}.isdisjoint(arguments)
    is_own = any(word.partition("=")[0] in OWN or "searchpath" in word for word in arguments)
    flags, words, placed = _sorted_out(offered, arguments)
    words = [one for word in words for one in _pair(_completed(offered, word))]
    by_place = _by_place(offered, placed, {_key(word) for word in words})
    _check_flags(flags)
    _check_outputs(by_place, words)
    if not sweeps and "--cfg" not in flags:
        _check_files([f"{name}={text}" for name, texts in by_place.items() for text in texts])
        _check_files(words)
    words += [_listed(name, texts, sweeps=sweeps) for name, texts in by_place.items()]
    if sweeps and expand is not None:
        values = {_key(word): word.partition("=")[2] for word in words}
        folder = None if (kind := values.get("folder")) == "null" else kind
        words = [_swept(word, expand, folder) if _key(word) == "input" else word for word in words]
    _check_no_null(words)
    _check_paths(words)
    if not is_own:
        _check_choices(words, sweeps=sweeps)
        words = _checked(offered, words, sweeps=sweeps)
    return [*flags, *text_words(words, sweeps=sweeps)]


def _check_flags(flags: Sequence[str]) -> None:
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


def _check_outputs(by_place: Mapping[str, Sequence[str]], words: Sequence[str]) -> None:
    """Refuse `-`, by which other programs mean the standard output.

    Raises:
        ConfigError: an output is called so.
    """
    if "-" in by_place.get("output", ()) or "output=-" in words:
        raise ConfigError(
            "output=- would be the standard output, to which spikerec writes no result: name a "
            "file. (A folder of that name is ./-.)"
        )


def _check_files(words: Sequence[str]) -> None:
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


def _sorted_out(offered: Offer, arguments: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Hydra's options, `key=value` words, and arguments that are known by their place."""
    flags: list[str] = []
    words: list[str] = []
    placed: list[str] = []
    left = deque(arguments)
    while left:
        word = _retyped(offered, left.popleft())
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


def _retyped(offered: Offer, word: str) -> str:
    """The word with signs that editors put in place of others: `–-height`, `height＝250`.

    Raises:
        ConfigError: a colon in place of the equals sign, which might be a path.
    """
    if _is_there(word):
        return word
    if dashes := re.match(r"[-\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}]+(?=[^\W\d])", word):
        return word if set(dashes[0]) == {"-"} else f"--{word[dashes.end() :]}"
    wide = re.match(r"(\w[\w.]*)\N{FULLWIDTH EQUALS SIGN}", word)
    if wide and offered.named(wide[1]):
        return f"{wide[1]}={word[wide.end() :]}"
    colon = re.match(r"(\w[\w.]*): *(.*)", word)
    if colon and offered.named(colon[1]):
        raise ConfigError(f"{word} is no option=value: did you mean {colon[1]}={colon[2]}?")
    return word


def _is_there(word: str) -> bool:
    try:
        return Path(word).exists()
    except (OSError, ValueError):
        return False


def _is_missing(name: str) -> bool:
    """True for a file that is not there; False also where this user may not look."""
    try:
        return not Path(name).exists()
    except PermissionError:  # whoever opens it says so
        return False
    except (OSError, ValueError):
        return True


def _is_assignment(offered: Offer, word: str) -> bool:
    """True for `key=value`; False for a path, which may hold an equals sign too."""
    key, equals, _ = word.partition("=")
    bare = key.lstrip("+~")
    if not re.fullmatch(r"[A-Za-z_][\w./@-]*", bare, re.ASCII):
        return False
    if not equals:
        return word.startswith("~") and not (_is_there(word) or _has_suffix(offered, word))
    if re.split(r"[./@]", bare)[0] in offered.tops or offered.named(bare):
        return True
    is_path = offered.verb in PLACES and (_is_there(word) or "/" in key)
    return not is_path and not _has_suffix(offered, word)


def _has_suffix(offered: Offer, word: str) -> bool:
    """True for a word that ends as the files do which a verb takes by their place."""
    is_known = Path(word).suffix.lower() in PATH_SUFFIXES
    return offered.verb in PLACES and is_known and not suggestion(_key(word), offered.options)


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
    is_flag = option is not None and "bool" in kinds_of(option)
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
    _check_placed(offered, placed)
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


def _check_placed(offered: Offer, placed: Sequence[str]) -> None:
    """Refuse a word without value that is an option's name: `height 250`.

    Raises:
        ConfigError: there is one; the message gives the spelling.
    """
    for index, word in enumerate(placed):
        named = offered.named(word)
        if named is None or word in PLACES.get(offered.verb, ()) or _is_there(word):
            continue
        value = next(iter(placed[index + 1 :]), "VALUE").removeprefix("=") or "VALUE"
        raise ConfigError(
            f"{word} is an option: did you mean {named}={value}? (A file or folder of that name is "
            f"./{word}.)"
        )


def _listed(key: str, texts: Sequence[str], *, sweeps: bool) -> str:
    """A word of one text or a list of texts; of texts to go through in a sweep."""
    parts = ",".join(map(quoted, texts))
    return f"{key}={parts}" if sweeps or len(texts) == 1 else f"{key}=[{parts}]"


def _swept(
    word: str, expand: Callable[[str, str | None], Sequence[str]], folder: str | None
) -> str:
    """An input of a sweep with the names in it replaced by the recordings they refer to."""
    key, _, value = word.partition("=")
    names = [value] if _is_there(value) else map(unquoted, split_at_commas(value))
    return f"{key}={','.join(quoted(one) for name in names for one in expand(name, folder))}"


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


def _pair(word: str) -> list[str]:
    """`geometry=250x400` or `geometry=[250,400]` as height and width; any other word as it is."""
    key, _, value = word.partition("=")
    pair = re.fullmatch(r"[\[(]?\s*(\d+)\s*[x×,*]\s*(\d+)\s*[\])]?", value, re.ASCII)
    if key != "geometry" or pair is None:
        return [word]
    return [f"geometry.height={pair[1]}", f"geometry.width={pair[2]}"]


def _check_no_null(words: Sequence[str]) -> None:
    """Refuse null in place of a choice of a group, which Hydra takes for no name.

    Raises:
        ConfigError: a group, one of Hydra's own included, is set to null, or to a list with it.
    """
    for word in words:
        key, _, value = word.partition("=")
        group = _key(word).partition("@")[0]
        is_group = group.startswith("hydra/") or (config_dir() / group).is_dir()
        if is_group and "null" in (one.strip() for one in value.strip("[]").split(",")):
            names = config_names(group)
            expected = f"expected one of {', '.join(names)}" if names else "expected a name"
            raise ConfigError(
                f"{word}: null is no choice of {group}: {expected}. Leave {key}=… out for the "
                "default."
            )


def _check_paths(words: Sequence[str]) -> None:
    """Refuse what is no path for a folder that Hydra makes before a verb can look.

    Raises:
        ConfigError: `run` or one of `paths` has no value, or null, a list or a mapping.
    """
    for word in words:
        key, equals, value = _key(word), "=" in word, word.partition("=")[2]
        is_none = value in ("", "null") or value[:1] in ("[", "{")
        if equals and is_none and (key == "run" or key.startswith("paths.")):
            raise ConfigError(f"{key} must be a path, found {value or 'nothing'}.")


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
            if value == "" and not group.startswith("hydra"):
                raise ConfigError(
                    f"{group}= has no value: expected one of {', '.join(config_names(group))}."
                )
            if name and not group.startswith("hydra"):
                check_choice(group, name)


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
            _check_part(offered, option, value)
            value = written_value(bare, value, kinds_of(option), sweeps=sweeps)
        elif word in deep and "~" not in prefix:
            prefix, kinds = _place(offered, composed, bare, prefix)
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
        raise ConfigError(f"{key} is no option of spikerec {offered.verb}{near or _see(offered)}")
    return prefix, set()

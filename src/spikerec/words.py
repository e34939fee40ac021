"""The words of a command as people type them, and as Hydra composes them.

`words_of` turns `car.dat car.mp4 --height 250 rate_hz=2e4` into `input='car.dat' …
geometry.height=250`, and refuses with a suggestion what names no option. It imports neither PyTorch
nor Lightning, so that the answer comes at once.
"""

from __future__ import annotations

import difflib
import re
from collections import deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from spikerec.checking import (
    check_choices,
    check_files,
    check_flags,
    check_no_null,
    check_outputs,
    check_paths,
    checked_words,
)
from spikerec.configs import config_names
from spikerec.errors import ConfigError
from spikerec.options import PLACES, Offer, offer
from spikerec.overrides import key_of, quoted, split_at_commas, text_words, unquoted
from spikerec.spelling import suggestion
from spikerec.values import FALSE, TRUE, kinds_of

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
    by_place = _by_place(offered, placed, {key_of(word) for word in words})
    check_flags(flags)
    check_outputs(by_place, words)
    if not sweeps and "--cfg" not in flags:
        check_files([f"{name}={text}" for name, texts in by_place.items() for text in texts])
        check_files(words)
    words += [_listed(name, texts, sweeps=sweeps) for name, texts in by_place.items()]
    if sweeps and expand is not None:
        values = {key_of(word): word.partition("=")[2] for word in words}
        folder = None if (kind := values.get("folder")) == "null" else kind
        words = [
            _swept(word, expand, folder) if key_of(word) == "input" else word for word in words
        ]
    check_no_null(words)
    check_paths(words)
    if not is_own:
        check_choices(verb, words, sweeps=sweeps)
        words = checked_words(offered, words, sweeps=sweeps)
    return [*flags, *text_words(words, sweeps=sweeps)]


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
    return offered.verb in PLACES and is_known and not suggestion(key_of(word), offered.options)


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
        raise ConfigError(
            f"{word} is no option of spikerec {offered.verb}{shown or offered.see_help}"
        )
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
    return f": did you mean {full[0]}?" if full else offered.see_help


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

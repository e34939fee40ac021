"""The `key=value` words of a command: their grammar, and the names of runs that are made of them.

Hydra reads a value as a number, a list or a reference where it looks like one. Here is known which
values are text whatever they look like, and how text is quoted.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Sequence
from fnmatch import fnmatch
from pathlib import Path

#: Overrides that change where or how loudly a run happens, but not what it computes.
UNNAMED = (
    *("name", "run", "overwrite", "on_error", "logger", "test"),
    *("paths.outputs", "paths.data", "paths.results", "data.num_workers"),
)

#: Letters of a run's name, beyond which it is cut (file systems allow 255 bytes).
LONGEST_NAME = 100

#: Keys whose values are text whatever they look like: `name=2024_11_27`, `output=7`.
TEXT_KEYS = (
    *("name", "label", "scene", "input", "output", "checkpoint", "results", "dataset", "replay"),
    *("paths.*", "data.sets.*.root", "calibration.*", "logger.*.project", "logger.*.name"),
    *("at", "start_from", "hydra.run.dir", "hydra.sweep.dir"),
)

#: Those of them that are never a list or a mapping, so that brackets are letters too.
SINGLE_TEXT_KEYS = ("name", "label", "scene")


def run_name(overrides: Sequence[str], varying: Container[str] = ()) -> str:
    """Name a run's folder by what it runs: legible, and as unique as its overrides.

    The name holds only letters that need no quoting in a shell and no escaping in an override.

    Args:
        overrides: the command line's `key=value` words, in any order.
        varying: the keys that a sweep varies. Where not all words can be shown, these are, and a
            digest represents the rest.

    Example:
        >>> run_name(["model=stir", "data=reds", "optimizer.lr=1e-3"])
        'data-reds_model-stir_lr-1e-3'
    """
    words = sorted(_as_if_there(word) for word in overrides if not _is_unnamed(word))
    if not words:
        return "default"
    legible = "_".join(map(_legible, words))
    if all(map(_is_plain, words)) and len(legible) <= LONGEST_NAME and _are_told_apart(words):
        return legible
    shown = "_".join(_legible(word) for word in words if key_of(word) in varying) or legible
    return _with_digest(shown, ",".join(words))


def job_name(name: str, overrides: Sequence[str], varying: Container[str]) -> str:
    """Name the folder of one job of a sweep whose jobs share a name.

    Args:
        name: the name as the configuration states it, interpolations resolved.
        overrides: the job's `key=value` words.
        varying: the keys that the sweep varies and that `name` does not already show.

    Example:
        >>> job_name("demo", ["model=fast", "seed=0", "data=reds"], {"seed", "data"})
        'demo_data-reds_seed-0'
    """
    words = [word for word in overrides if key_of(word) in varying and not _is_unnamed(word)]
    return "_".join([folder_name(name), *([run_name(words)] if words else [])])


def folder_name(name: str) -> str:
    """Turn a name into a folder's: letters that need neither quoting nor escaping.

    A slash makes a folder inside a folder. Signs become dashes; where letters of another script are
    lost, a digest keeps names apart.

    Example:
        >>> folder_name("my first run")
        'my-first-run'
    """
    folder = "/".join(filter(None, (_plain_letters(part) for part in name.split("/"))))
    lost = re.sub(r"[\x00-\x7f]", "", name)
    if folder and not lost and len(folder) <= LONGEST_NAME:
        return folder
    return _with_digest(folder or "run", name)


def text_words(words: Sequence[str], *, sweeps: bool) -> list[str]:
    """Quote the values of `TEXT_KEYS` among a command's words where Hydra would not read text.

    A path is text, whatever letters it has: the name of a file or folder that exists is never taken
    for a list or a reference. Otherwise brackets make a list, of which each part is text.

    Args:
        words: what follows the verb.
        sweeps: True if a comma separates values to sweep over, as after `-m`.

    Example:
        >>> text_words(["name=2024_11_27", "seed=1_000"], sweeps=False)
        ["name='2024_11_27'", 'seed=1_000']
    """
    return [_text_word(word, sweeps=sweeps) for word in words]


def _text_word(word: str, *, sweeps: bool) -> str:
    key, equals, value = word.partition("=")
    bare = key.lstrip("+")
    if not equals or not is_text_key(bare):
        return word
    if bare not in SINGLE_TEXT_KEYS and value and _exists(value):
        return f"{key}={quoted(value)}"
    if bare not in SINGLE_TEXT_KEYS and value[:1] + value[-1:] in ("[]", "{}"):
        return f"{key}={_bracketed(value)}"
    if sweeps and re.match(r"\w+\(.*\)$", value):  # choice(…), glob(…)
        return word
    parts = split_at_commas(value) if sweeps else [value]
    nothing = () if bare == "name" else ("null",)  # all of them but a name may be none
    refers = bare == "name"  # `${…}` in it is a reference, as in name=seed${seed}
    texts = (part if part in nothing else _as_text(part, refers=refers) for part in parts)
    return f"{key}={','.join(texts)}"


def key_of(word: str) -> str:
    """The key that a word sets, adds (`+key=`) or removes (`~key`)."""
    return word.partition("=")[0].lstrip("+~")


def is_text_key(key: str) -> bool:
    """True if the values of a key are text whatever they look like."""
    return any(fnmatch(key, pattern) for pattern in TEXT_KEYS)


def _exists(value: str) -> bool:
    try:
        return Path(value).exists()
    except (OSError, ValueError):  # too long a name, or one with a zero in it
        return False


def _bracketed(value: str) -> str:
    """A list of texts with each of them quoted; a mapping, or a list of lists, as it is."""
    inside = value[1:-1]
    if value[0] == "{" or any(sign in inside for sign in "[]{}"):
        return value
    parts = [part.strip() for part in split_at_commas(inside)]
    return f"[{','.join(part if part == 'null' else _as_text(part) for part in parts)}]"


def split_at_commas(value: str) -> list[str]:
    """The parts of a list without its brackets; a comma in quotes separates nothing."""
    return re.findall(r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^,])+""", value, re.DOTALL)


def _as_text(value: str, *, refers: bool = False) -> str:
    """The value, in quotes where Hydra would read a number, a boolean or an operator."""
    is_plain = re.fullmatch(r"(\.{0,2}/|[A-Za-z_])[\w./-]*", value, re.ASCII) is not None
    is_word = value.lower() in ("true", "false", "nan", "inf", "null")
    if value in ("", "???") or _QUOTED.fullmatch(value) or (is_plain and not is_word):
        return value
    return quoted(value, refers=refers or _REFERENCE.search(value) is not None)


#: A text that is in Hydra's quotes already.
_QUOTED = re.compile(r"""(?s)'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")

#: A reference to another key, to the environment or to Hydra within a value.
_REFERENCE = re.compile(
    r"\$\{(?:oc\.\w+:|hydra:|(?:name|run|seed)\}|(?:paths|model|data|loss|optimizer|trainer)\.[\w.]+\})"
)


def quoted(value: str, *, refers: bool = False) -> str:
    r"""A word's value that Hydra reads as this text, whatever letters it has.

    Args:
        value: the text.
        refers: True to leave `${…}` in it a reference.

    Example:
        >>> print(quoted("it's [1].dat"))
        'it\'s [1].dat'
    """
    if not refers:  # OmegaConf's own escape
        value = re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + "\\${", value)
    escaped = re.sub(
        r"(\\*)('|\Z)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), value
    )
    return f"'{escaped}'"


def unquoted(value: str) -> str:
    """The text of a value that may be in Hydra's quotes: the reverse of `quoted`."""
    if not _QUOTED.fullmatch(value):
        return value
    sign = value[0]
    text = re.sub(
        rf"(\\*)({sign}|\Z)", lambda one: one[1][: len(one[1]) // 2] + one[2], value[1:-1]
    )
    return re.sub(r"(\\+)\$\{", lambda one: one[1][: len(one[1]) // 2] + "${", text)


def _as_if_there(word: str) -> str:
    """A word as `text_words` makes it where its path exists: no name depends on what a disk holds.

    Example:
        >>> _as_if_there("data.sets.reds.root=REDS/half")
        "data.sets.reds.root='REDS/half'"
    """
    key, _, value = word.partition("=")
    text = unquoted(value)
    is_path = is_text_key(key_of(word)) and key_of(word) not in SINGLE_TEXT_KEYS
    is_name = key_of(word) == "start_from" and text.isidentifier()  # weights, not a file
    is_more = "${" in value or value[:1] in ("[", "{") or len(split_at_commas(value)) != 1
    return word if not is_path or is_name or is_more or text == "null" else f"{key}={quoted(text)}"


def _is_unnamed(word: str) -> bool:
    return key_of(word) in UNNAMED or key_of(word).startswith("logger.")


def _legible(word: str) -> str:
    """`optimizer.lr=1e-3` → `lr-1e-3`, `~callbacks.video` → `no-video`."""
    key, _, value = word.partition("=")
    short = re.split(r"[./@]", key_of(key))[-1]
    return _plain_letters(f"no-{short}" if key.startswith("~") else f"{short}-{value}")


def _is_plain(word: str) -> bool:
    """True if `_legible` loses nothing of the word's value."""
    return re.fullmatch(r"[\w.+-]*", word.partition("=")[2], re.ASCII) is not None


def _are_told_apart(words: Sequence[str]) -> bool:
    """True if no two words are alike once their keys are shortened."""
    return len({_legible(word).partition("-")[0] for word in words}) == len(words)


def _plain_letters(text: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", text, flags=re.ASCII).strip("-.+")


def _with_digest(shown: str, whole: str) -> str:
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return f"{shown[: LONGEST_NAME - len(digest) - 1].rstrip('-_./')}-{digest}"

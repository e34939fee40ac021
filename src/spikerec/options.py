"""The options that `conf/` offers to a verb.

An option is a key of `conf/VERB.yaml` or of a part that it names; the comment behind the key is the
option's help. Nothing here imports PyTorch or Lightning, so that `--help` and errors come at once.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml

from spikerec.configs import config_dir, config_names
from spikerec.errors import ConfigError
from spikerec.parsing import parse_yaml
from spikerec.spelling import suggestion

#: Columns of a help text.
COLUMNS = 80

#: Arguments that are known by their place: the last is what is written.
PLACES = {
    "reconstruct": ("input", "output"),
    "simulate": ("input", "output"),
    "export": ("output",),
    "leaderboard": ("results",),
}

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

    @property
    def see_help(self) -> str:
        """The end of an error that has nothing nearer to suggest than the list of options."""
        return f": spikerec {self.verb} --help lists them."

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
    for key, value in flat(content):
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


def flat(content: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    """Dotted keys and values in order, a mapping before what it holds."""
    for name, value in content.items():
        if isinstance(value, Mapping) and value:
            yield f"{above}{name}", value
            yield from flat(value, f"{above}{name}.")
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
        note = "no default" if default == "???" else f"default: {shown or 'none'}"
        names = ", ".join(config_names(group))
        lines += _entry(group, f"{names} ({note})")
    lines += ["", "options"]
    for option in offered.options.values():
        if isinstance(option.default, Mapping):
            if option.help:
                lines += _entry(option.key, option.help)
            continue
        is_known = option.default is not None and "${" not in str(option.default)
        default = f"[{_written(option.default)}]" if is_known else ""
        lines += _entry(option.key, f"{option.help} {default}".strip())
    lines += ["", "every verb"]
    lines += _entry("-m", "run every combination of the values: model=tfp,tfi")
    lines += _entry("--cfg job --resolve", "print the whole configuration, and run nothing")
    lines += _entry("--config-dir FOLDER", "add a folder of your own YAML files; it can run code")
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

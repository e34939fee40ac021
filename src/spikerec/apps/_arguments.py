"""The parser of the verbs that have no configuration, which spells options as the others do.

`--rate-hz 2e4`, `--rate_hz=2e4` and `rate_hz=2e4` are one option. What is wrong is said in one
line, with the nearest option.
"""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from spikerec.errors import ConfigError, DataNotFoundError
from spikerec.options import COLUMNS, Option, offer
from spikerec.values import CHOICES, FALSE, TRUE, kinds_of, written_value

#: Keys at the top of `conf/stream.yaml`.
STREAM = tuple(key for key in offer("stream").options if "." not in key)

#: Other names of options.
ALIASES = {"model": "method", "method": "model"}


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that takes `key=value` too, and raises instead of exiting."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 (those of argparse)
        super().__init__(
            formatter_class=lambda prog: argparse.HelpFormatter(prog, width=COLUMNS),
            allow_abbrev=False,
            **settings,
        )
        self._words: list[str] = []

    def parse_known_args(  # type: ignore[override]  # of its overloads, the one in use
        self, args: Sequence[str], namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse words, each spelled as this parser states it."""
        self._words = [one for word in args for one in self._spelled(word)]
        return super().parse_known_args(self._words, namespace)

    def parse_args(  # type: ignore[override]  # see above
        self, args: Sequence[str], namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Parse words.

        Raises:
            ConfigError: a word that is no option, with the nearest that is.
        """
        found, left = self.parse_known_args(args, namespace)
        if left:
            parser = self._chosen(args)
            parser.error(f"{left[0]} is no option{parser._meant(left[0])}")
        return found

    def error(self, message: str) -> NoReturn:
        """Raise the complaint.

        Raises:
            ConfigError: always.
        """
        if message.startswith("the following arguments are required"):
            for word in self._words:  # one that is misspelt is the reason
                option = word.partition("=")[0]
                if word.startswith("--") and option not in self._option_string_actions:
                    message = f"{word} is no option{self._meant(word)}"
                    break
        invalid = re.fullmatch(
            r"argument (?:--(\S+)|\S+): invalid choice: '([^']*)' \(choose from ([^)]*)\)", message
        )
        if invalid is not None:
            choices = re.findall(r"[\w-]+", invalid[3])
            near = difflib.get_close_matches(invalid[2], choices, 1)
            meant = f"did you mean {near[0]}? Expected" if near else "expected"
            found = f"{invalid[1]}={invalid[2]}" if invalid[1] else repr(invalid[2])
            message = f"{found} is unknown: {meant} one of {', '.join(choices)}."
        message = re.sub(r"^argument (\S+): expected one argument$", r"\1 needs a value", message)
        message = re.sub(
            r"^argument (\S+): invalid int value: '(.*)'$",
            r"\1 must be a whole number, found \2",
            message,
        )
        message = re.sub(
            r"^argument -h/--help: ignored explicit argument '(.*?)'",
            r"-h\1 is no option: did you mean --h\1?",
            message,
        )
        message = re.sub(r"^argument \S+: ", "", message)
        ended = message if message.endswith("?") else f"{message.rstrip('.')}."
        _, _, verb = self.prog.partition(" ")  # the program's own name stands before any error
        raise ConfigError(f"{verb}: {ended}" if verb else ended)

    def _chosen(self, args: Sequence[str]) -> Parser:
        """The parser of the verb's own verb that the words name; this one where there is none."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction) and args:
                parser = action.choices.get(args[0], self)
                assert isinstance(parser, Parser)
                return parser
        return self

    def _spelled(self, word: str) -> list[str]:
        """`rate_hz=2e4`, `--rate_hz=2e4` or `geometry.height=250` as this parser states them."""
        found = re.fullmatch(r"(?s)(-{0,2})([A-Za-z][\w.-]*)(?:(=)(.*))?", word)
        if found is None or (not found[1] and not found[3]) or found[1] == "-":
            return [word]
        name = found[2].rpartition(".")[2].replace("_", "-")
        if f"--{name}" not in self._option_string_actions:
            name = ALIASES.get(name, name)
        if f"--no-{name}" in self._option_string_actions and found[3]:
            return [] if self._truth(found) else [f"--no-{name}"]
        action = self._option_string_actions.get(f"--{name}")
        if action is None:
            places = [one.dest for one in self._actions if not one.option_strings]
            is_place = not found[1] and name in ("input", *places) and found[3]
            return [found[4] if is_place else word]
        if not found[3]:
            return [f"--{name}"]
        if action.nargs == 0:
            return [f"--{name}"] if self._truth(found) else []
        return [f"--{name}={found[4]}"]

    def _truth(self, found: re.Match[str]) -> bool:
        """The value of `key=value` as true or false."""
        if found[4].lower() not in (*TRUE, *FALSE):
            self.error(f"{found[2]} must be true or false, found {found[4]}.")
        return found[4].lower() in TRUE

    def _meant(self, word: str) -> str:
        name = re.split(r"=", word.lstrip("-"))[0].rpartition(".")[2].replace("_", "-")
        known = [one for one in self._option_string_actions if one.startswith("--")]
        near = difflib.get_close_matches(f"--{name}", known, 2, 0.7)
        return f": did you mean {' or '.join(near)}?" if near else f": {self.prog} --help."


def add_stream_options(parser: argparse.ArgumentParser, without: Sequence[str] = ()) -> None:
    """Add the options of `conf/stream.yaml`, each with the comment that it has there.

    Args:
        parser: takes them.
        without: keys to leave out.
    """
    for option in offer("stream").options.values():
        name = option.key.rpartition(".")[2]
        if not isinstance(option.default, dict) and option.key not in without:
            _add(parser, option, name)


def add_option(parser: argparse.ArgumentParser, verb: str, key: str) -> None:
    """Add one option of a verb that has a configuration, with its comment and default.

    Its name is the last word of its key: `--gamma` for `tone.gamma`.
    """
    _add(parser, offer(verb).options[key], key.rpartition(".")[2])


def _add(parser: argparse.ArgumentParser, option: Option, name: str) -> None:
    flag = f"--{name.replace('_', '-')}"
    text = option.help.replace("%", "%%")
    if name == "bottom_up":
        parser.add_argument(
            *(f"--no-{flag[2:]}", "--top-down"),
            dest=name,
            action="store_const",
            const=False,
            help="the top row of the picture is stored first",
        )
    elif option.default is False:
        parser.add_argument(flag, action="store_true", help=text)
    else:
        parser.add_argument(flag, type=partial(_read, option), default=option.default, help=text)


def _read(option: Option, text: str) -> bool | int | float | str | None:
    """A value as the verbs with a configuration understand it.

    Raises:
        ArgumentTypeError: it is none of its option's.
    """
    kinds = kinds_of(option)
    try:
        written = written_value(option.key, text, kinds, sweeps=False)
    except ConfigError as error:  # argparse has words of its own for a ValueError
        raise argparse.ArgumentTypeError(str(error)) from error
    if written == "null":
        return None
    if kinds == {"int"}:
        return int(written)
    if kinds == {"bool"}:
        return written == "true"
    is_number = kinds == {"float"} and written not in CHOICES.get(option.key, ())
    return float(written) if is_number else written


def stated(options: argparse.Namespace) -> dict[str, Any]:
    """The keys of `conf/stream.yaml` that the command line states, with their values."""
    found: dict[str, Any] = {"geometry": {}}
    for key in offer("stream").options:
        group, _, name = key.rpartition(".")
        if name in vars(options):
            (found[group] if group else found)[name] = getattr(options, name)
    return found


def check_stream(path: Path) -> None:
    """Refuse a path with nothing there before anything slow is imported.

    Raises:
        DataNotFoundError: there is neither a file nor a folder.
    """
    if not path.exists():
        raise DataNotFoundError(f"{path} does not exist: expected a spike stream. Check the path.")


def opening(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `spikes.open` from values of the keys of `conf/stream.yaml`.

    Args:
        path: the stream; a geometry is for bits alone, or a folder of them, and `partial` for any.
        values: by key, `geometry` a mapping.

    Raises:
        ConfigError: a file of another suffix than those that are read.
    """
    from spikerec.spikes.formats import SUFFIXES
    from spikerec.spikes.geometry import BITS_SUFFIXES

    if path.is_file() and path.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"{path}: unknown format {path.suffix!r}, expected one of {', '.join(SUFFIXES)}."
        )
    geometry = {key: value for key, value in values["geometry"].items() if value is not None}
    if path.suffix.lower() not in ("", *BITS_SUFFIXES):
        geometry = {key: value for key, value in geometry.items() if key == "partial"}
    return {**values, "geometry": geometry or None}

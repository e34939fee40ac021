"""List, fetch, install, import and pack weights: spikerec weights import FILE --model NAME."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from spikerec.apps._arguments import Parser
from spikerec.apps._printing import say
from spikerec.configs import config_names
from spikerec.errors import ConfigError, DataError, WeightsError, printable
from spikerec.parsing import parse_yaml

#: Where imported networks go unless told otherwise.
FOLDER = Path("weights")

#: Letters of what a file states that are shown.
MOST_LETTERS = 100


def main(arguments: list[str]) -> None:
    """Run `spikerec weights …`."""
    parser = _parser()
    options, words = parser.parse_known_args(arguments)
    if words and (options.verb != "import" or any(word.startswith("-") for word in words)):
        parser.parse_args(arguments)  # which says what is wrong
    values = _values(words)
    console = Console()
    match options.verb:
        case "list":
            _list(console)
        case "fetch":
            _fetch(console, options.name)
        case "install":
            _install(console, options.name, options.file)
        case "import":
            _import(console, options, values)
        case "pack":
            _pack(console, options)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="spikerec weights", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="weights of metrics and losses, and imported networks")
    fetch = verbs.add_parser("fetch", help="download weights of metrics and losses")
    fetch.add_argument("name", nargs="?", help="one of the list (default: all)")
    install = verbs.add_parser("install", help="put a file of such weights into the cache")
    install.add_argument("name", help="one of the list")
    install.add_argument("file", type=Path)
    importing = verbs.add_parser(
        "import",
        help="turn a network's published checkpoint into safetensors, without running it",
        usage="spikerec weights import FILE --model NAME [--output PATH] [key=value …]",
        epilog="key=value: what differs from conf/model/NAME.yaml, such as output_scale=0.6",
    )
    importing.add_argument("file", type=Path, help="the authors' .pth, .pt or .ckpt")
    importing.add_argument("--model", required=True, choices=config_names("model"))
    importing.add_argument("--output", type=Path, help=f"default: {FOLDER}/NAME.safetensors")
    importing.add_argument("--overwrite", action="store_true", help="replace the output")
    packing = verbs.add_parser("pack", help="keep the weights of a training run's checkpoint alone")
    packing.add_argument("file", type=Path, help="best.ckpt of spikerec train")
    packing.add_argument("--model", required=True, choices=config_names("model"))
    packing.add_argument("--output", type=Path, help=f"default: {FOLDER}/NAME.safetensors")
    packing.add_argument("--half", action="store_true", help="keep 16 bits a number")
    packing.add_argument("--overwrite", action="store_true", help="replace the output")
    return parser


def _list(console: Console) -> None:
    from spikerec.weights import list_weights, weights_dir

    table = Table("name", "state", "for", "licence", box=None, header_style="bold")
    for listed in list_weights():
        state = "[green]here[/]" if listed.path else f"[dim]{listed.entry.command}[/]"
        table.add_row(listed.entry.name, state, listed.entry.purpose, listed.entry.licence)
    console.print(table)
    say(console, f"cache: {weights_dir()}", "dim")
    networks = sorted(FOLDER.glob("*.safetensors"))
    if networks:
        console.print(_networks(networks))


def _networks(paths: Sequence[Path]) -> Table:
    """Imported networks, as their files describe themselves."""
    from spikerec.weights import read_metadata

    table = Table("network", "model", "imported from", "digest", box=None, header_style="bold")
    for path in paths:
        try:
            metadata = read_metadata(path)
        except WeightsError:
            metadata = {"model": "cannot be read"}
        cells = [str(path), *(metadata.get(key, "?") for key in ("model", "source", "digest"))]
        cells[-1] = cells[-1][:12]
        table.add_row(*(Text(printable(cell)[:MOST_LETTERS]) for cell in cells))
    return table


def _fetch(console: Console, name: str | None) -> None:
    from spikerec.metrics.calibration import check_score
    from spikerec.weights import fetch, fetch_all

    with _progress(console) as progress:
        if name is None:
            fetch_all(partial(say, console), check_score, progress)
        else:
            path = fetch(name, partial(say, console), check_score, progress)
            say(console, f"{name} is in {path}")


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[int, int | None], None]]:
    """A bar that appears with the first bytes, and goes when they are all here."""
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", visible=False)

        def show(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total, visible=done != total)

        yield show


def _install(console: Console, name: str, file: Path) -> None:
    from spikerec.weights import install

    say(console, f"{name} is in {install(name, file)}")


def _import(console: Console, options: argparse.Namespace, values: dict[str, Any]) -> None:
    from spikerec.weights import import_weights

    output = options.output or FOLDER / f"{options.model}.safetensors"
    done = output.exists() and not options.overwrite
    metadata = import_weights(
        options.file, options.model, output, overwrite=options.overwrite, **values
    )
    say(
        console,
        f"{options.file} fits {options.model}: {_written(done, output)}, digest "
        f"{metadata['digest'][:12]}. Use it with checkpoint={output}",
    )


def _pack(console: Console, options: argparse.Namespace) -> None:
    from spikerec.training import Run
    from spikerec.weights.shipped import pack_weights

    output = options.output or FOLDER / f"{options.model}.safetensors"
    done = output.exists() and not options.overwrite
    metadata = pack_weights(
        options.file,
        options.model,
        output,
        training=Run(options.file.resolve().parent.parent).budget(),
        half=options.half,
        overwrite=options.overwrite,
    )
    digest = metadata["digest"][:12]
    say(console, f"{_written(done, output)}, digest {digest}")


def _written(done: bool, output: Path) -> str:
    return f"done before, these weights are in {output}" if done else f"written to {output}"


def _values(words: Sequence[str]) -> dict[str, Any]:
    """`key=value` words as plain values, read as YAML.

    Raises:
        ConfigError: a word without a key, or a value that is no YAML.
    """
    values = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key.isidentifier():
            raise ConfigError(
                f"'{word}' is no argument of a model: expected key=value, such as output_scale=0.6."
            )
        try:
            values[key] = parse_yaml(text, word)
        except DataError as error:
            raise ConfigError(f"'{word}' cannot be read: the value is no YAML.") from error
    return values

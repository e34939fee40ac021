"""List data sets, fetch samples, look at a recording: spikerec data inspect car.dat."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from spikerec import spikes
from spikerec.configs import build, config_dir, config_names
from spikerec.errors import ConfigError, DataError, SpikerecError
from spikerec.spikes import Geometry, Sidecar

#: Samples that are fetched into the folder of a data set with a layout of its own.
SAMPLES = {"reds-samples": "reds"}


def main(arguments: list[str]) -> None:
    """Run `spikerec data …`."""
    options = _parser().parse_args(arguments)
    console = Console()
    if options.verb == "list":
        console.print(_table())
    elif options.verb == "fetch":
        _fetch(console, options.name, options.root, options.photographs)
    elif options.verb == "inspect":
        _inspect(console, options)
    else:
        _import(console, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="spikerec data", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="the data sets of conf/data, and whether they are here")
    fetch = verbs.add_parser("fetch", help="get samples, or make a data set from photographs")
    fetch.add_argument("name", help="reds-samples, or a data set that is made here: photos_small")
    fetch.add_argument("--root", type=Path, help="folder to put it in (default: data/NAME)")
    fetch.add_argument(
        "--photographs",
        metavar="FOLDER|skimage",
        help="make it from your own pictures, or from those that scikit-image brings",
    )
    inspect = verbs.add_parser("inspect", help="what a recording holds, and a contact sheet of it")
    inspect.add_argument("file", type=Path)
    inspect.add_argument("--dataset", help="the array inside .npz or .h5 (default: the only one)")
    inspect.add_argument(
        "--external", action="store_true", help="let an .h5 name other files that hold its values"
    )
    inspect.add_argument("--output", type=Path, help="the picture (default: NAME_inspection.png)")
    _add_geometry(inspect)
    importing = verbs.add_parser(
        "import", help="write the sidecar that says how a .dat is laid out"
    )
    importing.add_argument("file", type=Path)
    importing.add_argument("--rank", type=int, help="the geometry that inspect ranks so (from 1)")
    importing.add_argument("--light-scale", type=float, help="firing rate of intensity 1")
    importing.add_argument("--overwrite", action="store_true", help="replace another sidecar")
    _add_geometry(importing)
    return parser


def _add_geometry(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--height", type=int)
    parser.add_argument("--width", type=int)
    parser.add_argument("--readout-width", type=int, help="bits stored for a row (default: width)")
    parser.add_argument("--top-down", action="store_true", help="the top row is stored first")
    parser.add_argument("--bit-order", choices=("little", "big"), default="little")
    parser.add_argument("--rate-hz", type=float, help="readouts per second")


def _stated_geometry(options: argparse.Namespace) -> Geometry | None:
    """The geometry on the command line; None where there is none.

    Raises:
        ConfigError: one side without the other.
    """
    if options.height is None and options.width is None:
        return None
    if options.height is None or options.width is None:
        raise ConfigError("--height and --width go together: state both, or neither.")
    return Geometry(
        options.height,
        options.width,
        options.readout_width,
        not options.top_down,
        options.bit_order,
    )


def _inspect(console: Console, options: argparse.Namespace) -> None:
    """Tell what a stream holds; of a `.dat` without geometry, what it could be."""
    from spikerec.spikes.inspection import contact_sheet, inspect

    path: Path = options.file
    output = options.output or path.with_name(f"{path.stem}_inspection.png")
    geometry = _stated_geometry(options)
    if path.suffix.lower() == ".dat" and path.is_file() and geometry is None:
        geometry = spikes.read_sidecar(path).geometry
        if geometry is None:
            _rank(console, path, output)
            return
    with spikes.open(
        path,
        geometry=geometry,
        rate_hz=options.rate_hz,
        dataset=options.dataset,
        external=options.external,
    ) as stream:
        found = inspect(stream)
        table = Table(box=None, show_header=False)
        for label, value in found.lines():
            table.add_row(label, value)
        console.print(table)
        _save(console, contact_sheet(found), output)


def _rank(console: Console, path: Path, output: Path) -> None:
    from spikerec.spikes.inspection import previews, rank_geometries

    candidates = rank_geometries(path)
    table = Table("rank", "geometry", "bit order", "readouts", "roughness", box=None)
    for rank, one in enumerate(candidates, 1):
        layout = one.geometry
        row = (str(layout), layout.bit_order, str(one.num_readouts), f"{one.roughness:.3f}")
        table.add_row(str(rank), *row)
    console.print(f"{path} states no geometry. By how much neighbouring pixels agree (0 is best):")
    console.print(table)
    _save(console, previews(candidates), output)
    console.print(
        f"Look, then: spikerec data import {path} --rank 1 (--top-down if it stands on its head)",
        soft_wrap=True,
    )


def _save(console: Console, picture: object, output: Path) -> None:
    from PIL import Image

    from spikerec.spikes.files import atomic_path

    assert isinstance(picture, Image.Image)
    try:
        with atomic_path(output) as temporary:
            picture.save(temporary, "PNG")
    except OSError as error:
        raise DataError(f"{output} cannot be written: {error}. Name --output=FILE.png.") from error
    console.print(f"picture in {output}", soft_wrap=True)


def _import(console: Console, options: argparse.Namespace) -> None:
    """Write the sidecar of a `.dat`, whose geometry must fit it."""
    from spikerec.spikes.inspection import rank_geometries

    path: Path = options.file
    if path.suffix != ".dat":
        raise ConfigError(f"{path}: only a .dat needs a sidecar for its geometry.")
    geometry = _stated_geometry(options)
    if (geometry is None) == (options.rank is None):
        raise ConfigError("state the geometry by --height and --width, or by --rank: one of them.")
    if geometry is None:
        candidates = rank_geometries(path)
        if not 1 <= options.rank <= len(candidates):
            raise ConfigError(f"--rank must be 1 to {len(candidates)}, found {options.rank}.")
        ranked = candidates[options.rank - 1].geometry
        geometry = replace(ranked, bottom_up=not options.top_down)
    stream = spikes.open(path, geometry=geometry)
    sidecar = Sidecar(geometry, options.rate_hz, options.light_scale)
    spikes.write_sidecar(path, sidecar, overwrite=options.overwrite)
    console.print(
        f"{spikes.sidecar_path(path)}: {stream.num_readouts} readouts of {geometry}", soft_wrap=True
    )


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


def _fetch(console: Console, name: str, root: Path | None, photographs: str | None) -> None:
    """Get samples, or make a data set that knows how to be made.

    Raises:
        ConfigError: nothing of that name can be fetched, or it takes no photographs.
    """
    if name in SAMPLES:
        if photographs is not None:
            raise ConfigError(f"{name} is not made from photographs: drop --photographs.")
        _fetch_samples(
            console, root or Path(os.environ.get("SPIKEREC_DATA", "data")) / SAMPLES[name]
        )
        return
    from spikerec.data.clips import MadeSet

    place: dict[str, Any] = {"root": str(root)} if root else {}
    if photographs is not None:
        place |= {"sources": None} if photographs == "skimage" else {"photographs": photographs}
    found = build("data", name, **place) if name in config_names("data") else None
    if not isinstance(found, MadeSet):
        able = [one for one in config_names("data") if isinstance(build("data", one), MadeSet)]
        raise ConfigError(
            f"spikerec data fetch {name}: nothing of that name can be fetched; expected one of "
            f"{', '.join([*SAMPLES, *able])}."
        )
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(f"simulating {name}", total=None)
        found.fetch(
            report=console.print,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    console.print(f"{name} is in {found.root}", soft_wrap=True)


def _fetch_samples(console: Console, root: Path) -> None:
    from spikerec.data.samples import fetch_reds_samples

    files = fetch_reds_samples(root)
    streams = [path for path in files if path.suffix == ".dat"]
    console.print(f"{len(streams)} streams with their images in {root}")

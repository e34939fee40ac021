"""List and fetch data sets, look at recordings, compare them: spikerec data inspect car.dat."""

from __future__ import annotations

import argparse
import difflib
import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikerec.apps._arguments import Parser, add_stream_options, check_stream, opening, stated
from spikerec.apps._printing import say, shell_word
from spikerec.configs import build, config_dir, config_names
from spikerec.errors import ConfigError, DataError, SpikerecError, printable
from spikerec.overrides import folder_name

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from spikerec.spikes import SpikeStream

#: Samples that are fetched into the folder of a data set with a layout of its own.
SAMPLES = {"reds-samples": "reds"}
#: Statement in the pictures that are drawn here, which alone are replaced.
DRAWN = {"drawn_by": "spikerec data"}


def main(arguments: list[str]) -> None:
    """Run `spikerec data …`."""
    options = _parser().parse_args(arguments)

    from rich.console import Console

    console = Console()
    if options.verb == "list":
        console.print(_table())
    elif options.verb == "fetch":
        _fetch(console, options.name, options.root, options.photographs)
    elif options.verb == "inspect":
        _inspect(console, options)
    elif options.verb == "folds":
        _folds(console, options)
    elif options.verb == "compare":
        _compare(console, options)
    else:
        _import(console, options)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="spikerec data", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="list the data sets, and which of them are on this machine")
    fetch = verbs.add_parser(
        "fetch", help="download a data set or samples, or make a set from photographs"
    )
    fetch.add_argument(
        "name",
        help="reds-samples or recvidar (downloads), or a set that is simulated, such as "
        "photos_small",
    )
    fetch.add_argument("--root", type=Path, help="folder of the data set (default: data/NAME)")
    fetch.add_argument(
        "--photographs",
        metavar="FOLDER|skimage",
        help="make it from a folder of your own pictures, or from those in scikit-image",
    )
    inspect = verbs.add_parser(
        "inspect",
        help="describe a recording and draw a contact sheet, or show how a result was made",
    )
    inspect.add_argument("file", type=Path, help="a recording, or a result of spikerec")
    inspect.add_argument(
        "--output",
        type=Path,
        help="file of the contact sheet (default: NAME_inspection.png, in this folder)",
    )
    add_stream_options(inspect)
    comparing = verbs.add_parser(
        "compare",
        help="compare how pixels fire in a recording and in a simulation, in numbers and a picture",
    )
    comparing.add_argument("recording", type=Path, help="a recording, or a folder of them")
    comparing.add_argument("simulation", type=Path, help="another, or a folder of simulated ones")
    comparing.add_argument(
        "--output",
        type=Path,
        help="file of the picture (default: RECORDING_SIMULATION_comparison.png, in this folder)",
    )
    add_stream_options(comparing)
    dealing = verbs.add_parser(
        "folds", help="deal the scenes of a small set into folds, once, for cross-validation"
    )
    dealing.add_argument("name", help="a data set that is on this machine")
    dealing.add_argument("--root", type=Path, help="folder of the data set (default: data/NAME)")
    dealing.add_argument("--count", type=int, default=5, help="number of folds (default: 5)")
    dealing.add_argument("--seed", type=int, default=0, help="of the deal (default: 0)")
    dealing.add_argument("--output", type=Path, help="file of the folds (default: NAME_folds.yaml)")
    importing = verbs.add_parser(
        "import", help="write the YAML file that states how a .dat is laid out"
    )
    importing.add_argument("file", type=Path)
    importing.add_argument(
        "--rank",
        type=int,
        help="take the geometry of this rank in the table of data inspect (from 1)",
    )
    importing.add_argument("--overwrite", action="store_true", help="replace an existing YAML file")
    add_stream_options(importing, without=("dataset", "external"))
    return parser


def _inspect(console: Console, options: argparse.Namespace) -> None:
    """Print facts about a stream; for a `.dat` without geometry, the likely ones."""
    check_stream(options.file)
    from spikerec import spikes
    from spikerec.spikes.geometry import BITS_SUFFIXES

    path: Path = options.file
    if facts := _made(path):
        for key, value in facts.items():
            if value is None:
                continue
            say(console, printable(f"{key:<14} {_plain(value)}"))
        return
    output = options.output or Path(f"{path.stem}_inspection.png")
    _check_picture(output)
    settings = opening(path, stated(options))
    given = settings["geometry"] or {}
    is_bare = path.suffix.lower() in BITS_SUFFIXES and path.is_file()
    is_stated = bool({"height", "width"} & given.keys())
    if is_bare and not is_stated and spikes.read_sidecar(path).geometry is None:
        _rank(console, path, output)
        return
    with spikes.open(path, **settings) as stream:
        from rich.table import Table

        from spikerec.spikes.inspection import contact_sheet, inspect

        found = inspect(stream)
        table = Table(box=None, show_header=False)
        for label, value in found.lines():
            table.add_row(label, value)
        console.print(table)
        _save(console, contact_sheet(found), output)


def _folds(console: Console, options: argparse.Namespace) -> None:
    """Freeze a deal of a set's scenes in a file.

    Raises:
        ConfigError: no set of that name, or no deal.
    """
    if options.count < 2:
        raise ConfigError(f"--count must be at least 2, found {options.count}.")
    from spikerec.data.folds import make_folds, write_folds

    place: dict[str, Any] = {"root": str(options.root)} if options.root else {}
    data = build("data", _known(options.name, config_names("data")), **place)
    data.prepare()
    output = options.output or Path(f"{options.name}_folds.yaml")
    folds = make_folds(data, options.count, seed=options.seed)
    write_folds(output, folds)
    sizes = ", ".join(str(len(fold)) for fold in folds.scenes)
    say(console, f"{output}: folds of {sizes} scenes")
    say(
        console,
        f"Train on each: spikerec train -m model=NAME data={options.name} data.folds={output} "
        f"data.fold={','.join(str(k + 1) for k in range(options.count))}",
    )


def _known(name: str, known: Sequence[str]) -> str:
    """The name, if it is one of those known.

    Raises:
        ConfigError: it is not; says which is nearest.
    """
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        meant = f"did you mean {near[0]}? Expected" if near else "expected"
        raise ConfigError(f"{name!r} is unknown: {meant} one of {', '.join(known)}.")
    return name


def _compare(console: Console, options: argparse.Namespace) -> None:
    """Print how two recordings differ, and draw their histograms."""
    from rich.table import Table

    from spikerec.spikes.comparison import as_text, compare, picture

    paths: tuple[Path, Path] = (options.recording, options.simulation)
    names = _told_apart(*(path.resolve() for path in paths))
    stems = (folder_name(Path(name).with_suffix("").as_posix()) for name in names)
    output = options.output or Path(f"{'_'.join(stems).replace('/', '-')}_comparison.png")
    _check_picture(output)
    with ExitStack() as opened:
        compared = compare(*(_streams(path, options, opened) for path in paths))
    pair = (compared.recording, compared.simulation)
    table = Table("", *map(printable, names), "distance", box=None)
    apart = {name: as_text(distance, ".3g") for name, distance in compared.distances.items()}
    table.add_row("streams", *(f"{one.num_streams}" for one in pair))
    table.add_row("readouts looked at", *(f"{one.num_readouts}" for one in pair))
    rates = (f"{one.mean_rate:.4f}" for one in pair)
    table.add_row("firing rate, spikes a readout", *rates, apart["rates"])
    intervals = (f"{one.median_interval}" for one in pair)
    table.add_row("median interval, readouts", *intervals, apart["intervals"])
    changes = (as_text(one.mean_change, ".2f") for one in pair)
    table.add_row("mean change of intervals, readouts", *changes, apart["changes"])
    console.print(table)
    _save(console, picture(compared, names), output)


def _told_apart(one: Path, other: Path) -> tuple[str, str]:
    """The last parts of two paths: as many as differ, all of equal ones."""
    for count in range(1, max(len(one.parts), len(other.parts))):
        ends = tuple(str(Path(*path.parts[-count:])) for path in (one, other))
        if ends[0] != ends[1]:
            return ends[0], ends[1]
    return str(one), str(other)


def _streams(path: Path, options: argparse.Namespace, opened: ExitStack) -> list[SpikeStream]:
    """The streams of a file or folder.

    A stated geometry is for those without a sidecar, the name of an array for those that name any.
    """
    from spikerec import spikes
    from spikerec.spikes.formats import NAMING_SUFFIXES
    from spikerec.spikes.recordings import find_recordings

    check_stream(path)
    streams = []
    for one in find_recordings([path], joins=True):
        settings = opening(one, stated(options))
        if spikes.read_sidecar(one).geometry is not None:
            settings["geometry"] = None
        if one.suffix.lower() not in NAMING_SUFFIXES:
            settings["dataset"] = None
        streams.append(opened.enter_context(spikes.open(one, **settings)))
    return streams


def _made(path: Path) -> dict[str, Any]:
    """The settings that made a result of `reconstruct`; empty for any other file."""
    from spikerec.streaming.about import SUFFIXES, read_about

    is_folder = (path / "000000.png").is_file()
    if not is_folder and (not path.is_file() or path.suffix.lower() not in SUFFIXES):
        return {}
    try:
        facts = read_about(path)
    except DataError:  # a stream whose content is not a result's
        facts = {}
    if not facts and path.suffix.lower() in (".png", ".mp4", ".webm", ".gif"):
        raise DataError(f"{path} does not say how it was made: expected a result of reconstruct.")
    return facts


def _plain(value: object, *, is_inner: bool = False) -> str:
    """A setting for people: `window 61, channels (64, 96, 128)`."""
    if isinstance(value, dict):
        stated = {key: one for key, one in value.items() if one is not None}
        parts = [f"{key} {_plain(one, is_inner=True)}" for key, one in stated.items()]
    elif isinstance(value, list):
        parts = [_plain(one, is_inner=True) for one in value]
    else:
        return str(value)
    joined = ", ".join(parts)
    return f"({joined})" if is_inner else joined


def _rank(console: Console, path: Path, output: Path) -> None:
    from rich.table import Table

    from spikerec.spikes.inspection import previews, rank_geometries

    candidates = rank_geometries(path)
    table = Table("rank", "geometry", "bit order", "readouts", "roughness", box=None)
    for rank, one in enumerate(candidates, 1):
        layout = one.geometry
        row = (str(layout), layout.bit_order, str(one.num_readouts), f"{one.roughness:.3f}")
        table.add_row(str(rank), *row)
    say(console, f"{path} states no geometry. By how much neighbouring pixels agree (0 is best):")
    console.print(table)
    _save(console, previews(candidates), output)
    say(
        console,
        f"Look, then: spikerec data import {shell_word(str(path))} --rank 1 (--top-down if it "
        "is upside down). Common sizes alone were tried: if no picture looks right, state the size "
        "(--height, --width).",
    )


def _check_picture(output: Path) -> None:
    """Refuse to draw over anything but an earlier picture of this command.

    Raises:
        ConfigError: the file would be no PNG.
        DataError: something else is there.
    """
    if output.suffix.lower() != ".png":
        raise ConfigError(f"--output={output}: the picture is a PNG, name FILE.png.")
    if os.path.lexists(output) and not _is_drawn(output):
        raise DataError(
            f"{output} exists and was not drawn by spikerec data: name --output=FILE.png, or move "
            "it away."
        )


def _is_drawn(path: Path) -> bool:
    """True for a picture of `_save`."""
    from spikerec.streaming.about import read_about

    try:
        return read_about(path) == DRAWN
    except DataError:
        return False


def _save(console: Console, picture: object, output: Path) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    from spikerec.spikes.files import atomic_path
    from spikerec.streaming.sinks.marks import ABOUT_TAG

    assert isinstance(picture, Image.Image)
    about = PngInfo()
    about.add_text(ABOUT_TAG, json.dumps(DRAWN))
    try:
        with atomic_path(output) as temporary:
            picture.save(temporary, "PNG", pnginfo=about)
    except OSError as error:
        raise DataError(f"{output} cannot be written: {error}. Name --output=FILE.png.") from error
    say(console, f"picture in {output}")


def _import(console: Console, options: argparse.Namespace) -> None:
    """Write the sidecar of a `.dat`, whose geometry must fit it."""
    from spikerec.spikes.geometry import BITS_SUFFIXES

    path: Path = options.file
    if path.suffix.lower() not in BITS_SUFFIXES:
        raise ConfigError(
            f"{path}: only {', '.join(BITS_SUFFIXES)} need a sidecar for their geometry."
        )
    check_stream(path)
    from spikerec import spikes
    from spikerec.spikes import Geometry, Sidecar
    from spikerec.spikes.inspection import rank_geometries

    given = opening(path, stated(options))["geometry"] or {}
    sides = {"height", "width"} & given.keys()
    if len(sides) + 2 * (options.rank is not None) != 2:
        raise ConfigError("state the geometry by --height and --width, or by --rank: one of them.")
    if options.rank is None:
        geometry = Geometry(**given)
    else:
        candidates = rank_geometries(path)
        if not 1 <= options.rank <= len(candidates):
            raise ConfigError(f"--rank must be 1 to {len(candidates)}, found {options.rank}.")
        ranked = candidates[options.rank - 1].geometry
        geometry = replace(ranked, **given)
    stream = spikes.open(path, geometry=geometry)
    facts = {key: value for key, value in stated(options).items() if key != "geometry"}
    sidecar = Sidecar(geometry, **facts)
    written = spikes.sidecar_path(path)
    done = written.exists() and not options.overwrite
    spikes.write_sidecar(path, sidecar, overwrite=options.overwrite)
    state = "done before, " if done else ""
    say(console, f"{state}{written}: {stream.num_readouts} readouts of {geometry}")


def _table() -> Table:
    from rich.table import Table

    table = Table("name", "state", "what", box=None, header_style="bold")
    for name in config_names("data"):
        text = (config_dir() / "data" / f"{name}.yaml").read_text(encoding="utf-8")
        comments = [line[2:] for line in text.splitlines() if line.startswith("# ")]
        table.add_row(name, _state(name), comments[1] if comments[1:] else "")
    return table


def _state(name: str) -> str:
    """Number of test clips of a set, or "not here" if it cannot be read as `conf/data` states."""
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
    if _known(name, [*SAMPLES, *config_names("data")]) in SAMPLES:
        if photographs is not None:
            raise ConfigError(f"{name} is not made from photographs: drop --photographs.")
        _fetch_samples(
            console, root or Path(os.environ.get("SPIKEREC_DATA", "data")) / SAMPLES[name]
        )
        return
    from spikerec.data.clips import MadeSet
    from spikerec.data.photos import Photos

    place: dict[str, Any] = {"root": str(root)} if root else {}
    if photographs is not None:
        if not isinstance(build("data", name), Photos):
            raise ConfigError(f"{name} takes no photographs: drop --photographs.")
        place |= {"sources": None} if photographs == "skimage" else {"photographs": photographs}
    found = build("data", name, **place)
    if not isinstance(found, MadeSet):
        able = [one for one in config_names("data") if isinstance(build("data", one), MadeSet)]
        raise ConfigError(
            f"spikerec data fetch {name}: nothing of that name can be fetched; expected one of "
            f"{', '.join([*SAMPLES, *able])}."
        )
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(f"fetching {name}", total=None)
        shown: list[int] = []

        def show(done: int, total: int) -> None:
            shown.append(done)
            bar.update(task, completed=done, total=total)

        found.fetch(report=partial(say, console), progress=show)
    say(console, f"{'' if shown else 'done before, '}{name} is in {found.root}")


def _fetch_samples(console: Console, root: Path) -> None:
    from spikerec.data.samples import fetch_reds_samples, missing_reds_samples

    state = "" if missing_reds_samples(root) else "done before, "
    files = fetch_reds_samples(root)
    streams = [path for path in files if path.suffix == ".dat"]
    say(console, f"{state}{len(streams)} streams with their images in {root}")

"""Try a GPU in at most ten minutes: python -m benchmarks.gpu [--only PART …].

Tests, every section of `benchmarks.device`, and a training of the default network on scenes that
are simulated on the device. Each part has a process and a time of its own: one that takes longer is
ended, what it found until then is kept, and what it leaves of its time goes to the parts after it.
After each part, `results.md` and `results.json` in the folder state all that was found so far.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console

from benchmarks import device as sections
from spikerec.errors import ConfigError
from spikerec.fetch import write_atomically
from spikerec.kernels.devices import device_name, present_device
from spikerec.training.curves import read_rows

#: Seconds of all parts: ten minutes with the start of this program.
SECONDS = 580.0
#: Seconds between asking a process to end and ending it.
PATIENCE_S = 3.0
#: Share of a part's time after which it begins nothing new.
BEGINS = 0.85
#: Seconds in which the training starts, measures its step, and validates.
AROUND_TRAINING_S = 45.0
TESTS = Path(__file__).parents[1] / "tests"
NETWORK = "fast_wide"

Figure = dict[str, Any]
State = Literal["finished", "stopped", "failed"]


@dataclass(frozen=True)
class Part:
    """Something to do in a process of its own.

    Attributes:
        name: that of its files in the folder.
        title: for people.
        share: of the time of all.
        command: seconds it has → its words.
        figures: what it left in its folder, also where it was stopped.
        headings: of the table.
        cells: of a figure, under the headings.
    """

    name: str
    title: str
    share: float
    command: Callable[[float], Sequence[str]]
    figures: Callable[[], Iterable[Figure]]
    headings: tuple[str, ...] = ("what", "figure")
    cells: Callable[[Figure], tuple[str, ...]] = lambda figure: (
        figure["what"],
        f"{figure['value']:.4g} {figure.get('unit', '')}".rstrip(),
    )


@dataclass(frozen=True)
class Done:
    """A part that has ended.

    Attributes:
        part: that it was.
        state: `stopped` if its time was over, `failed` if it ended with an error.
        seconds: it took.
        limit_s: seconds it had.
        figures: what it found.
    """

    part: Part
    state: State
    seconds: float
    limit_s: float
    figures: list[Figure] = field(default_factory=list)


def run_parts(
    parts: Sequence[Part], seconds: float, folder: Path, machine: Mapping[str, Any]
) -> list[Done]:
    """Run the parts in turn within a time, and write what they found after each.

    Args:
        parts: in order.
        seconds: for all of them; each has the share of what is left that it has of the rest.
        folder: for logs and figures; files of earlier runs in it are replaced.
        machine: facts to state.
    """
    console = Console(soft_wrap=True, highlight=False)
    until = time.monotonic() + seconds
    folder.mkdir(parents=True, exist_ok=True)
    done: list[Done] = []
    for index, part in enumerate(parts):
        left = until - time.monotonic() - PATIENCE_S
        limit_s = max(left, 0) * part.share / sum(one.share for one in parts[index:])
        start = time.monotonic()
        with console.status(part.title):
            state = _run(part.command(limit_s), limit_s, folder / f"{part.name}.log")
        took = time.monotonic() - start
        done.append(Done(part, state, took, limit_s, list(part.figures())))
        write(done, folder, machine)
        console.print(f"{part.title}: {state} after {took:.0f} s of {limit_s:.0f} s")
    return done


def _run(words: Sequence[str], limit_s: float, log: Path) -> State:
    """Run a command, its output in a file, for at most so many seconds."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            words, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            return "failed" if process.wait(timeout=limit_s) else "finished"
        except subprocess.TimeoutExpired:
            return "stopped"
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started, with a moment to save what it has."""
    for ending in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, ending)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=PATIENCE_S)


def write(done: Sequence[Done], folder: Path, machine: Mapping[str, Any]) -> None:
    """Write what was found, for programs and for people."""
    content = {
        "machine": dict(machine),
        "parts": [
            {
                "name": one.part.name,
                "state": one.state,
                "seconds": one.seconds,
                "limit_s": one.limit_s,
                "figures": one.figures,
            }
            for one in done
        ],
    }
    write_atomically(folder / "results.json", (json.dumps(content, indent=2) + "\n").encode())
    write_atomically(folder / "results.md", report(done, machine).encode())


def report(done: Sequence[Done], machine: Mapping[str, Any]) -> str:
    """A heading and a table for each part."""
    lines = ["# " + str(machine["device"]), ""]
    lines += [f"* {key}: {value}" for key, value in machine.items() if key != "device"]
    for one in done:
        lines += ["", f"## {one.part.title}", ""]
        lines += [f"{one.state.capitalize()} after {one.seconds:.0f} s of {one.limit_s:.0f} s.", ""]
        if one.figures:
            rows = [one.part.headings, ["---"] * len(one.part.headings)]
            rows += [one.part.cells(figure) for figure in one.figures]
            lines += [f"| {' | '.join(row)} |" for row in rows]
        else:
            lines += [f"Nothing was found: see {one.part.name}.log."]
    return "\n".join(lines) + "\n"


def all_parts(options: argparse.Namespace) -> list[Part]:
    """The parts of the benchmark, in order."""
    folder: Path = options.output
    shares = {"networks": 4.0, "training": 1.0, "ceilings": 0.5}
    return [
        Part(
            "tests",
            "Tests that need a GPU",
            1.0,
            lambda _: test_command(),
            partial(test_figures, folder / "tests.log"),
        ),
        *(
            Part(
                name,
                f"Throughput: {name}",
                shares.get(name, 0.5),
                partial(section_command, name, options),
                partial(section_figures, name, folder),
                sections.HEADINGS,
                lambda figure: sections.cells(sections.Row(**figure)),
            )
            for name in sections.SECTIONS
        ),
        Part(
            "run",
            f"A training of {NETWORK} on scenes simulated on the device",
            2.0,
            partial(run_command, options),
            partial(run_figures, folder / "run" / "metrics.csv"),
        ),
    ]


def test_command() -> list[str]:
    """The tests marked `gpu`, looked for in the files that have some."""
    files = [path for path in TESTS.rglob("test_*.py") if "pytest.mark.gpu" in path.read_text()]
    options = ("-m", "gpu and not slow", "-v", "--color=no", "-p", "no:cacheprovider")
    return [sys.executable, "-m", "pytest", *options, *map(str, sorted(files))]


def test_figures(log: Path) -> list[Figure]:
    """Count the tests by how they ended, until now."""
    ends = re.findall(r"^\S+::.* (PASSED|FAILED|ERROR|SKIPPED)", log.read_text(), re.MULTILINE)
    return [
        {"what": end.lower(), "value": ends.count(end)} for end in sorted(set(ends), reverse=True)
    ]


def section_command(name: str, options: argparse.Namespace, seconds: float) -> list[str]:
    """A section of the benchmark."""
    words = [sys.executable, "-m", "benchmarks.device", name, "--device", options.device]
    words += ["--folder", str(options.output), "--seconds", str(BEGINS * seconds)]
    words += ["--networks", *options.networks] if options.networks else []
    (options.output / f"{name}.json").unlink(missing_ok=True)
    return [*words, "--tiny"] if options.tiny else words


def section_figures(name: str, folder: Path) -> list[Figure]:
    """The rows of a section."""
    return [asdict(row) for row in sections.measured(folder, name)]


def run_command(options: argparse.Namespace, seconds: float) -> list[str]:
    """A training, for as long as there is time."""
    kind, _, index = options.device.partition(":")
    sets = "data.sets.photos_live"
    budget_s = 1.0 if options.tiny else max(BEGINS * (seconds - AROUND_TRAINING_S), 1.0)
    words = [
        *("train", "experiment=budget/gpu", f"model={NETWORK}", "data=photos_live", "loss=log_mse"),
        *("overwrite=true", f"hydra.run.dir={options.output}/run", f"paths.data={options.output}"),
        *(f"{sets}.sources=null", f"{sets}.on_first_use=true", f"{sets}.scenes.val=2"),
        *("data.num_workers=0", "data.val_samples=8", "trainer.enable_progress_bar=false"),
        *("trainer.max_epochs=4", f"budget.seconds={budget_s:.0f}"),
    ]
    words += ["trainer.accelerator=cpu"] if kind == "cpu" else []
    words += [f"trainer.devices=[{index}]"] if index else []
    if options.tiny:
        words += ["model=fast", "data.crop=[16,16]", "data.batch_size=2", "data.val_samples=2"]
        words += [f"{sets}.height=32", f"{sets}.width=32", "trainer.max_epochs=1"]
    return [str(Path(sys.executable).with_name("spikerec")), *words]


def run_figures(curves: Path) -> list[Figure]:
    """Return the length, pace and scores that a training has come to."""
    rows = read_rows(curves)
    last = {key: value for row in rows.values() for key, value in row.items()}
    named = {
        "time/samples_per_second": ("samples a second", ""),
        "time/data": ("a step's wait for data", "ms"),
        "time/forward": ("a step's forward pass", "ms"),
        "time/backward": ("a step's backward pass", "ms"),
        "time/update": ("a step's update", "ms"),
        "train/loss": ("training loss", ""),
        "val/psnr": ("PSNR in validation", "dB"),
        "val/ssim": ("SSIM in validation", ""),
    }
    steps = [{"what": "optimizer steps", "value": max(rows) + 1}] if rows else []
    return steps + [
        {"what": what, "value": float(last[key]), "unit": unit}
        for key, (what, unit) in named.items()
        if key in last
    ]


def machine_facts(device: torch.device, seconds: float) -> dict[str, Any]:
    """Place and time, for the report's head."""
    return {
        "device": device_name(device),
        "host": device_name(torch.device("cpu")),
        "load when it began": round(os.getloadavg()[0], 2),
        "PyTorch": torch.__version__,
        "CUDA": torch.version.cuda if device.type == "cuda" else None,
        "cuDNN": torch.backends.cudnn.version() if device.type == "cuda" else None,
        "began": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seconds in all": seconds,
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the parts, and say where the results are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    names = ["tests", *sections.SECTIONS, "run"]
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, cpu")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="PART")
    parser.add_argument("--networks", nargs="+", choices=sections.FULL.names, metavar="NAME")
    parser.add_argument("--tiny", action="store_true", help="pictures of a few pixels, for a CPU")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all parts together")
    parser.add_argument("--output", type=Path, default=Path("outputs/gpu"))
    options = parser.parse_args(arguments)
    try:
        device = present_device(options.device)
    except ConfigError as error:
        parser.error(str(error))
    parts = [part for part in all_parts(options) if part.name in options.only]
    facts = machine_facts(device, options.seconds)
    done = run_parts(parts, options.seconds, options.output, facts)
    Console(soft_wrap=True, highlight=False).print(options.output / "results.md", style="dim")
    sys.exit(any(one.state == "failed" for one in done))


if __name__ == "__main__":
    main()

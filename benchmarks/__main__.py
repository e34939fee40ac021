"""Measure how fast spikerec is: python -m benchmarks [--only NAME …] [--quick]."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import commands, data, engines, networks
from benchmarks.harness import Benchmark, Measured, measure
from benchmarks.startup import Startup, measure_startups
from spikerec.kernels.devices import device_name
from spikerec.memory import keep_freed_memory

BENCHMARKS: tuple[Benchmark, ...] = (
    *data.BENCHMARKS,
    *commands.BENCHMARKS,
    *networks.BENCHMARKS,
    *engines.BENCHMARKS,
)
PAIRS = 9
LIMIT_S = 60


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table, write the figures."""
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[*names, "startup"], metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, three pairs")
    parser.add_argument("--output", type=Path, default=Path("outputs/bench.json"))
    options = parser.parse_args(arguments)
    wanted = options.only or [*names, "startup"]
    size, pairs = ("quick", 3) if options.quick else ("full", PAIRS)

    console = Console()
    keep_freed_memory()
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        for benchmark in BENCHMARKS:
            if benchmark.name in wanted:
                with console.status(benchmark.name):
                    measured.append(
                        measure(benchmark, size, Path(folder), pairs=pairs, limit_s=LIMIT_S)
                    )
    startups = measure_startups() if "startup" in wanted else []
    console.print(table(measured, startups))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report(measured, startups, size), indent=2) + "\n")
    console.print(f"[dim]{options.output}[/]")


def table(measured: list[Measured], startups: list[Startup]) -> Table:
    """The figures as people read them."""
    result = Table(title=machine(), title_justify="left")
    for heading in (
        "what",
        "against",
        "size",
        "threads",
        "goal",
        "ratio",
        "quartiles",
        "by CPU",
        "ours",
    ):
        result.add_column(heading)
    for one in measured:
        colour = "green" if one.is_met else "red"
        result.add_row(
            f"{one.what}\n[dim]{one.note}[/]" if one.note else one.what,
            one.against,
            " × ".join(map(str, one.size)),
            str(one.threads),
            f"≥ {one.goal:.3g}",
            f"[{colour}]{one.ratio:.3g} ×[/]",
            f"{one.quartiles[0]:.3g} to {one.quartiles[1]:.3g}",
            f"{one.cpu_ratio:.3g} ×",
            f"{1e3 * one.ours_s:.3g} ms",
        )
    for start in startups:
        colour = "green" if start.is_met else "red"
        seconds, cpu = f"{start.median_s:.2f} s", f"[{colour}]{start.cpu_s:.2f} s[/]"
        result.add_row(start.what, "", "", "", f"≤ {start.goal_s:g} s", seconds, "", cpu, "")
    return result


def report(measured: list[Measured], startups: list[Startup], size: str) -> dict[str, Any]:
    """All figures, and where and when they were taken."""
    return {
        "machine": machine(),
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "size": size,
        "ratios": [asdict(one) | {"is_met": one.is_met} for one in measured],
        "startups": [asdict(one) | {"is_met": one.is_met} for one in startups],
    }


def machine() -> str:
    """The processor and the threads used of it."""
    return device_name(torch.device("cpu"))


if __name__ == "__main__":
    main()

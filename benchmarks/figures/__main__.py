"""Measure the figures that documents state, and write them: python -m benchmarks.figures."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from benchmarks import ends, zoo
from benchmarks.figures import bits, card, overview, records, robustness, videos
from benchmarks.figures.measuring import CARD
from benchmarks.figures.pages import write
from benchmarks.zoo import ROOT
from spikerec.memory import keep_freed_memory

DOCS = ROOT / "docs"


class Figures(NamedTuple):
    """A table and its document."""

    page: Path
    make: Callable[[], str]


FIGURES: Mapping[str, Figures] = {
    "card-reds": Figures(CARD, card.reds),
    "card-still": Figures(CARD, card.still),
    "card-pattern": Figures(CARD, card.pattern),
    "card-bits": Figures(CARD, bits.bits),
    "results": Figures(ROOT / "README.md", overview.results),
    "protocols": Figures(DOCS / "protocols.md", overview.protocols),
    "breakdown": Figures(DOCS / "robustness.md", robustness.breakdown),
    "still": Figures(DOCS / "robustness.md", robustness.still),
    "hot-pixels": Figures(DOCS / "robustness.md", robustness.hot_pixels),
    "fixed-pattern": Figures(DOCS / "robustness.md", robustness.fixed_pattern),
    "estimated-pattern": Figures(DOCS / "robustness.md", robustness.estimated_pattern),
    "videos": Figures(DOCS / "video_metrics.md", videos.measured),
    "ends": Figures(ROOT / "benchmarks" / "RESULTS.md", ends.figures),
}
#: Parts that come before all tables, and after them.
RECORDS, ZOO = "records", "zoo"


def main(arguments: list[str] | None = None) -> None:
    """Evaluate what has no record, measure, and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.figures", description=__doc__)
    names = [RECORDS, *FIGURES, ZOO]
    parser.add_argument(
        "--only",
        nargs="+",
        choices=names,
        default=names,
        metavar="NAME",
        help=f"one or several of {', '.join(names)} (default: all)",
    )
    parser.add_argument("--print", action="store_true", help="print tables, and write nothing")
    options = parser.parse_args(arguments)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    keep_freed_memory()
    for name in [name for name in names if name in options.only]:
        start, cpu = time.perf_counter(), time.process_time()
        if options.print and name in FIGURES:
            console.print(FIGURES[name].make())
            done = "measured"
        elif options.print:
            continue
        else:
            done = _write(name)
        spent, cpu = time.perf_counter() - start, time.process_time() - cpu
        console.print(f"{name}: {done} ({spent:.0f} s, {cpu:.0f} s of processor time)")


def _write(name: str) -> str:
    """Renew one part; whether it changed, in a word."""
    if name == RECORDS:
        return f"{records.renew()} evaluated"
    if name == ZOO:
        zoo.PAGE.write_text(zoo.page(), encoding="utf-8")
        return "written"
    return "changed" if write(FIGURES[name].page, name, FIGURES[name].make()) else "as it was"


if __name__ == "__main__":
    main()

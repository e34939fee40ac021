"""`make torture`: run the trials, or the long watch (`--soak`), and print the table."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from spikerec.cli import verbs
from tests.torture.cases import cases, prepare, surroundings
from tests.torture.faults import KINDS
from tests.torture.processes import host
from tests.torture.soaking import soak
from tests.torture.trials import summary, torture

TRIALS_HEADING = ("fault", "verb", "tried", "survived", "told badly", "lost")
SOAK_HEADING = ("soak", "made", "MB", "threads", "files", "made a core-second")
SOAK_WIDTH = 16


def main() -> int:
    """Run the trials and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--trials", type=int, default=3, help="of each kind and case (default: 3)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--case", help="this one, or those whose name begins so (default: all)", default=""
    )
    parser.add_argument("--fault", choices=KINDS, action="append", help="default: all")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="watch long commands instead")
    options = parser.parse_args()
    for verb in verbs():
        importlib.import_module(f"spikerec.apps.{verb}")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path(folder).chmod(0o755)
        prepare()
        if options.soak:
            found = _watched(options.soak)
            os.chdir("/")
            return found
        same = [case for case in cases() if case.name == options.case]
        chosen = same or [case for case in cases() if case.name.startswith(options.case)]
        with host() as url:
            surroundings(url)
            tallies = torture(chosen, options.fault or KINDS, options.trials, options.seed)
        os.chdir("/")
    found = [
        f"{name}, {kind}: {complaint}"
        for (kind, name), tally in tallies.items()
        for complaint in (*tally.told_badly, *tally.lost)
    ]
    return _tell(TRIALS_HEADING, summary(tallies), found)


def _watched(minutes: float) -> int:
    """Watch the long commands, and print each row as it comes; the status of them as a whole."""
    sys.stdout.write(_line(SOAK_HEADING))
    status = 0
    for row, complaint in soak(minutes):
        status |= bool(complaint)
        sys.stdout.write(_line(row) + (complaint and f"{complaint}\n"))
        sys.stdout.flush()
    return status


def _line(cells: Sequence[str]) -> str:
    return "  ".join(cell.ljust(SOAK_WIDTH) for cell in cells).rstrip() + "\n"


def _tell(heading: Sequence[str], rows: list[list[str]], complaints: list[str]) -> int:
    """Print a table and the complaints; the status of the trials as a whole."""
    table = [list(heading), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(heading))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in table
    ]
    sys.stdout.write("\n".join([*lines, *complaints]) + "\n")
    return int(bool(complaints))


if __name__ == "__main__":
    sys.exit(main())

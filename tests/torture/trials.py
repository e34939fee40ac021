"""One trial of a command, the judgement of what it left, and many of them."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.torture.cases import OUT, Case, begin, files, leftovers
from tests.torture.faults import DEAD_CHILD, FAULTS, SIGNALS, TWO_AT_ONCE, readable_again
from tests.torture.processes import HUNG, Command, End, run

#: Words of which a completed command says one when it is repeated.
DONE = ("done before", "finished before", "already on this machine", "cache")

#: Parts of the names of files that may be there before a command has ended: runs and records, which
#: grow, what the next command goes on with, and what Hydra notes of a sweep.
GROWING = ("runs/", "results", ".partial", ".unfinished.", "downloads/", "multirun.yaml")

#: Statuses of a command that was interrupted, or ended by SIGTERM.
ENDED = (130, 143)


@dataclass
class Tally:
    """Trials of one fault over one command.

    Attributes:
        tried: how many there were.
        told_badly: complaints about what the command said, or that it hung.
        lost: complaints about what it left.
    """

    tried: int = 0
    told_badly: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def trial(case: Case, kind: str, whole: dict[str, str], seconds: float) -> tuple[str, str]:
    """Complaints about one trial: about what was said, and about what was left; empty if none."""
    begin(case)
    ends, moment = _disturbed(case, kind, seconds)
    readable_again()
    OUT.mkdir(exist_ok=True)  # a command that wrote nothing removes its folders
    for one in (OUT, *OUT.rglob("*")):
        if one.is_dir():
            one.chmod(0o755)
    for end in ends:
        if told := _said(end):
            return f"{told} (after {moment:.2f} s)", ""
    if case.seconds is not None:
        return "", ""  # it leaves nothing
    by_itself = kind not in (*SIGNALS, DEAD_CHILD)
    if by_itself and all(end.status == 0 for end in ends) and files() != whole:
        return "", f"status 0, other files: {_unlike(whole)}"
    for name, content in files().items():
        if not (any(part in name for part in GROWING) or whole.get(name) == content):
            return "", f"{name} is not whole after {moment:.2f} s"
    again = run((*case.words, *case.again))
    if again.status:
        return "", f"again: status {again.status}: {again.err[-300:]} (after {moment:.2f} s)"
    if files() != whole:
        return "", f"again: other files: {_unlike(whole)}"
    return "", f"left behind: {left}" if (left := leftovers()) else ""


def _disturbed(case: Case, kind: str, seconds: float) -> tuple[list[End], float]:
    """Run a command, or two, with a fault: how each ended, and when it was disturbed."""
    moment = random.uniform(0, 1.1 * seconds)  # noqa: S311 (trials, not secrets)
    if kind == TWO_AT_ONCE:
        two = [Command(case.words, name=name) for name in ("first", "second")]
        if case.seconds is not None:
            for command in two:
                command.signal_at(signal.SIGINT, case.seconds)
        return [command.end() for command in two], 0.0
    command = Command(case.words, FAULTS.get(kind))
    if kind in SIGNALS:
        command.signal_at(SIGNALS[kind], moment)
    elif kind == DEAD_CHILD:
        command.kill_a_child(moment)
    if case.seconds is not None:
        command.signal_at(signal.SIGINT, case.seconds if kind not in SIGNALS else 0.0)
    return [command.end()], moment


def _said(end: End) -> str:
    """The complaint about what a command said; empty if it told its end well."""
    if end.status == HUNG:
        return f"hung: {end.err[-6000:]}"
    if any(words in end.err + end.out for words in ("Traceback", "Error in sys", "unexpected ")):
        return f"a trace: {end.err[-400:]}"
    told = [line for line in end.err.splitlines() if line.startswith("spikerec: ")]
    if told and "SweepError" in told[-1]:  # before it, one line for each job that failed
        told = told[-1:]
    if end.status > 0 and end.status not in ENDED and len(told) != 1:
        return f"status {end.status} in {len(end.err.splitlines())} lines: {end.err[-300:]}"
    return ""


def _unlike(whole: dict[str, str]) -> list[tuple[str, str]]:
    return sorted(set(files().items()) ^ set(whole.items()))


def repeated(case: Case, whole: dict[str, str]) -> str:
    """The complaint about a completed command that is run again; empty if it says it is done."""
    end = run(case.words)
    if end.status:
        return f"repeated: status {end.status}: {end.err[-300:]}"
    if files() != whole:
        return f"repeated: other files: {_unlike(whole)}"
    if not any(words in end.out for words in DONE) and not case.anew:
        return f"repeated, it does not say that it is done: {end.out[-300:]}"
    return ""


def torture(
    chosen: Sequence[Case], kinds: Sequence[str], trials: int, seed: int
) -> dict[tuple[str, str], Tally]:
    """Try each fault on each command, so many times: the tallies by fault and command."""
    random.seed(seed)
    tallies: dict[tuple[str, str], Tally] = {}
    for case in chosen:
        begin(case)
        began = time.monotonic()
        command = Command(case.words)
        if case.seconds is not None:
            command.signal_at(signal.SIGINT, case.seconds)
        end = command.end()
        seconds = time.monotonic() - began
        alone = tallies[("none", case.name)] = Tally(1)
        if end.status not in (0, 130) or _said(end):
            alone.told_badly.append(f"undisturbed: status {end.status}: {_said(end)[-3000:]}")
            continue
        whole = files()
        if case.seconds is None and (complaint := repeated(case, whole)):
            alone.told_badly.append(complaint)
        _report(case, "repeated", "".join(alone.told_badly))
        for kind in kinds:
            tally = tallies[(kind, case.name)] = Tally()
            for _ in range(trials):
                tally.tried += 1
                told, lost = trial(case, kind, whole, seconds)
                tally.told_badly += [told] if told else []
                tally.lost += [lost] if lost else []
                _report(case, kind, told or lost)
    return tallies


def _report(case: Case, kind: str, complaint: str) -> None:
    sys.stderr.write(f"{case.name}, {kind}: {complaint or 'survived'}\n")


def summary(tallies: dict[tuple[str, str], Tally]) -> list[list[str]]:
    """Rows of the table: fault, verb, tried, survived, told badly, lost."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for (kind, name), tally in tallies.items():
        one = counts.setdefault((kind, name.split()[0]), Counter())
        one["tried"] += tally.tried
        one["told badly"] += len(tally.told_badly)
        one["lost"] += len(tally.lost)
    rows = []
    for (kind, verb), one in counts.items():
        survived = one["tried"] - one["told badly"] - one["lost"]
        figures = (one["tried"], survived, one["told badly"], one["lost"])
        rows.append([kind, verb, *map(str, figures)])
    return rows

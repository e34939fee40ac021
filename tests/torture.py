"""Kill and fault trials over the verbs: `make torture`, or `python -m tests.torture --trials 20`.

Each trial runs a command in a folder of its own, in a process that ends in the middle of it
(SIGKILL or SIGINT at a random moment) or meets a fault of the machine (a full disk, no memory, a
folder that may not be written, few open files, a reader that has gone, an ASCII terminal). Then

- a file under a final name must be whole: equal to that of a run which nothing has disturbed;
- a command that failed must have said so in one line, without a trace;
- the same command again must end with status 0 and those very files, and leave nothing else behind.

The process is forked from one that has imported everything, so that a trial takes about a second.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import importlib
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch

from spikerec import cli
from spikerec.cli import verbs
from spikerec.configs import build
from spikerec.parsing import RUN_DOCUMENT, read_json
from spikerec.results.store import Problem, Store
from spikerec.weights import read_state
from spikerec.weights.checkpoint import digest
from tests.fakes import fake_image, fake_reds, fake_spikes, write_image
from tests.results.records import make_record
from tests.soak import frames_of, judge, make_long_stream, steps_of, watch
from tests.training.command import words as training_words

STATE = Path("state")  # what a case begins with
OUT = Path("out")  # and what it makes

#: Files that hold times, or numbers drawn anew: of them it counts that they are whole.
MOVING = (".pt2", ".json", ".html")

#: Seconds after which a command that has not ended counts as hung, and its status then.
LONGEST_SECONDS, HUNG = 180, 255


def prepare() -> None:
    """Inputs of all cases, in the present folder."""
    STATE.mkdir()
    np.save(STATE / "car.npy", fake_spikes(900, 24, 40))
    write_image(STATE / "photo.png", fake_image(60, 80))
    fake_reds(STATE / "reds")
    network = build("model", "fast").state_dict()
    named = {f"network.{name}": tensor for name, tensor in network.items()}
    (STATE / "run" / "checkpoints").mkdir(parents=True)
    content = {"pytorch-lightning_version": "2", "state_dict": named, "spikerec": {"model": {}}}
    torch.save(content, STATE / "run" / "checkpoints" / "best.ckpt")
    torch.save(network, STATE / "authors.pth")
    for label in ("TFI", "STIR"):
        make_record(label).write(STATE / "records")


def files() -> dict[str, str]:
    """Every file that was made, by name, with a digest of what counts in it.

    Records and checkpoints hold times: of a record it counts that it can be read and that its
    pictures are there, of a checkpoint its weights.
    """
    found = {}
    for path in sorted(OUT.rglob("*")):
        if path.is_dir() or any(part.startswith(".") for part in path.parts):
            continue
        name = str(path.relative_to(OUT))
        if path.suffix == ".ckpt":
            found[name] = digest(read_state(path))
        elif path.suffix in MOVING and "results" not in path.parts:
            found[name] = "whole" if is_whole(path) else "broken"
        elif "results" not in path.parts and path.suffix not in (".csv", ".log", ".txt"):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    if (OUT / "results").is_dir():
        items = list(Store(OUT / "results").scan())
        broken = [item for item in items if isinstance(item, Problem)]
        assert not broken, broken
        roles = [role for item in items for role in getattr(item, "images", {}).values()]
        assert all((OUT / "results" / path).is_file() for role in roles for path in role.values())
        found["results"] = "whole"
    return found


def is_whole(path: Path) -> bool:
    """True if a file of JSON, a page, or an archive can be read to its end."""
    if path.suffix == ".html":
        return path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    if path.suffix == ".json":
        return bool(read_json(path, RUN_DOCUMENT))
    with zipfile.ZipFile(path) as archive:
        return archive.testzip() is None


def leftovers() -> list[str]:
    """What nobody asked for: temporary files and locks."""
    names = (".writing", ".lock")
    return [str(p) for p in OUT.rglob("*") if p.name in names or p.name.endswith(".partial")]


@dataclass(frozen=True)
class Case:
    """A command, the same one each time.

    Attributes:
        name: for the table.
        words: of the command.
        again: what people add to go on.
        seconds: after which people end it by Ctrl-C; None for one that ends by itself.
        refuses: True where the same command again refuses to replace what it has made.
    """

    name: str
    words: tuple[str, ...]
    again: tuple[str, ...] = ()
    seconds: float | None = None
    refuses: bool = False


RECONSTRUCT = ("reconstruct", "input=state/car.npy", "model=tfp", "stride=5", "device=cpu")
SIMULATE = ("simulate", "input=state/photo.png", "images=12", "size=[40,48]", "device=cpu")
QUICK = ("efficiency=null", *(f"~protocol.metrics.{name}" for name in ("lpips", "niqe", "brisque")))

BENCH = (
    *("size=[24,40]", "latency_sizes=[[24,40]]", "repeats=2", "warmup=1", "device=cpu"),
    *("paths.outputs=out", "name=mine"),
)


def cases() -> list[Case]:
    """All of them."""
    reds, runs = STATE / "reds", OUT / "runs"
    train = training_words("train", reds, runs, "name=mine", "trainer.max_epochs=2")
    evaluate = training_words("evaluate", reds, OUT, *QUICK, model="tfp")
    imported = ("weights", "import", "state/authors.pth", "--model", "fast")
    pack = ("weights", "pack", "state/run/checkpoints/best.ckpt", "--model", "fast")
    return [
        *(
            Case(f"reconstruct {kind}", (*RECONSTRUCT, f"output=out/{kind}"), ("resume=true",))
            for kind in ("a.npy", "a.h5", "a.mp4", "a.gif", "pictures")
        ),
        *(Case(f"simulate {kind}", (*SIMULATE, f"output=out/{kind}")) for kind in ("s.npz", "set")),
        Case("train", tuple(train)),
        Case("evaluate", tuple(evaluate)),
        Case("weights import", (*imported, "--output", "out/fast.safetensors")),
        Case(
            "export", ("export", "model=fast", "size=[24,40]", "output=out/fast.pt2"), refuses=True
        ),
        Case("bench", ("bench", "model=tfp", *BENCH)),
        Case("leaderboard", ("leaderboard", "results=state/records", "output=out/board")),
        Case("view", ("view", "state/car.npy", "--method", "tfp"), seconds=4.0),
        Case("weights pack", (*pack, "--output", "out/fast.safetensors")),
        Case("data inspect", ("data", "inspect", "state/car.npy", "--output", "out/seen.png")),
    ]


class End(NamedTuple):
    """How a command ended: its status (minus the signal that killed it), and what it said."""

    status: int
    out: str
    err: str


Fault = Callable[[], None]


def run(
    words: tuple[str, ...], fault: Fault | None = None, end: tuple[int, float] | None = None
) -> End:
    """Run a command in a process, which a fault is set up in, or which ends by a signal in time."""
    child = start(words, fault)
    if end is not None:
        signum, seconds = end
        time.sleep(seconds)
        with suppress(ProcessLookupError):
            os.kill(child, signum)
    status = _ended(child)
    return End(status, Path("stdout").read_text(), Path("stderr").read_text())


def start(words: tuple[str, ...], fault: Fault | None = None, *, repeats: bool = False) -> int:
    """Start a command in a process of its own, which runs it again and again where it repeats."""
    for name in ("stdout", "stderr"):
        Path(name).write_text("")
    child = os.fork()
    if child == 0:
        try:
            _be_the_command(words, fault, repeats)
        finally:  # a signal may come at any moment: this process never becomes the trials' own
            os._exit(1)
    return child


def _be_the_command(words: tuple[str, ...], fault: Fault | None, repeats: bool) -> None:
    os.setsid()
    faulthandler.register(signal.SIGUSR2, all_threads=True)  # where it hangs
    for stream, name in ((sys.stdout, "stdout"), (sys.stderr, "stderr")):
        os.dup2(os.open(name, os.O_WRONLY), stream.fileno())
    status = 0
    try:
        encoding = "ascii" if fault is ascii_terminal else "utf-8"
        if fault is not None:
            fault()
        sys.stdout = sys.__stdout__ = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
        sys.argv = ["spikerec", *words]
        cli.main()
        while repeats:
            cli.main()
    except SystemExit as stop:
        status = int(stop.code or 0)
    except BaseException as error:  # noqa: BLE001 (the trial fails by it)
        os.write(2, f"Traceback: {error!r}".encode())
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _ended(child: int) -> int:
    """The status of a process, which is killed when it has hung for `LONGEST_SECONDS`."""
    until = time.monotonic() + LONGEST_SECONDS
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > until:
            os.kill(child, signal.SIGUSR2)
            time.sleep(1)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return HUNG
        time.sleep(0.02)
    return os.waitstatus_to_exitcode(ended[1])


def full_disk() -> None:
    """No file grows beyond a few bytes, or beyond some hundred kilobytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    most = random.choice([200, 3_000, 30_000, 300_000])  # noqa: S311 (trials, not secrets)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def no_memory() -> None:
    """A few megabytes more than there are in use."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    more = random.choice([1, 8, 32]) << 20  # noqa: S311
    resource.setrlimit(resource.RLIMIT_AS, (used + more, used + more))


def no_permission() -> None:
    """Another user, who may read all and write nothing."""
    if os.geteuid() == 0:  # who may write everywhere
        os.setegid(65534)
        os.seteuid(65534)
    else:
        OUT.chmod(0o500)


def few_files() -> None:
    """A handful more open files than there are."""
    used = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 4, used + 4))


def reader_gone() -> None:
    """Standard output is a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    os.dup2(writing, 1)


def output_full() -> None:
    """Standard output is a full disk."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def ascii_terminal() -> None:
    """Standard output knows ASCII alone."""


def clock_set_back() -> None:
    """The clock says that it is ten years ago."""

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) - timedelta(days=3_650)

    for name, module in list(sys.modules.items()):
        if name.startswith("spikerec.") and getattr(module, "datetime", None) is datetime:
            module.datetime = Earlier


FAULTS: dict[str, Fault] = {
    "full disk": full_disk,
    "no memory": no_memory,
    "no permission": no_permission,
    "few open files": few_files,
    "reader gone": reader_gone,
    "output on a full disk": output_full,
    "ASCII terminal": ascii_terminal,
    "clock set back": clock_set_back,
}
SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGINT": signal.SIGINT}


def ending(case: Case) -> tuple[int, float] | None:
    """How a command that does not end by itself is ended."""
    return None if case.seconds is None else (signal.SIGINT, case.seconds)


def trial(case: Case, kind: str, whole: dict[str, str], seconds: float) -> str:
    """The complaint about one trial; empty if nothing was lost."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    if kind in SIGNALS:
        moment = random.uniform(0, 1.1 * seconds)  # noqa: S311
        end = run(case.words, end=(SIGNALS[kind], moment))
    else:
        end = run(case.words, FAULTS[kind], end=ending(case))
        moment = 0.0
    OUT.mkdir(exist_ok=True)  # a command that wrote nothing removes its folders
    OUT.chmod(0o755)
    if end.status == HUNG:
        return f"hung: {end.err[-6000:][:1500]}"
    if "Traceback" in end.err + end.out or "Error in sys" in end.err:
        return f"a trace: {end.err[-300:]}"
    told = [line for line in end.err.splitlines() if line.startswith("spikerec: ")]
    if end.status > 0 and end.status != 130 and len(told) != 1:
        return f"status {end.status} in {len(end.err.splitlines())} lines: {end.err[-300:]}"
    if case.seconds is not None:
        return ""  # it leaves nothing
    if end.status == 0 and kind not in SIGNALS and files() != whole:
        return f"status 0, other files: {sorted(set(files().items()) ^ set(whole.items()))}"
    for name, content in files().items():
        if name.startswith("runs/"):  # a training's checkpoints move on until it is finished
            continue
        if not (".partial/" in name or whole.get(name) == content):
            return f"{name} is not whole after {moment:.2f} s"
    again = run((*case.words, *case.again))
    if again.status and not (case.refuses and whole == files() and "is there already" in again.err):
        return f"again: status {again.status}: {again.err[-300:]} (after {moment:.2f} s)"
    if files() != whole:
        return f"again: other files: {sorted(set(files().items()) ^ set(whole.items()))}"
    return f"left behind: {left}" if (left := leftovers()) else ""


def torture(chosen: list[Case], kinds: list[str], trials: int, seed: int) -> tuple[Counter, dict]:
    """Trials of each kind over the cases in turn: times tried and complaints by kind."""
    random.seed(seed)
    tried: Counter[str] = Counter()
    complaints: dict[str, list[str]] = {kind: [] for kind in kinds}
    for case in chosen:
        shutil.rmtree(OUT, ignore_errors=True)
        OUT.mkdir()
        began = time.monotonic()
        end = run(case.words, end=ending(case))
        seconds = time.monotonic() - began
        if end.status not in (0, 130):
            complaints[kinds[0]].append(f"{case.name}: undisturbed: {end.err[-300:]}")
            continue
        whole = files()
        for kind in kinds:
            for _ in range(trials):
                tried[kind] += 1
                complaint = trial(case, kind, whole, seconds)
                sys.stderr.write(f"{case.name}, {kind}: {complaint or 'survived'}\n")
                if complaint:
                    complaints[kind].append(f"{case.name}: {complaint}")
    return tried, complaints


def soak(minutes: float) -> tuple[list[list[str]], list[str]]:
    """Run the commands that take days, each for a third of the time: table rows and complaints."""
    make_long_stream(STATE / "long.npy")
    reds, runs = STATE / "reds", OUT / "runs"
    train = ("name=soak", "trainer.max_epochs=1000000", "data.samples_per_epoch=120")
    shown = (f"output={OUT / 'long.mp4'}", "stride=1", "device=cpu", "batch_size=8")
    parts = (
        (
            "training",
            training_words("train", reds, runs, *train),
            lambda: steps_of(runs / "train" / "soak" / "metrics.csv"),
        ),
        (
            "evaluation",
            training_words("evaluate", reds, OUT, *QUICK, "save_images=2", model="tfp"),
            lambda: len(list((OUT / "results").glob("*.json"))),
        ),
        (
            "streaming",
            ["reconstruct", f"input={STATE / 'long.npy'}", "model=fast", *shown],
            lambda: frames_of(OUT / "long.mp4.partial"),
        ),
    )
    rows, complaints = [], []
    for name, words, made in parts:
        shutil.rmtree(OUT, ignore_errors=True)
        OUT.mkdir()
        child = start(tuple(words), repeats=name == "evaluation")
        looks = watch(child, made, 60 * minutes / len(parts))
        os.kill(child, signal.SIGKILL)
        status = _ended(child)
        cells, complaint = judge(looks)
        rows.append([name, *cells])
        if complaint:
            complaints.append(f"{name}: {complaint}")
        if status not in (0, -signal.SIGKILL):
            complaints.append(f"{name}: status {status}: {Path('stderr').read_text()[-300:]}")
    return rows, complaints


def main() -> int:
    """Run the trials and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--trials", type=int, default=3, help="of each kind and case (default: 3)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", help="those whose name begins so (default: all)", default="")
    parser.add_argument("--fault", choices=[*SIGNALS, *FAULTS], action="append")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="watch long commands instead")
    options = parser.parse_args()
    for verb in verbs():
        importlib.import_module(f"spikerec.apps.{verb}")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path(folder).chmod(0o755)
        prepare()
        if options.soak:
            rows, found = soak(options.soak)
            os.chdir("/")
            return _tell(
                ("soak", "made", "MB", "threads", "files", "made a core-second"), rows, found
            )
        chosen = [case for case in cases() if case.name.startswith(options.case)]
        kinds = options.fault or [*SIGNALS, *FAULTS]
        tried, complaints = torture(chosen, kinds, options.trials, options.seed)
        os.chdir("/")
    lost = {kind: len(complaints[kind]) for kind in kinds}
    rows = [
        [kind, *map(str, (tried[kind], tried[kind] - lost[kind], lost[kind]))] for kind in kinds
    ]
    found = [f"{kind}: {one}" for kind in kinds for one in complaints[kind]]
    return _tell(("fault", "tried", "survived", "lost"), rows, found)


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

"""The commands that are tried, one or more of every verb, and the files that each must leave."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from spikerec.configs import build
from spikerec.errors import DataError
from spikerec.parsing import RUN_DOCUMENT, parsing, read_json
from spikerec.results.store import Problem, Store
from spikerec.simulation.opening import open_container
from spikerec.weights import named, read_state
from spikerec.weights.checkpoint import digest
from tests.fakes import fake_image, fake_reds, fake_spikes, write_dat, write_image
from tests.golden_cases import load_case
from tests.results.records import make_record
from tests.training.command import words as training_words

STATE = Path("state")  # what a case begins with
OUT = Path("out")  # and what it makes

#: Files that hold times, or numbers drawn anew: of them it counts that they are whole.
MOVING = (".pt2", ".json", ".html")

#: The published weights that `weights fetch` asks the trials' own host for.
PUBLISHED = ("wgse", "spikezoo")

#: An evaluation without the metrics that need weights, and without timings.
QUICK = ("efficiency=null", *(f"~protocol.metrics.{one}" for one in ("lpips", "niqe", "brisque")))


@dataclass(frozen=True)
class Case:
    """A command, the same one each time.

    Attributes:
        name: for the table; its first words are the verb.
        words: of the command.
        again: what people add to go on.
        seconds: after which people end it by Ctrl-C; None for one that ends by itself.
        given: files of `STATE` that lie in `OUT` from the beginning.
        anew: True where the same command again makes its file anew rather than say it is done.
        is_slow: True for a command of many seconds, of which there are fewer trials.
    """

    name: str
    words: tuple[str, ...]
    again: tuple[str, ...] = ()
    seconds: float | None = None
    given: tuple[str, ...] = ()
    anew: bool = False
    is_slow: bool = False


def prepare() -> None:
    """Make the inputs of all cases in the present folder."""
    STATE.mkdir()
    recordings = STATE / "recordings"
    recordings.mkdir()
    np.save(STATE / "car.npy", fake_spikes(900, 24, 40))
    for name in ("one", "two", "three"):
        np.save(recordings / f"{name}.npy", fake_spikes(300, 24, 40))
    write_dat(STATE / "car.dat", fake_spikes(90, 24, 40))
    write_image(STATE / "photo.png", fake_image(60, 80))
    fake_reds(STATE / "reds")
    (STATE / "pictures").mkdir()
    for seed in range(8):
        write_image(STATE / "pictures" / f"{seed}.png", fake_image(300, 400, seed))
    network = build("model", "fast").state_dict()
    state = {f"network.{name}": tensor for name, tensor in network.items()}
    (STATE / "run" / "checkpoints").mkdir(parents=True)
    content = {
        "pytorch-lightning_version": "2",
        "state_dict": state,
        "spikerec": {"model": {}},
    }
    torch.save(content, STATE / "run" / "checkpoints" / "best.ckpt")
    torch.save(network, STATE / "authors.pth")
    for label in ("TFI", "STIR"):
        make_record(label).write(STATE / "records")


def hosted() -> dict[str, bytes]:
    """The files that the trials' host serves, by the path they are asked for at a mirror."""
    path = STATE / "wgse.pth"
    torch.save(load_case(PUBLISHED[0]).state(), path)
    return {f"/{named.entry_of(*PUBLISHED).url}": path.read_bytes()}


def begin(case: Case) -> None:
    """Empty the folder of outputs, but for what the case finds there."""
    if OUT.exists():
        for one in (OUT, *OUT.rglob("*")):
            if one.is_dir() and not one.is_symlink():
                one.chmod(0o755)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    for name in case.given:
        shutil.copy(STATE / name, OUT)


def cases() -> list[Case]:
    """All of them."""
    reds, runs = STATE / "reds", OUT / "runs"
    reconstruct = ("reconstruct", "input=state/car.npy", "model=tfp", "stride=5", "device=cpu")
    simulate = ("simulate", "input=state/photo.png", "images=12", "size=[40,48]", "device=cpu")
    short = ("name=mine", "trainer.max_epochs=2")
    train = training_words("train", reds, runs, *short)
    loaded = training_words("train", reds, runs, *short, "data.num_workers=1")
    swept = training_words("train", reds, runs, "trainer.max_epochs=1", "seed=0,1", "name=swept")
    evaluate = training_words("evaluate", reds, OUT, *QUICK, model="tfp")
    compared = [word for word in evaluate if not word.startswith("model")]
    bench = (
        *("size=[24,40]", "latency_sizes=[[24,40]]", "repeats=2", "warmup=1", "device=cpu"),
        *("paths.outputs=out", "name=mine"),
    )
    packed = ("--model", "fast", "--output", "out/fast.safetensors")
    return [
        *(
            Case(f"reconstruct {kind}", (*reconstruct, f"output=out/{kind}"), ("resume=true",))
            for kind in ("a.npy", "a.h5", "a.mp4", "a.gif", "pictures")
        ),
        Case(
            "reconstruct devices",
            (*reconstruct, "devices=2", "output=out/d.npy"),
            ("resume=true",),
            is_slow=True,
        ),
        Case(
            "reconstruct recordings",
            (
                *("reconstruct", "state/recordings", "out/videos/", "folder=recordings"),
                *("model=tfp", "stride=20", "device=cpu"),
            ),
            is_slow=True,
        ),
        *(Case(f"simulate {kind}", (*simulate, f"output=out/{kind}")) for kind in ("s.npz", "set")),
        Case("train", tuple(train), is_slow=True),
        Case("train workers", tuple(loaded), is_slow=True),
        Case("train -m", ("train", "-m", *swept[1:]), is_slow=True),
        Case("evaluate", tuple(evaluate), anew=True, is_slow=True),
        Case(
            "evaluate -m",
            ("evaluate", "-m", "model=tfp,tfi", *compared[1:]),
            anew=True,
            is_slow=True,
        ),
        Case("weights import", ("weights", "import", "state/authors.pth", *packed)),
        Case("weights pack", ("weights", "pack", "state/run/checkpoints/best.ckpt", *packed)),
        Case("weights fetch", ("weights", "fetch", "/".join(PUBLISHED))),
        Case("export", ("export", "model=fast", "size=[24,40]", "output=out/fast.pt2")),
        Case("bench", ("bench", "model=tfp", *bench), anew=True),
        Case(
            "leaderboard", ("leaderboard", "results=state/records", "output=out/board"), anew=True
        ),
        Case("view", ("view", "state/car.npy", "--method", "tfp"), seconds=4.0),
        Case(
            "data inspect",
            ("data", "inspect", "state/car.npy", "--output", "out/seen.png"),
            anew=True,
        ),
        Case(
            "data import",
            ("data", "import", "out/car.dat", "--height", "24", "--width", "40"),
            given=("car.dat",),
        ),
        Case(
            "data fetch",
            (
                "data",
                "fetch",
                "photos_tiny",
                "--root",
                "out/photos",
                "--photographs",
                "state/pictures",
            ),
            is_slow=True,
        ),
    ]


def files() -> dict[str, str]:
    """Every file that was made, by name, with a digest of what counts in it.

    Records and checkpoints hold times: of a record it counts that it can be read and that its
    pictures are there, of a checkpoint its weights. The encoder of an `.mp4` writes the last block
    of a frame in one of several ways, equally true to the picture: there the frames count.
    """
    found = {}
    for path in sorted(OUT.rglob("*")):
        if path.is_dir() or any(part.startswith(".") for part in path.parts):
            continue
        name = str(path.relative_to(OUT))
        if path.suffix == ".ckpt":
            found[name] = digest(read_state(path))
        elif path.suffix == ".mp4":
            found[name] = _frames(path)
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
        found["results"] = f"{len({str(getattr(item, 'label', '')) for item in items})} methods"
    return found


def _frames(path: Path) -> str:
    """The frames of a video, counted; none is decoded, as commands are forked from this process."""
    try:
        with parsing(path, "a video"), open_container(path) as film:
            return f"{sum(packet.dts is not None for packet in film.demux(video=0))} frames"
    except DataError:
        return "broken"


def is_whole(path: Path) -> bool:
    """True if a file of JSON, a page, or an archive can be read to its end."""
    if path.suffix == ".html":
        return path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    if path.suffix == ".json":
        return bool(read_json(path, RUN_DOCUMENT))
    with zipfile.ZipFile(path) as archive:
        return archive.testzip() is None


def leftovers() -> list[str]:
    """Leftover files: temporary ones and locks."""
    names = (".writing", ".lock", ".unnamed")
    ends = (".partial", ".partial.json", ".partial.lock")
    return [str(p) for p in OUT.rglob("*") if p.name in names or p.name.endswith(ends)]


def surroundings(url: str) -> None:
    """Set this process's variables: a cache that is an output, and the trials' own host."""
    os.environ |= {"SPIKEREC_WEIGHTS": str(OUT.absolute() / "cache"), "SPIKEREC_MIRROR": f"{url}/"}

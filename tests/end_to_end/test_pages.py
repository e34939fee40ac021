"""The pages do what they say: Python blocks run, and every command that is named is one.

The commands of blocks marked `sh` are tried further: `test_readme.py` and `test_docs.py`.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from spikerec import spikes
from spikerec.apps import data, weights
from spikerec.cli import verbs
from spikerec.configs import config_dir
from spikerec.training import Run
from tests.end_to_end.command import Command
from tests.fakes import fake_reds, fake_spikes

ROOT = Path(__file__).resolve().parents[2]

#: Pages that people read, in the repository or on the site.
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name for name in ("benchmarks/RESULTS.md", "tests/golden/README.md")),
    *(ROOT / "src/spikerec" / name for name in ("data/photos.md", "weights/shipped/README.md")),
]

#: Mark on a page before a Python block that no test can run.
NOT_RUN = re.compile(r"<!-- not run: (\S.*) -->\s*\Z")

#: A block in a page, and what stands before it.
BLOCK = re.compile(r"(?ms)^```(\w*)[^\n]*\n(.*?)^```$")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> list[str]:
    """The blocks of a page in these languages, those apart that it says are not run."""
    text = page.read_text(encoding="utf-8")
    return [
        found[2]
        for found in BLOCK.finditer(text)
        if found[1] in languages and not NOT_RUN.search(text[: found.start()])
    ]


def is_file(block: str) -> bool:
    """True for a block that a comment names as a file: `test_docs.py` writes and uses those."""
    return re.match(r"# \S+\.py\n", block) is not None


WITH_PYTHON = [page for page in PAGES if any(not is_file(b) for b in blocks(page, "python"))]


def test_pages_with_python_are_found() -> None:
    assert {"README.md", "docs/python.md", "docs/index.md"} <= set(map(name, WITH_PYTHON))


@pytest.mark.filterwarnings("ignore")  # Lightning's, of a trainer as a user makes it
@pytest.mark.parametrize("page", WITH_PYTHON, ids=name)
def test_the_blocks_of_a_page_run_in_order(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_reds(tmp_path / "data/reds", height=250, width=400, num_readouts=41)
    spikes.save(tmp_path / "car.npy", fake_spikes(70, 32, 48))
    results = tmp_path / "outputs/results"
    results.mkdir(parents=True)
    shutil.copy(min((ROOT / "docs/leaderboard").glob("tfp-*.json")), results)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page, "python"):
        if not is_file(block):
            exec(block, names)  # noqa: S102 (the page is ours)
    if page.name == "python.md":
        assert Run("outputs/mine").best_score is not None
        assert Path("outputs/board.html").read_text(encoding="utf-8").startswith("<!")
        record = names["record"]
        assert record.protocol.name == "stir"
        assert list(record.to_frame()["psnr"]) == list(record.column("psnr"))
        assert "psnr" in repr(record)
        assert "Fast" in names["board"]._repr_html_()


def commands(program: str) -> list[tuple[str, str]]:
    """(page, command) for each command of a program in blocks of a shell and within sentences."""
    found: dict[tuple[str, str], None] = {}
    for page in PAGES:
        if page.name == "CHANGELOG.md":  # tells of earlier versions too
            continue
        text = page.read_text(encoding="utf-8")
        lines = "".join(blocks(page, "sh", "bash", "console", "")).replace("\\\n", " ").splitlines()
        inline = re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", BLOCK.sub("", text))
        for one in [*lines, *(" ".join(span.split()) for span in inline)]:
            if one.removeprefix("$ ").startswith(f"{program} "):
                found[name(page), one.removeprefix("$ ")] = None
    return list(found)


def test_commands_are_found_in_blocks_and_in_sentences() -> None:
    found = commands("spikerec")
    assert ("README.md", "spikerec reconstruct car.dat one.png at=12.5ms") in found
    assert ("docs/installation.md", "spikerec data list") in found


@pytest.mark.parametrize(("page", "line"), commands("make"))
def test_targets_of_make_exist(page: str, line: str) -> None:
    del page
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    target = shlex.split(line, comments=True)[1]
    assert f"\n{target}:" in makefile


@pytest.mark.parametrize(("page", "line"), commands("spikerec"))
def test_a_command_is_one(page: str, line: str, spikerec_command: Command) -> None:
    del page
    verb, *words = shlex.split(line.replace("…", ""), comments=True)[1:]
    if verb in ("--help", "--version", "-sc"):
        return
    assert verb in verbs()
    if len(words) < 2 and verb in ("data", "weights"):
        assert spikerec_command(verb, *words, "--help").status == 0
    elif not words:  # a verb is spoken of
        return
    elif {"--help", "--cfg"} & set(words):
        assert spikerec_command(verb, *words).status == 0
    elif verb == "data":
        data._parser().parse_args(words)
    elif verb == "weights":
        weights._parser().parse_known_args(words)
    elif not (config_dir() / f"{verb}.yaml").exists():
        assert spikerec_command(verb, "--help").status == 0
    elif "my_conf" not in words:  # `test_docs.py` has those files
        single = [
            word if set(word) & set("[{") else word.split(",")[0] for word in words if word != "-m"
        ]
        single = [word for word in single if "(" not in word]  # tag(…), interval(…): of a sweep
        outcome = spikerec_command(verb, *single, "--cfg", "job")
        assert outcome.status == 0, outcome.err

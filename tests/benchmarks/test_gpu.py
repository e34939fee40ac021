"""One command for a GPU: parts in processes of their own, each within its time."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import device, gpu
from benchmarks.gpu import Done, Figure, Part

#: Writes a figure, says it, starts a process that would stay, and stays if told so.
PROGRAM = """
import json, pathlib, subprocess, sys, time
folder, name, ending = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
(folder / f"{name}.json").write_text(json.dumps([{"what": "one", "value": 1}]))
(folder / f"{name}.pid").write_text(str(child.pid))
print("began", flush=True)
time.sleep(600 if ending == "stays" else 0)
child.kill()
sys.exit(ending == "fails")
"""


def part(folder: Path, name: str, ending: str) -> Part:
    path = folder / f"{name}.json"
    figures: Callable[[], list[Figure]] = lambda: json.loads(path.read_text())  # noqa: E731
    command = [sys.executable, "-c", PROGRAM, str(folder), name, ending]
    return Part(name, f"Part {name}", 1.0, lambda _: command, figures)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Done], Path, float]:
    folder = tmp_path_factory.mktemp("gpu")
    endings = {"first": "ends", "endless": "stays", "broken": "fails", "last": "ends"}
    parts = [part(folder, name, ending) for name, ending in endings.items()]
    start = time.monotonic()
    return gpu.run_parts(parts, 24, folder, {"device": "A card"}), folder, time.monotonic() - start


def test_a_part_that_takes_too_long_is_ended_and_the_others_go_on(
    ran: tuple[list[Done], Path, float],
) -> None:
    done, folder, seconds = ran
    assert [one.state for one in done] == ["finished", "stopped", "failed", "finished"]
    assert all(one.figures == [{"what": "one", "value": 1}] for one in done)
    assert seconds < 24
    child = Path("/proc", (folder / "endless.pid").read_text(), "stat")
    assert not child.exists() or ") Z " in child.read_text(), "what it started has ended as well"


def test_time_that_is_left_over_goes_to_later_parts(ran: tuple[list[Done], Path, float]) -> None:
    first, endless, *_ = ran[0]
    assert first.limit_s == pytest.approx((24 - gpu.PATIENCE_S) / 4, rel=0.05)
    assert endless.limit_s > first.limit_s


def test_results_are_written_for_programs_and_for_people(
    ran: tuple[list[Done], Path, float],
) -> None:
    written = json.loads((ran[1] / "results.json").read_text())
    assert written["machine"] == {"device": "A card"}
    assert [one["state"] for one in written["parts"]] == [one.state for one in ran[0]]
    text = (ran[1] / "results.md").read_text()
    assert text.startswith("# A card\n")
    assert text.count("| one | 1 |") == 4
    assert "## Part endless\n\nStopped after " in text
    assert (ran[1] / "endless.log").read_text() == "began\n"


def test_results_are_there_before_the_next_part_begins(tmp_path: Path) -> None:
    seen: list[bool] = []

    def figures() -> list[Figure]:
        seen.append((tmp_path / "results.md").exists())
        return []

    parts = [
        Part(name, name, 1.0, lambda _: [sys.executable, "-c", ""], figures)
        for name in ("one", "two")
    ]
    gpu.run_parts(parts, 60, tmp_path, {"device": "A card"})
    assert seen == [False, True]
    assert "Nothing was found: see two.log." in (tmp_path / "results.md").read_text()


def test_a_section_cut_short_keeps_its_rows(tmp_path: Path) -> None:
    row = device.Row("loading", "windows", "0 workers", (1,), "samples/s", rate=2.0)
    (tmp_path / "loading.json").write_text(json.dumps([gpu.asdict(row) | {"is_met": None}]))
    assert gpu.section_figures("loading", tmp_path) == [gpu.asdict(row) | {"size": [1]}]
    assert gpu.section_figures("networks", tmp_path) == []


def test_tests_are_counted_by_how_they_ended(tmp_path: Path) -> None:
    log = tmp_path / "tests.log"
    log.write_text(
        "collected 4 items\n\n"
        "tests/a.py::test_one PASSED   [ 25%]\ntests/a.py::test_two FAILED   [ 50%]\n"
        "tests/b.py::test_three[x-1] PASSED   [ 75%]\ntests/b.py::test_four"
    )
    assert gpu.test_figures(log) == [
        {"what": "passed", "value": 2},
        {"what": "failed", "value": 1},
    ]


def test_tests_for_a_gpu_are_found() -> None:
    files = [word for word in gpu.test_command() if word.endswith(".py")]
    assert any(name.endswith("simulation/test_camera.py") for name in files)
    assert not any(name.endswith("test_cli.py") for name in files)


def test_a_gpu_that_is_not_here_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu.main(["--device", "cuda:99"])
    assert "cannot be used" in capsys.readouterr().err


@pytest.mark.slow
def test_everything_runs_on_a_cpu(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        gpu.main(["--device", "cpu", "--tiny", "--seconds", "500", "--output", str(tmp_path)])
    logs = {path.name: path.read_text()[-2000:] for path in tmp_path.glob("*.log")}
    parts = {
        one["name"]: one for one in json.loads((tmp_path / "results.json").read_text())["parts"]
    }
    assert list(parts) == ["tests", *device.SECTIONS, "run"]
    assert {one["state"] for one in parts.values()} == {"finished"}, logs
    assert all(one["figures"] for one in parts.values())
    assert ended.value.code is False
    found = {figure["what"] for figure in parts["run"]["figures"]}
    assert {"optimizer steps", "PSNR in validation"} <= found


def test_a_training_is_told_by_its_curves_so_far(tmp_path: Path) -> None:
    curves = tmp_path / "metrics.csv"
    assert gpu.run_figures(curves) == []
    curves.write_text("step,train/loss,time/data,val/psnr\n9,0.5,2.0,\n19,0.25,3.0,30.5\n2")
    found = {one["what"]: one["value"] for one in gpu.run_figures(curves)}
    assert found["optimizer steps"] == 20
    assert found["a step's wait for data"] == 3
    assert "samples a second" not in found

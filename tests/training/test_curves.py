from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from spikerec.training.curves import CurveLog, read_rows


def test_rows_of_a_step_are_one_and_columns_may_come_later(tmp_path: Path) -> None:
    log = CurveLog(tmp_path / "metrics.csv", flush_every=1)
    log.log_metrics({"train/loss": 0.5}, step=0)
    log.log_metrics({"train/loss": 0.25}, step=1)
    log.log_metrics({"val/psnr": 30.0}, step=1)
    log.save()
    assert read_rows(log.path) == {
        0: {"train/loss": "0.5"},
        1: {"train/loss": "0.25", "val/psnr": "30.0"},
    }


def test_continued_log_replaces_what_it_logs_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    killed = CurveLog(path, flush_every=1)
    for step in range(4):
        killed.log_metrics({"train/loss": 1.0 / (step + 1)}, step=step)
    killed.save()
    with path.open("a") as file:
        file.write("4")  # a line that a kill cut short
    continued = CurveLog(path, flush_every=100)
    continued.log_metrics({"train/loss": 9.0}, step=3)
    continued.finalize("success")
    assert {step: row["train/loss"] for step, row in read_rows(path).items()} == {
        0: "1.0",
        1: "0.5",
        2: repr(1 / 3),
        3: "9.0",
    }


def test_values_are_kept_to_the_last_bit(tmp_path: Path) -> None:
    log = CurveLog(tmp_path / "metrics.csv", flush_every=1)
    log.log_metrics({"train/loss": 0.1 + 0.2}, step=0)
    log.save()
    assert float(read_rows(log.path)[0]["train/loss"]) == 0.1 + 0.2


def test_a_step_that_is_on_the_disk_may_still_grow(tmp_path: Path) -> None:
    log = CurveLog(tmp_path / "metrics.csv", flush_every=2)
    for step in range(3):
        log.log_metrics({"train/loss": float(step)}, step=step)
        log.save()
        log.log_metrics({"val/psnr": 10.0 + step}, step=step)
    log.finalize("success")
    assert read_rows(log.path) == {
        step: {"train/loss": repr(float(step)), "val/psnr": repr(10.0 + step)} for step in range(3)
    }


def test_a_value_cut_short_by_a_kill_is_no_value(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,train/loss\n0,0.5\n1,0.12")  # of 0.125
    assert read_rows(path) == {0: {"train/loss": "0.5"}}
    log = CurveLog(path, flush_every=1)
    log.log_metrics({"train/loss": 0.125}, step=1)
    log.save()
    assert path.read_text() == "step,train/loss\n0,0.5\n1,0.125\n"


@given(
    st.lists(st.tuples(st.integers(0, 6), st.sampled_from("abc"), st.booleans()), max_size=30),
    st.integers(1, 4),
)
def test_the_file_holds_what_was_logged_in_whatever_order(
    logged: list[tuple[int, str, bool]], flush_every: int
) -> None:
    expected: dict[int, dict[str, str]] = {}
    with TemporaryDirectory() as folder:
        log = CurveLog(Path(folder) / "metrics.csv", flush_every=flush_every)
        for value, (step, name, saves) in enumerate(logged):
            log.log_metrics({name: float(value)}, step=step)
            # Going back to a step takes the rows after it for what will be logged again.
            expected.setdefault(step, {})[name] = repr(float(value))
            if saves:
                log.save()
        log.finalize("success")
        assert read_rows(log.path) == expected
        steps = (
            [line.split(",")[0] for line in log.path.read_text().splitlines()[1:]]
            if (log.path.exists())
            else []
        )
        assert steps == [str(step) for step in sorted(expected)]


def test_memory_and_rewriting_do_not_grow_with_the_run(tmp_path: Path) -> None:
    log = CurveLog(tmp_path / "metrics.csv", flush_every=20)
    log.log_metrics({"train/loss": 1.0}, step=0)
    log.save()
    inode = log.path.stat().st_ino
    for step in range(1, 2000):
        log.log_metrics({"train/loss": 1.0 / step}, step=step)
        assert len(log._waiting) <= 21
    log.save()
    assert log.path.stat().st_ino == inode  # appended to, never written anew
    assert len(read_rows(log.path)) == 2000

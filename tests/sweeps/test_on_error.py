"""Sweeps with a failing job, by `on_error`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from spikerec.cli import ON_ERROR, _run_job
from spikerec.errors import ConfigError
from spikerec.sweeps import Job


class Flaky:
    """A job that fails a number of times, then succeeds."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.failures = failures
        self.error = error or ConfigError("window must be odd.")
        self.calls = 0

    def __call__(self, config: SimpleNamespace) -> float:
        del config
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return 30.0


def job(folder: Path) -> Job:
    return Job((), folder)


@pytest.mark.parametrize(
    ("on_error", "failures", "result", "calls"),
    [
        ("continue", 0, 30.0, 1),
        ("continue", 1, None, 1),
        ("retry", 1, 30.0, 2),
        ("retry", 2, None, 2),
    ],
)
def test_failures_are_kept_or_forgotten(
    on_error: str, failures: int, result: float | None, calls: int, tmp_path: Path
) -> None:
    run = Flaky(failures)
    assert _run_job(run, SimpleNamespace(run=str(tmp_path)), on_error) == result
    assert run.calls == calls
    kept = "" if result else "ConfigError: window must be odd."
    assert job(tmp_path).error() == kept


def test_stop_writes_the_failure_down_and_ends_the_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        _run_job(Flaky(1), SimpleNamespace(run=str(tmp_path)), "stop")
    assert stop.value.code == 1
    assert job(tmp_path).outcome() == "failed"
    assert capsys.readouterr().err == "spikerec: ConfigError: window must be odd.\n"


def test_the_cause_is_told_where_an_error_of_ours_lies_behind(tmp_path: Path) -> None:
    wrapped = RuntimeError("error in a call")
    wrapped.__cause__ = ConfigError("model.window must be odd,\nfound 4.")
    _run_job(Flaky(1, wrapped), SimpleNamespace(run=str(tmp_path)), "continue")
    assert job(tmp_path).error() == "ConfigError: model.window must be odd, found 4."


def test_interruption_by_the_user_is_no_failure(tmp_path: Path) -> None:
    def interrupted(config: SimpleNamespace) -> None:
        raise KeyboardInterrupt(config)

    with pytest.raises(KeyboardInterrupt):
        _run_job(interrupted, SimpleNamespace(run=str(tmp_path)), "retry")
    assert job(tmp_path).outcome() == "unfinished"


def test_another_word_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _run_job(Flaky(0), SimpleNamespace(run=str(tmp_path)), "ignore")
    assert f"on_error must be one of {', '.join(ON_ERROR)}, found ignore" in capsys.readouterr().err

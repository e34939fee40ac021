"""The command line's output fits 80 columns, with whole words and all figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from spikerec.cli import verbs
from tests.end_to_end.command import Command

BOARD = Path(__file__).resolve().parents[2] / "docs" / "leaderboard"


def widest(text: str) -> str:
    return max((line.rstrip() for line in text.splitlines()), key=len)


@pytest.mark.parametrize(
    "words", [["--help"], ["data", "list"], ["weights", "list"], *([v, "--help"] for v in verbs())]
)
def test_help_and_lists_fit(
    words: list[str], spikerec_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    outcome = spikerec_command(*words)
    assert outcome.status == 0, outcome.err
    assert len(widest(outcome.out)) <= 80, widest(outcome.out)


def test_the_leaderboard_fits_and_cuts_no_figure(
    spikerec_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    outcome = spikerec_command("leaderboard", f"results={BOARD}", "output=board")
    assert outcome.status == 0, outcome.err
    assert len(widest(outcome.out)) <= 80, widest(outcome.out)
    assert "…" not in outcome.out
    assert "Fast (wide)" in outcome.out
    assert "photos_medium" in outcome.out
    assert "rsir_stray" in outcome.out  # a word of a narrow column is whole

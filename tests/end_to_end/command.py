"""The command line inside the test's own process: the same code, without seconds of imports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from spikerec import cli


@dataclass
class Outcome:
    """Status and output of a command."""

    status: int
    out: str
    err: str


class Command:
    """Runs `spikerec …` in a folder of its own."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        monkeypatch.chdir(folder)

    def __call__(self, *words: str) -> Outcome:
        self._monkeypatch.setattr("sys.argv", ["spikerec", *words])
        GlobalHydra.instance().clear()
        status = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        captured = self._capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

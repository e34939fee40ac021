from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.command import Command


@pytest.fixture
def spikerec_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """`spikerec_command("train", "model=stir")` runs the command line in an empty folder."""
    return Command(tmp_path, monkeypatch, capsys)

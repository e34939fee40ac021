"""The page docs/python.md, run as it stands on fake data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from spikerec.training import Run
from tests.fakes import fake_reds

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


@pytest.mark.filterwarnings("ignore")  # Lightning's, of a trainer as a user makes it
def test_the_page_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_reds(tmp_path / "data" / "reds", height=250, width=400, num_readouts=41)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, names)  # noqa: S102 (the page is ours)
    assert Run("outputs/mine").best_score is not None
    assert (tmp_path / "outputs/board.html").read_text(encoding="utf-8").startswith("<!")
    record = names["record"]
    assert record.protocol.name == "stir"
    assert list(record.to_frame()["psnr"]) == list(record.column("psnr"))
    assert "psnr" in repr(record)
    assert "Fast" in names["board"]._repr_html_()

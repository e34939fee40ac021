"""Many processes write records while boards are made of them."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from spikerec.results import Store, WeightsInfo
from spikerec.results.boards import Choice, gather
from spikerec.results.formats import markdown
from spikerec.results.store import scan
from spikerec.results.tables import board_table, standings
from tests.results.records import METHODS, make_record

WRITERS = 16

#: Records of each writer; 5,000 with SPIKEREC_TORTURE=5000.
COUNT = int(os.environ.get("SPIKEREC_TORTURE", "60"))


def _write(folder: Path, writer: int) -> None:
    """Records of few and of many weights: each writer evaluates its own, and all share one."""
    store = Store(folder)
    labels = list(METHODS)
    for number in range(COUNT):
        record = make_record(labels[number // 2 % len(labels)], scenes=5)
        # Two writers may end at one microsecond; equal records would be one file.
        record = replace(record, config=record.config | {"job": [writer, number]})
        if number % 2:
            weights = WeightsInfo(f"{writer + 1:032x}{number:032x}", "run", "best.ckpt", "run")
            record = replace(record, weights=weights)
        if number % 10 == 0:
            record = replace(record, created=store.now(record.method, record.dataset.name))
        else:
            record = replace(record, created=datetime.now(UTC).isoformat())
        store.write(record)


@pytest.mark.slow
def test_sixteen_writers_beside_a_leaderboard(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(tmp_path, k)) for k in range(WRITERS)]
    for writer in writers:
        writer.start()
    made = 0
    while any(writer.is_alive() for writer in writers) or not made:
        if not list(tmp_path.glob("*.json")):
            continue
        boards, problems = gather(scan([tmp_path]), Choice(rows=20))
        assert not [p for p in problems if p.name.endswith(".json")], problems
        assert markdown([board_table(board, standings(boards)) for board in boards])
        made += 1
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    (board,), _ = gather(scan([tmp_path]), Choice(rows=WRITERS * COUNT))
    assert sum(row.count for row in board.rows.values()) == WRITERS * COUNT
    assert len(set(board.rows)) == len(METHODS) + WRITERS * (COUNT // 2)
    for row in board.rows.values():
        times = [(item.created, item.id) for item in row.history]
        assert times == sorted(times)
        assert (row.record.created, row.record.id) == times[-1]
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".") and p.is_file()]

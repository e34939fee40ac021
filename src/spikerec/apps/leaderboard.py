"""Make tables and a page from records: spikerec leaderboard results=outputs/results."""

from __future__ import annotations

import io
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from spikerec.errors import ResultsError
from spikerec.results.boards import gather, trim
from spikerec.results.page import render
from spikerec.results.references import references
from spikerec.results.store import Problem, Store
from spikerec.results.tables import (
    comma_separated,
    latex,
    markdown,
    paper_tables,
    reference_table,
    standings,
    terminal,
)
from spikerec.spikes.files import atomic_path

MOST_PRINTED = 20  # problems; the page lists more


def run(config: DictConfig) -> None:
    """Write `leaderboard.md`, `.csv`, `.tex` and `.html`, print the tables, and log them to W&B.

    Args:
        config: see `conf/leaderboard.yaml`.

    Raises:
        ResultsError: the folder is not there, or holds no record that can be shown.
    """
    folder, output = Path(config.results), Path(config.output)
    boards, problems = gather(Store(folder).scan())
    problems += trim(boards, config.rows)
    if not boards:
        found = f"{len(problems)} unreadable files" if problems else "no *.json files"
        first = f" The first: {problems[0].reason}" if problems else ""
        raise ResultsError(f"results={folder} holds no records that can be shown: {found}.{first}")
    stands = standings(boards)
    tables = paper_tables(boards, stands)
    published = [reference_table(reference) for reference in references()]
    page = render(
        boards,
        stands,
        references(),
        problems,
        folder,
        images_per_board=config.images.per_board,
        image_side=config.images.side,
        image_megabytes=config.images.megabytes,
    )
    files = {
        "leaderboard.md": markdown([*tables, *published]),
        "leaderboard.csv": comma_separated(boards, stands),
        "leaderboard.tex": latex([*tables, *published]),
        "leaderboard.html": page,
    }
    console = Console()
    for board in boards:
        console.print(terminal(board, stands))
    _report(problems, console)
    for name, text in files.items():
        with atomic_path(output / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
        console.print(str(output / name), highlight=False, soft_wrap=True)
    _log(config, files["leaderboard.csv"], output)


def _log(config: DictConfig, table: str, output: Path) -> None:
    """Give the table to W&B, where that is chosen."""
    if not config.get("logger"):  # the imports below take seconds
        return
    import pandas as pd

    from spikerec.training.wandb_log import log_table_where_chosen

    rows = pd.read_csv(io.StringIO(table))
    log_table_where_chosen(config.logger, "leaderboard", rows, output, job_type="leaderboard")


def _report(problems: list[Problem], console: Console) -> None:
    """Print what was left out, by name."""
    if problems:
        console.print(f"Records left out: {len(problems)}", style="yellow")
    for problem in problems[:MOST_PRINTED]:
        console.print(f"  {problem.reason}", style="yellow", markup=False, soft_wrap=True)
    if len(problems) > MOST_PRINTED:
        console.print(f"  … and {len(problems) - MOST_PRINTED} more", style="yellow")

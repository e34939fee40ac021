"""Make tables and a page from records: spikerec leaderboard results=outputs/results."""

from __future__ import annotations

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

MOST_PRINTED = 20  # problems; the page lists more


def run(config: DictConfig) -> None:
    """Write `leaderboard.md`, `.csv`, `.tex` and `.html`, and print the tables.

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
        console.print(str(_write(output / name, text)), highlight=False, soft_wrap=True)


def _report(problems: list[Problem], console: Console) -> None:
    """Print what was left out, by name."""
    if problems:
        console.print(f"Records left out: {len(problems)}", style="yellow")
    for problem in problems[:MOST_PRINTED]:
        console.print(f"  {problem.reason}", style="yellow", markup=False, soft_wrap=True)
    if len(problems) > MOST_PRINTED:
        console.print(f"  … and {len(problems) - MOST_PRINTED} more", style="yellow")


def _write(path: Path, text: str) -> Path:
    """Write a file at once, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
    return path

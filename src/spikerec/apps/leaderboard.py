"""Make tables and a page from records: spikerec leaderboard results=outputs/results."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig
from rich.console import Console

from spikerec.errors import ConfigError, ResultsError
from spikerec.results.boards import Board, Choice, gather
from spikerec.results.breakdown import breakdown_table
from spikerec.results.formats import (
    SIGNS,
    board_tables,
    comma_separated,
    csv_rows,
    latex,
    markdown,
    reasons_of,
    slug,
)
from spikerec.results.page import render
from spikerec.results.references import references
from spikerec.results.store import Problem, scan
from spikerec.results.tables import Standings, board_table, reference_table, standings
from spikerec.results.terminal import (
    terminal,
    terminal_breakdowns,
    terminal_notes,
    terminal_training,
)
from spikerec.spikes.files import atomic_path


def run(config: DictConfig) -> None:
    """Write `leaderboard.md`, `.csv`, `.html` and a `.tex` a board, and print the tables.

    With `logger=wandb` the table goes to Weights & Biases too.

    Args:
        config: see `conf/leaderboard.yaml`.

    Raises:
        ConfigError: a name is no text.
        ResultsError: a folder is not there, or no record can be shown.
    """
    folders = [Path(name) for name in _texts(config.results, "results")]
    output = _output(config, folders)
    choice = Choice(
        config.rows,
        methods=_optional_texts(config, "methods"),
        datasets=_optional_texts(config, "datasets"),
        columns=_optional_texts(config, "metrics"),
    )
    boards, problems = gather(scan(folders), choice)
    if not boards:
        found = f"{len(problems)} left out" if problems else "no *.json files"
        first = f" The first: {problems[0].reason}" if problems else ""
        named = ", ".join(map(str, folders))
        raise ResultsError(f"results={named} holds no records that can be shown: {found}.{first}")
    stands = standings(boards)
    rows = csv_rows(boards, stands)
    published = [reference_table(reference) for reference in references()]
    files = {
        "leaderboard.md": markdown([*board_tables(boards, stands), *published], problems),
        "leaderboard.csv": comma_separated(rows),
        **{name: latex(board, stands) for name, board in _tex_names(boards).items()},
        "leaderboard.html": render(
            boards,
            stands,
            references(),
            problems,
            folders,
            images_per_board=config.images.per_board,
            image_side=config.images.side,
            image_megabytes=config.images.megabytes,
        ),
    }
    console = Console()
    for board in boards:
        _print(board, stands, console)
    console.print(f"{SIGNS}\n", highlight=False)
    _report(problems, console)
    for name, text in files.items():
        with atomic_path(output / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
        console.print(str(output / name), highlight=False, markup=False, soft_wrap=True)
    _log(config, rows, output)


def _texts(value: object, key: str) -> list[str]:
    """One text or a list of texts as a list."""
    texts: list[str] = []
    for text in value if isinstance(value, ListConfig | list | tuple) else [value]:
        if not isinstance(text, str) or not text:
            raise ConfigError(
                f"{key} must be text, found {text!r}: quote what looks like a number, "
                f"{key}='\"{text}\"'."
            )
        texts.append(text)
    return texts


def _optional_texts(config: DictConfig, key: str) -> list[str] | None:
    value = config.get(key)
    return None if value is None else _texts(value, key)


def _output(config: DictConfig, folders: Sequence[Path]) -> Path:
    """The folder to write to: `output`, else one that belongs to these results alone.

    The results of one's own evaluations (`paths.results`) have `leaderboard` in `paths.outputs`;
    any others have `leaderboard-NAME`, so that to look at them replaces nothing.
    """
    if config.output is not None:
        return Path(*_texts(config.output, "output"))
    outputs = Path(config.paths.outputs)
    if [folder.resolve() for folder in folders] == [Path(config.paths.results).resolve()]:
        return outputs / "leaderboard"
    name = "+".join(str(folder) for folder in folders)
    word = re.sub(r"[^A-Za-z0-9_.+]+", "-", name).strip("-.")[:80]
    if word.replace("-", "/") != name:  # other folders might have the same word
        places = "\0".join(str(folder.resolve()) for folder in folders)
        word += f"-{hashlib.sha256(places.encode()).hexdigest()[:6]}"
    return outputs / f"leaderboard-{word}"


def _tex_names(boards: Sequence[Board]) -> dict[str, Board]:
    """A file's name for each board, numbered where two data sets' names are alike."""
    names: dict[str, Board] = {}
    for board in boards:
        word = slug(str(board.name))
        spare = (f"leaderboard-{word}{number}.tex" for number in ("", *range(2, len(boards) + 2)))
        names[next(name for name in spare if name not in names)] = board
    return names


def _log(config: DictConfig, rows: list[dict[str, object]], output: Path) -> None:
    """Give the table to W&B, where that is chosen."""
    if not config.get("logger"):  # the imports below take seconds
        return
    import pandas as pd

    from spikerec.training.wandb_log import log_table_where_chosen

    table: Any = pd.DataFrame(rows)
    log_table_where_chosen(config.logger, "leaderboard", table, output, job_type="leaderboard")


def _print(board: Board, stands: Standings, console: Console) -> None:
    """Print a board, the training of its rows, notes, and where they break down."""
    console.print(terminal(board, stands, console))
    console.print(terminal_training(board))
    console.print(terminal_notes(board_table(board, stands)))
    if breaks := breakdown_table(board):
        console.print()
        console.print(terminal_breakdowns(breaks))
        console.print(terminal_notes(breaks))
    console.print()


def _report(problems: list[Problem], console: Console) -> None:
    """Print what was left out, by name."""
    if problems:
        console.print(f"Records left out: {len(problems)}", style="yellow")
    for reason in reasons_of(problems):
        console.print(f"  {reason}", style="yellow", markup=False, soft_wrap=True)

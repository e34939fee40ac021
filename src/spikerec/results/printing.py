"""A record printed on a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spikerec.errors import printable
from spikerec.results.folds import fold_of
from spikerec.results.record import Record
from spikerec.spelling import metric_title

if TYPE_CHECKING:
    from spikerec.training.evaluation import SampleImages


def print_record(record: Record, path: Path, pictures: SampleImages) -> None:
    """Print a record's means, what has no value, and where it is."""
    console = Console()
    fold = fold_of(record)
    held_out = "" if fold is None else f"fold {fold.number} of {fold.total}, "
    samples = f"{held_out}{record.dataset.num_samples} samples"
    title = f"{printable(record.title)} on {record.dataset.name} ({samples})"
    console.print(Text(title, style="table.title"))
    table = Table(box=None, header_style="bold")
    for metric in record.samples.values:
        table.add_column(Text(metric_title(metric)), justify="right", overflow="fold")
    means = (record.mean(metric) for metric in record.samples.values)
    table.add_row(*("n/a" if mean is None else f"{mean:#.4g}" for mean in means))
    console.print(table)
    lines = []
    for metric, reason in record.undefined.items():
        present = int(np.isfinite(record.column(metric)).sum())
        total = len(record.samples.keys)
        lines.append(f"{metric_title(metric)}: {present} of {total} samples have a value. {reason}")
    if count := np.count_nonzero(record.samples.mirrored or ()):
        lines.append(
            f"{count} of {len(record.samples.keys)} samples are so close to an end of their stream "
            "that a part of their window was mirrored (a `margin` of the data leaves such out)."
        )
    lines.append(f"record: {path}")
    if pictures.keys:
        lines.append(f"images: {pictures.folder}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

"""The table at the end of a sweep: variants against a baseline, over seeds.

Jobs that differ in nothing but `seed` and `data.fold` are runs of one *variant*. The variant of the
first job, that is the first value of every swept key, is the *baseline*. A difference is taken
between runs of the same seed and fold; its interval is a 95 % bootstrap over those
(`spikerec.results.statistics`).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spikerec.metrics.sizes import PAPER_SIZE
from spikerec.results.formats import comma_separated
from spikerec.results.statistics import intervals
from spikerec.spelling import metric_title
from spikerec.spikes.files import atomic_path
from spikerec.sweeps.jobs import Job

FOLD = "data.fold"

#: Settings in which the runs of one variant differ.
REPEATS = ("seed", FOLD)


def ablation(jobs: Sequence[Job]) -> pd.DataFrame:
    """A row for each variant, the baseline first.

    Columns: `variant`; `runs`, how many finished; for each metric M of validation, and of tests as
    `test/SET/METRIC`, its mean `M` over the runs, their standard deviation `M spread` (NaN for one
    run), and the mean difference to the baseline `M difference` with its interval `M low` …
    `M high` (NaN for fewer than two runs of equal seed and fold); `params`; `macs`,
    multiply-accumulates for 720 × 1280.
    """
    variants = by_variant(jobs)
    names = dict.fromkeys(name for job in jobs for name in _figures_of(job))
    baseline = next(iter(variants.values()), [])
    rows = []
    for label, members in variants.items():
        row: dict[str, Any] = {"variant": label, "runs": sum(_is_finished(j) for j in members)}
        for name in names:
            row |= _figures(name, _by_repeat(members, name), _by_repeat(baseline, name))
        rows.append(row | _cost(members))
    return pd.DataFrame(rows)


def _is_finished(job: Job) -> bool:
    return job.outcome() == "finished"


def _figures_of(job: Job) -> dict[str, float]:
    return job.scores() | job.tests()


def by_variant(jobs: Iterable[Job]) -> dict[str, list[Job]]:
    """Variant → its jobs, in the order of the sweep; named by what is not alike in all."""
    jobs = list({job.folder: job for job in jobs}.values())
    swept = [key for key in _swept(jobs) if key not in REPEATS]
    variants: dict[str, list[Job]] = {}
    for job in jobs:
        variants.setdefault(_label(job, swept), []).append(job)
    return variants


def _swept(jobs: Sequence[Job]) -> list[str]:
    """The keys that are not alike in all jobs; a name is a label, and no setting."""
    keys = dict.fromkeys(key for job in jobs for key in job.settings if key != "name")
    return [key for key in keys if len({job.settings.get(key) for job in jobs}) > 1]


def _label(job: Job, keys: Sequence[str]) -> str:
    return ", ".join(f"{_short(key)}={job.settings.get(key, '–')}" for key in keys) or "all"


def _short(key: str) -> str:
    """`loss.terms.perceptual.weight` → `perceptual.weight`."""
    return ".".join(key.split(".")[-2:]).removeprefix("model.").removeprefix("sweep.")


def _by_repeat(jobs: Sequence[Job], metric: str) -> dict[str, float]:
    """Seed and fold → value of a metric."""
    values = {
        ", ".join(job.settings.get(key, "") for key in REPEATS): _figures_of(job).get(metric)
        for job in jobs
    }
    return {repeat: value for repeat, value in values.items() if value is not None}


def _figures(name: str, values: dict[str, float], baseline: dict[str, float]) -> dict[str, Any]:
    numbers = list(values.values())
    figures: dict[str, Any] = {
        name: statistics.fmean(numbers) if numbers else np.nan,
        f"{name} spread": statistics.stdev(numbers) if len(numbers) > 1 else np.nan,
    }
    shared = sorted(values.keys() & baseline.keys())
    difference = low = high = np.nan
    if shared:
        paired = np.array([values[repeat] - baseline[repeat] for repeat in shared])
        difference, low, high = intervals({name: paired}, shared)[name]
    return figures | {f"{name} difference": difference, f"{name} low": low, f"{name} high": high}


def _cost(jobs: Sequence[Job]) -> dict[str, Any]:
    known = next((cost for job in jobs if (cost := job.cost())), {})
    return {"params": np.nan, "macs": np.nan} | known


def markdown(table: pd.DataFrame, jobs: Sequence[Job], title: str) -> str:
    """The table for reading, with what it rests on and what failed and why."""
    headings, rows = readable(table)
    lines = [
        f"# {title}",
        "",
        "| " + " | ".join(headings) + " |",
        "| :-- |" + " --: |" * (len(headings) - 1),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
        *(f"- {note}" for note in notes(jobs)),
    ]
    return "\n".join(lines) + "\n"


def readable(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Headings and rows as text: mean ± spread, difference [interval], costs in M and G."""
    metrics = [name.removesuffix(" spread") for name in table.columns if name.endswith(" spread")]
    headings, has_variants = ["Variant", "Runs"], len(table) > 1
    for metric in metrics:
        title = _title(metric)
        headings += [title, f"Δ {title} [95 %]"] if has_variants else [title]
    headings += ["Params (M)", "MACs (G)"]
    rows = []
    for index, (_, row) in enumerate(table.iterrows()):
        cells = [str(row["variant"]), str(row["runs"])]
        for metric in metrics:
            digits = 2 if metric.rpartition("/")[2] == "psnr" else 4
            cells.append(_number(row[metric], digits, spread=row[f"{metric} spread"]))
            if has_variants:
                cells.append("baseline" if index == 0 else _difference(row, metric, digits))
        cells += [_number(row["params"] / 1e6, 3), _number(row["macs"] / 1e9, 1)]
        rows.append(cells)
    return headings, rows


def upright(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The table for narrow terminals: a line for each cell of a row, as name and value.

    Example:
        >>> upright(["Variant", "Runs", "PSNR"], [["lr=1e-3", "2", "30.1"]])
        [['lr=1e-3', 'Runs', '2'], ['', 'PSNR', '30.1']]
    """
    return [
        ["" if index else variant, name, value]
        for variant, *cells in rows
        for index, (name, value) in enumerate(zip(headings[1:], cells, strict=True))
    ]


def _title(name: str) -> str:
    """`test/reds/psnr` → `test reds PSNR`; a metric of validation by its title alone."""
    *place, metric = name.split("/")
    return " ".join([*place, metric_title(metric)])


def _number(value: float, digits: int, spread: float = np.nan) -> str:
    if np.isnan(value):
        return "–"
    return f"{value:.{digits}f}" + ("" if np.isnan(spread) else f" ± {spread:.{digits}f}")


def _difference(row: pd.Series[Any], metric: str, digits: int) -> str:
    value = row[f"{metric} difference"]
    if np.isnan(value):
        return "–"
    low, high = row[f"{metric} low"], row[f"{metric} high"]
    interval = "" if np.isnan(low) else f" [{low:+.{digits}f}, {high:+.{digits}f}]"
    return f"{value:+.{digits}f}{interval}"


def notes(jobs: Sequence[Job]) -> list[str]:
    """Sources of the table, then one line for each job without a result."""
    jobs = list({job.folder: job for job in jobs}.values())
    swept, outcomes = _swept(jobs), [job.outcome() for job in jobs]
    counted = ", ".join(f"{outcomes.count(kind)} {kind}" for kind in dict.fromkeys(outcomes))
    repeats = " and ".join(key.removeprefix("data.") for key in REPEATS if key in swept)
    over = f"mean ± standard deviation over runs that differ in {repeats} alone"
    lines = [f"{len(jobs)} jobs: {counted}."]
    is_tested = any(job.tests() for job in jobs)
    if any(job.scores() for job in jobs):
        told = f"; {over}" if repeats else ""
        lines.append(f"Metrics: validation, at each run's best epoch{told}.")
    if is_tested:
        told = f": {over}; the leaderboard's mean is over all samples" if repeats else ""
        lines.append(f"Metrics of tests{told}.")
    elif FOLD in swept:
        lines.append("Folds were not tested: the same command with test=true judges each run.")
    if len(by_variant(jobs)) > 1 and "finished" in outcomes:
        lines.append(
            "Δ: mean difference to the first row between runs of equal seed and fold, with a 95 % "
            "bootstrap interval where there are two or more."
        )
    lines.append(f"MACs: multiply-accumulates for one image of {PAPER_SIZE[0]} × {PAPER_SIZE[1]}.")
    for job, outcome in zip(jobs, outcomes, strict=True):
        if outcome in ("failed", "unfinished"):
            label = _label(job, swept)
            if outcome == "unfinished" and not job.folder.is_dir():
                lines.append(f"not begun: {label}; the same command begins it")
                continue
            reason = job.error() or "it was stopped; the same command continues it"
            lines.append(f"{outcome}: {label}: {reason} ({job.folder})")
    return lines


def summarise(jobs: Sequence[Job], folder: Path) -> pd.DataFrame:
    """Write FOLDER/table.md, table.csv and jobs.csv; returns the table."""
    folder.mkdir(parents=True, exist_ok=True)
    table = ablation(jobs)
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.to_numpy(dtype=object)]
    each = [
        job.settings | _figures_of(job) | {"outcome": job.outcome(), "folder": str(job.folder)}
        for job in jobs
    ]
    texts = {
        "table.md": markdown(table, jobs, folder.name),
        "table.csv": comma_separated(rows),
        "jobs.csv": comma_separated(each),
    }
    for name, text in texts.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return table

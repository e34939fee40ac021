"""Figures reported by papers and toolboxes, one YAML file per source, and their display."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from spikerec.parsing import RUN_DOCUMENT, parse_yaml
from spikerec.results.boards import Board
from spikerec.results.rows import Metric, Row


@dataclass(frozen=True)
class Reference:
    """Figures that one source reports.

    Attributes:
        title: short name of the source.
        source: citation.
        protocols: protocols of ours beside whose figures its own may be shown.
        figures: data set → label → metric → figure.
        efficiency: label → `params` (millions), `memory` (GB), `macs` (10^12), `latency` (ms, for
            one 250 × 400 image).
        size: of the image that `memory` and `macs` are for, (H, W).
    """

    title: str
    source: str
    protocols: tuple[str, ...]
    figures: Mapping[str, Mapping[str, Mapping[str, float]]]
    efficiency: Mapping[str, Mapping[str, float]]
    size: tuple[int, int]

    def labels(self) -> list[str]:
        """Its methods, in its order."""
        return list(next(iter(self.figures.values())))


@cache
def references() -> tuple[Reference, ...]:
    """Every source that is shipped, by file name."""
    files = sorted(
        (resources.files("spikerec.results") / "reference").iterdir(), key=lambda file: file.name
    )
    return tuple(
        _parse(file.read_text(encoding="utf-8")) for file in files if file.name.endswith(".yaml")
    )


def _parse(text: str) -> Reference:
    content = parse_yaml(text, "results/reference", RUN_DOCUMENT)
    methods = content["methods"]
    return Reference(
        title=content["title"],
        source=content["source"],
        protocols=tuple(content["protocols"]),
        figures={
            dataset: {
                label: dict(zip(metrics, method[dataset], strict=True))
                for label, method in methods.items()
            }
            for dataset, metrics in content["datasets"].items()
        },
        efficiency={
            label: dict(zip(content["efficiency"], method["efficiency"], strict=True))
            for label, method in methods.items()
            if "efficiency" in method
        },
        size=tuple(content["size"]),
    )


def reference_for(board: Board) -> Reference | None:
    """The source whose figures may be shown beside a board's.

    Its data set and split are the board's, and some figures of the board were evaluated under a
    protocol that the source's may be held against.
    """
    for reference in references():
        if (
            board.name.dataset.lower() in reference.figures
            and board.name.split == "test"
            and board.protocols & set(reference.protocols)
        ):
            return reference
    return None


def reported_label(reference: Reference, row: Row) -> str | None:
    """The name under which a source lists a row's method.

    A setting in brackets (`TFP (31)`) is dropped for methods without parameters, since papers do
    not state it; a variant of a network is not the network that the paper reports.
    """
    names = {name.lower(): name for name in reference.labels()}
    label = row.record.label.lower()
    if row.record.weights.digest is None:
        label = label.partition(" (")[0]
    return names.get(label)


def reported_figure(board: Board, row: Row, metric: Metric) -> float | None:
    """The figure that the board's source reports for a row; None where it may not be shown.

    It may where the row was evaluated by this definition under a protocol of the source.
    """
    reference = reference_for(board)
    label = reported_label(reference, row) if reference else None
    if reference is None or label is None:
        return None
    if not row.protocols[metric.definition.digest] & set(reference.protocols):
        return None
    return reference.figures[board.name.dataset.lower()][label].get(metric.name)

"""What papers and other toolboxes report, one YAML file a source, and where it may be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml

from spikerec.results.boards import BoardName
from spikerec.results.record import Record


@dataclass(frozen=True)
class Reference:
    """Figures that one source reports.

    Attributes:
        title: short name of the source.
        source: citation.
        protocols: protocols of ours that its figures may stand beside.
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
    content = yaml.safe_load(text)
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


def reference_for(board: BoardName) -> Reference | None:
    """The source whose figures may stand beside a board's: same data set, split and protocol."""
    for reference in references():
        if (
            board.dataset.lower() in reference.figures
            and board.split == "test"
            and board.protocol in reference.protocols
        ):
            return reference
    return None


def reported_label(reference: Reference, record: Record) -> str | None:
    """The name under which a source lists a record's method.

    A setting in brackets (`TFP (31)`) is dropped for methods without parameters, since papers do
    not state it; a variant of a network is not the network that the paper reports.
    """
    names = {name.lower(): name for name in reference.labels()}
    label = record.label.lower()
    if record.weights.digest is None:
        label = label.partition(" (")[0]
    return names.get(label)

"""Tables on the public REDS samples: README.md's results and docs/protocols.md's preparations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.figures.measuring import DATA, loaded, parameters, score, shipped
from benchmarks.figures.pages import decibels, table
from benchmarks.figures.records import all_records, record_of
from spikerec.data import REDS
from spikerec.results import Record
from spikerec.weights.shipped import DEFAULT_MODEL

#: Filters of the table of results, by the labels of their records.
FILTERS = {
    "Hann": "`hann`",
    "TFP (31)": "TFP, 31 readouts",
    "TFP (41)": "TFP, 41 readouts",
    "TFI": "TFI",
    "TFSTP": "TFSTP",
}
PROTOCOLS = ("corrected", "cropped", "best_gain", "best_affine", "matched", "equalised")


def results() -> str:
    """PSNR, SSIM and LPIPS of the networks that ship and of the fixed filters, from the records."""
    rows = [
        [
            f"`{name}`",
            _training(record := record_of(name, "reds", "corrected")),
            f"{parameters(name) / 1e6:.2f} M",
            *_quality(record),
        ]
        for name in shipped()
    ]
    by_label = {
        record.label: record
        for record in all_records()
        if (record.dataset.name, record.protocol.name) == ("reds", "corrected")
    }
    for label, name in FILTERS.items():
        rows.append([name, "no training", "–", *_quality(by_label[label])])
    headings = ["method", "trained on", "parameters", "PSNR ↑", "SSIM ↑", "LPIPS ↓"]
    return table(headings, rows, left=2)


def _training(record: Record) -> str:
    training: Mapping[str, Any] = record.training
    data = ", ".join(f"`{name}`" for name in training["data"].split(", versions")[0].split(", "))
    return f"{data}, {training['seconds'] / 60:.0f} minutes"


def _quality(record: Record) -> list[str]:
    means = {name: record.mean(name) for name in ("psnr", "ssim", "lpips")}
    return [
        "–" if mean is None else f"{mean:.{2 if name == 'psnr' else 3}f}"
        for name, mean in means.items()
    ]


def protocols() -> str:
    """PSNR of two filters and the default network under each preparation of images."""
    methods = ("tfp", "tfi", DEFAULT_MODEL)
    data = REDS(DATA / "reds")
    rows = []
    for protocol in PROTOCOLS:
        means = [score(loaded(name), data, protocol).mean("psnr") or 0 for name in methods]
        rows.append([f"`{protocol}`", *map(decibels, means)])
    return table(["`protocol=`", *(f"`{name}`" for name in methods)], rows)

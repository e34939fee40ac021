"""Loss of PSNR by fewer bits, in the model card and in the files of the weights.

`precision=auto` decides by what the files state, so that they are written with the table.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import fmean

from safetensors.torch import load_file

from benchmarks.figures.card import LIGHT_SCALES, STILL, seen
from benchmarks.figures.measuring import DATA, SHIPPED, loaded, score, shipped
from benchmarks.figures.pages import decibels, table
from spikerec.data import REDS, Photos, SpikeDataModule, Synthetic
from spikerec.data.clips import SplitName
from spikerec.inference.quantised import parse_ranges, ranges_file, write_ranges
from spikerec.inference.ready import Precision, ready
from spikerec.models.base import Network
from spikerec.spikes.files import atomic_path
from spikerec.weights.checkpoint import digest, read_metadata
from spikerec.weights.writing import save_state

#: Precisions that are measured.
FEWER: tuple[Precision, ...] = ("bf16", "int8")


def bits() -> str:
    """Loss of PSNR in fewer bits; the files of the weights are made to state the largest.

    Ranges are measured first where there are none of these weights.
    """
    rows = []
    for name in shipped():
        path = SHIPPED / f"{name}.safetensors"
        if not _has_ranges(path, loaded(name)):
            write_ranges(loaded(name), path, overwrite=True)
        losses = _losses(name)
        for precision in FEWER:
            by_engine = losses[precision]
            most = max(loss for key, loss in by_engine.items() if key[0] in ("REDS", "simulated"))
            _state(path, precision, round(most, 3))
            rows.append([f"{name}, {precision}", *_cells(by_engine), decibels(most, 3)])
    return table(
        [
            "",
            "REDS, PyTorch / OpenVINO",
            "simulated, PyTorch / OpenVINO",
            "`synthetic`, OpenVINO",
            "at rest, OpenVINO: mean / largest",
            "largest of the first two",
        ],
        rows,
    )


def _cells(losses: dict[tuple[str, str], float]) -> Iterator[str]:
    for data in ("REDS", "simulated"):
        by_pytorch = losses.get((data, "torch"))
        first = "–" if by_pytorch is None else decibels(by_pytorch, 3)
        yield f"{first} / {decibels(losses[data, 'openvino'], 3)}"
    yield decibels(losses["synthetic", "openvino"], 3)
    yield " / ".join(decibels(losses[key, "openvino"]) for key in ("rest", "rest, largest"))


def _losses(name: str) -> dict[str, dict[tuple[str, str], float]]:
    """Precision → (data, engine) → mean loss against PyTorch in float32."""
    network = loaded(name)
    found: dict[str, dict[tuple[str, str], float]] = {precision: {} for precision in FEWER}
    with tempfile.TemporaryDirectory() as folder:
        scenes = Photos(
            Path(folder) / "photos",
            scenes={"val": 8},
            sources=DATA / "photographs",
            name="photos_medium",
        )
        scenes.fetch(lambda _: None, lambda *_: None)
        synthetic = Synthetic(Path(folder) / "synthetic", scenes={"test": 3})
        for data, one, split, margin in (
            ("REDS", REDS(DATA / "reds"), "test", 0),
            ("simulated", scenes, "val", 40),
            ("synthetic", synthetic, "test", 30),
        ):
            module = SpikeDataModule(one, window=network.window, margin=margin)
            mean = partial(_mean, network, module, split)
            whole = mean("torch", "float32")
            if data != "synthetic":
                found["bf16"][data, "torch"] = whole - mean("torch", "bf16")
            for precision, losses in found.items():
                losses[data, "openvino"] = whole - mean("openvino", precision)
    at_rest = [(one, 0.0, scale) for one in STILL for scale in LIGHT_SCALES]
    for precision, losses in found.items():
        rounded = ready(network, engine="openvino", precision=precision)
        lost = [seen(network, *one) - seen(rounded, *one) for one in at_rest]
        losses["rest", "openvino"] = fmean(lost)
        losses["rest, largest", "openvino"] = max(lost)
    return found


def _mean(
    network: Network, data: SpikeDataModule, split: SplitName, engine: str, precision: str
) -> float:
    """Mean PSNR of a set, computed by an engine in a precision."""
    record = score(network, data, split=split, engine=engine, precision=precision)
    mean = record.mean("psnr")
    assert mean is not None
    return mean


def _has_ranges(path: Path, network: Network) -> bool:
    """True if the ranges of these very weights are beside their file."""
    file = ranges_file(path)
    return file.is_file() and parse_ranges(file).weights == digest(network.state_dict())


def _state(path: Path, precision: str, loss_db: float) -> None:
    """Let the file of weights, or for int8 that of their ranges, state a loss."""
    if precision == "int8":
        file = ranges_file(path)
        stated = asdict(replace(parse_ranges(file), loss_db=loss_db))
        with atomic_path(file) as temporary:
            temporary.write_text(json.dumps(stated, indent=1) + "\n", encoding="utf-8")
        return
    metadata = read_metadata(path)
    losses = json.loads(metadata["precision_loss_db"]) | {precision: loss_db}
    metadata |= {"precision_loss_db": json.dumps(losses)}
    save_state(path, load_file(path), metadata, overwrite=True)

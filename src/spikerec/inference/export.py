"""A network as one file that runs without this package: torch.export (`.pt2`) or ONNX.

The file takes a window of spikes of one size, (1, T, H, W) float32, 0 and 1, and returns the image,
(1, 1, H, W) float32, in the network's unit (see `Network.output_scale`). Padding is inside. What
else it takes to run the file, it states (`inference.statement`); `spikerec.runtime` does.
"""

from __future__ import annotations

import importlib
import json
import logging
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikerec.describing import arguments, describe
from spikerec.errors import EXHAUSTED, ConfigError, DataError, fault_number
from spikerec.extras import require
from spikerec.inference.statement import MOST_ONNX_BYTES, STATEMENT, Statement
from spikerec.models.base import Network
from spikerec.parsing import RUN_DOCUMENT, parse_json, parsing
from spikerec.spikes.files import atomic_path
from spikerec.weights.checkpoint import digest

#: Largest difference from the network's own output that is let pass: rounding of other kernels.
TOLERANCE = 1e-3
#: Packages whose loggers report each step.
CONVERTERS = ("onnx_ir", "onnxscript", "torch.onnx")


class Standalone(nn.Module):
    """The module that is exported: a window in, an image out."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, spikes: Tensor) -> Tensor:
        """(1, T, H, W) → (1, 1, H, W)."""
        own = self.network.output_scale or 1.0  # a stream of this light scale has a gain of 1
        return self.network.reconstruct(spikes, own, validate=False).image


def export(
    network: Network,
    path: Path,
    size: tuple[int, int],
    *,
    seed: int = 0,
    overwrite: bool = False,
) -> float | None:
    """Write a network to a file, once its output there has been seen to be the network's own.

    The file states the network, its weights and the size. An export that is already there is kept.

    Args:
        network: on the CPU; put in eval mode.
        path: `.pt2` or `.onnx`.
        size: (H, W) of the pictures it will take.
        seed: of the random spikes that both are compared on.
        overwrite: replace an export of something else.

    Returns:
        The largest difference between the two images; None if the file is there already and states
        the same network, weights and size.

    Raises:
        ConfigError: another suffix, a package that ONNX needs is missing, or a network with an
            operation that the format does not know.
        DataError: the file is there with something else, or the images differ by more than
            `TOLERANCE`.
    """
    if path.suffix not in (".pt2", ".onnx"):
        raise ConfigError(f"{path}: expected .pt2 or .onnx, found {path.suffix!r}.")
    if path.suffix == ".onnx":
        for name in ("onnx", "onnxscript", "onnxruntime"):
            require(name, "export to ONNX")
    stated = _statement(network, size)
    if path.exists():
        found_before = _read_statement(path)
        differing = _differing(found_before, stated)
        if not differing:
            return None
        if not (overwrite and found_before):
            others = ", or replace it by overwrite=true" if found_before else ", or move it away"
            raise DataError(f"{path} exists already{differing}: name another{others}.")
    module = Standalone(network).eval()
    generator = torch.Generator().manual_seed(seed)
    spikes = (torch.rand((1, network.window, *size), generator=generator) < 0.3).float()
    with torch.no_grad(), atomic_path(path) as temporary:
        expected = module(spikes)
        try:
            _write(module, spikes, temporary, stated)
            found = run_exported(temporary, spikes)
        except Exception as error:
            if fault_number(error) in EXHAUSTED:  # it says nothing about the network
                raise
            raise ConfigError(
                f"{type(network).__name__} has no {path.suffix} form: {_reason(error)}"
            ) from error
        difference = float((found - expected).abs().max())
        if not difference <= TOLERANCE:
            raise DataError(
                f"{path} is not written: its image differs from the network's by "
                f"{difference:.2g}, expected at most {TOLERANCE:g}."
            )
    return difference


def _write(module: Standalone, spikes: Tensor, path: Path, stated: dict[str, Any]) -> None:
    text = json.dumps(stated, sort_keys=True)
    if path.suffix == ".pt2":
        program = torch.export.export(module, (spikes,), strict=False)
        torch.export.save(program, path, extra_files={STATEMENT: text})
    else:
        write_onnx(module, spikes, path, {STATEMENT: text})


def write_onnx(module: nn.Module, spikes: Tensor, path: Path, about: Mapping[str, str]) -> None:
    """Write a module as ONNX.

    Args:
        module: in eval mode.
        spikes: an input of the size that it will take.
        path: the file.
        about: metadata of the file.
    """
    program = torch.export.export(module, (spikes,), strict=False)
    with _quiet():
        made = torch.onnx.export(program, dynamo=True, verbose=False)
    assert made is not None
    made.model.metadata_props.update(about)
    made.save(str(path), external_data=False)


def _statement(network: Network, size: tuple[int, int]) -> dict[str, Any]:
    """State what an exported file holds, so that it can be run, and repeated commands compare."""
    try:
        given = describe(arguments(network), "network")
    except ConfigError:  # an argument without a description, such as a lambda: never the same
        given = None
    return Statement(
        network=f"{type(network).__module__}.{type(network).__qualname__}",
        arguments=given,
        weights=digest(network.state_dict()),
        window=network.window,
        key_readout=network.key_readout,
        output_scale=network.output_scale,
        size=list(size),
    ).plain


def _read_statement(path: Path) -> dict[str, Any]:
    """Read what an exported file states, without loading the network; empty if it states nothing.

    Raises:
        DataError: the file is damaged.
    """
    try:
        with parsing(path, path.suffix):
            text = _pt2_statement(path) if path.suffix == ".pt2" else _onnx_statement(path)
        stated = parse_json(text, path, RUN_DOCUMENT) if text else {}
    except DataError as error:
        raise DataError(f"{error} Name another output, or move it away.") from error
    return stated if isinstance(stated, dict) else {}


def _pt2_statement(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        if (damaged := archive.testzip()) is not None:
            raise zipfile.BadZipFile(damaged)
        for entry in archive.infolist():
            is_bounded = entry.file_size <= RUN_DOCUMENT.bytes
            if entry.filename.endswith(f"/extra/{STATEMENT}") and is_bounded:
                return archive.read(entry)
    return b""


def _onnx_statement(path: Path) -> bytes:
    if path.stat().st_size > MOST_ONNX_BYTES:
        raise ValueError("it is larger than an ONNX file can be")
    onnx = importlib.import_module("onnx")
    model = onnx.load(str(path), load_external_data=False)
    onnx.checker.check_model(model)
    texts = [one.value for one in model.metadata_props if one.key == STATEMENT]
    return texts[0].encode() if texts else b""


def _differing(found: dict[str, Any], stated: dict[str, Any]) -> str:
    """Say in which parts a file is not what would be written; empty if it is the same."""
    if found.keys() != stated.keys():
        return " with something else"
    if stated["arguments"] is None:
        return " and cannot be compared"
    parts = [name for name, value in stated.items() if found[name] != value]
    return f" with another {', another '.join(parts)}" if parts else ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the converters' account of each graph that they could not simplify."""
    loggers = [logging.getLogger(name) for name in CONVERTERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _reason(error: BaseException) -> str:
    """The first of the errors behind one, which names the operation, in a line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:300] or type(error).__name__


def run_exported(path: Path, spikes: Tensor) -> Tensor:
    """The image that an exported file computes.

    Args:
        path: `.pt2` or `.onnx`.
        spikes: (1, T, H, W) float32 of the size it was exported for.
    """
    if path.suffix == ".pt2":
        image: Tensor = torch.export.load(path).module()(spikes)
        return image
    onnxruntime = importlib.import_module("onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: spikes.numpy()})
    return torch.from_numpy(output)

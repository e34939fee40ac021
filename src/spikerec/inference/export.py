"""A network as one file that runs without this package: torch.export (`.pt2`) or ONNX.

The file takes a window of spikes of one size, (1, T, H, W) float32, 0 and 1, and gives the image,
(1, 1, H, W) float32, in the network's unit (see `Network.output_scale`). Padding is inside.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from spikerec.errors import ConfigError, DataError
from spikerec.extras import require
from spikerec.models.base import Network
from spikerec.spikes.files import atomic_path

#: Largest difference from the network's own output that is let pass: rounding of other kernels.
TOLERANCE = 1e-3
#: Whose loggers tell of each step.
CONVERTERS = ("onnx_ir", "onnxscript", "torch.onnx")


class Standalone(nn.Module):
    """What is exported: a window in, an image out."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, spikes: Tensor) -> Tensor:
        """(1, T, H, W) → (1, 1, H, W)."""
        own = self.network.output_scale or 1.0  # a stream of this light scale has a gain of 1
        return self.network.reconstruct(spikes, own, validate=False).image


def export(network: Network, path: Path, size: tuple[int, int], *, seed: int = 0) -> float:
    """Write a network to a file, once its output there has been seen to be the network's own.

    Args:
        network: on the CPU; put in eval mode.
        path: `.pt2` or `.onnx`.
        size: (H, W) of the pictures it will take.
        seed: of the random spikes that both are compared on.

    Returns:
        The largest difference between the two images.

    Raises:
        ConfigError: another suffix, a package that ONNX needs is missing, or a network with an
            operation that the format does not know.
        DataError: the file exists, or the images differ by more than `TOLERANCE`.
    """
    if path.suffix not in (".pt2", ".onnx"):
        raise ConfigError(f"output={path}: expected .pt2 or .onnx, found {path.suffix!r}.")
    if path.exists():
        raise DataError(f"output={path} is there already: name another, or move it away.")
    if path.suffix == ".onnx":
        for name in ("onnx", "onnxscript", "onnxruntime"):
            require(name, "export to ONNX")
    module = Standalone(network).eval()
    generator = torch.Generator().manual_seed(seed)
    spikes = (torch.rand((1, network.window, *size), generator=generator) < 0.3).float()
    with torch.no_grad(), atomic_path(path) as temporary:
        expected = module(spikes)
        try:
            with _quiet():
                _write(module, spikes, temporary)
                found = run_exported(temporary, spikes)
        except Exception as error:
            raise ConfigError(
                f"{type(network).__name__} has no {path.suffix} form: {_reason(error)}"
            ) from error
        difference = float((found - expected).abs().max())
        if not difference <= TOLERANCE:
            raise DataError(
                f"output={path} is not written: its image differs from the network's by "
                f"{difference:.2g}, expected at most {TOLERANCE:g}."
            )
    return difference


def _write(module: Standalone, spikes: Tensor, path: Path) -> None:
    program = torch.export.export(module, (spikes,), strict=False)
    if path.suffix == ".pt2":
        torch.export.save(program, path)
    else:
        torch.onnx.export(program, f=str(path), dynamo=True, external_data=False, verbose=False)


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
    """The image that an exported file gives.

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

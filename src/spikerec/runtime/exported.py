"""A network in an ONNX file of `spikerec export`, computed by ONNX Runtime or OpenVINO."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spikerec.errors import (
    EXHAUSTED,
    ConfigError,
    DataError,
    DataNotFoundError,
    GeometryError,
    fault_number,
)
from spikerec.extras import require
from spikerec.inference.statement import (
    MOST_ONNX_BYTES,
    STATEMENT,
    Statement,
    parse_statement,
)
from spikerec.kinds import checked
from spikerec.parsing import parsing, shown
from spikerec.runtime.wire import check_own_data
from spikerec.spikes import SpikeStream

Engine = Literal["onnxruntime", "openvino"]
Precision = Literal["float32", "bf16"]

#: Precision → OpenVINO's names: of the numbers, and of the processor's capability.
PRECISIONS = {"float32": ("f32", "FP32"), "bf16": ("bf16", "BF16")}

#: One window (1, T, H, W) to an image (1, 1, H, W), both float32.
Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@checked
class Exported:
    """A network that an ONNX file holds, ready to compute.

    The file is a program: run only files from people whom you trust.

    Args:
        path: written by `spikerec export`.
        engine: the package that computes it.
        precision: `bf16` computes in 16 bits where they suffice, by OpenVINO alone.

    Attributes:
        path: of the file.
        engine: as given.
        precision: as given.
        stated: facts that the file states about the network.

    Raises:
        DataNotFoundError: no such file.
        DataError: not an ONNX file, or not one that `spikerec export` writes now; one that names
            another file.
        ConfigError: the engine is not installed, or does not compute in the precision.
    """

    def __init__(
        self,
        path: Path,
        engine: Engine = "onnxruntime",
        precision: Precision = "float32",
    ) -> None:
        if not path.is_file():
            raise DataNotFoundError(
                f"{path} does not exist: expected the .onnx of spikerec export."
            )
        if path.suffix.lower() != ".onnx":
            raise ConfigError(f"{path}: expected the .onnx of spikerec export.")
        if path.stat().st_size > MOST_ONNX_BYTES:
            raise DataError(f"{path} is larger than an ONNX file can be.")
        require(engine, f"engine={engine}")
        check_own_data(path)
        start = _onnxruntime if engine == "onnxruntime" else _openvino
        text, shape, self._run = start(path, precision)
        self.path, self.engine, self.precision = path, engine, precision
        self.stated: Statement = parse_statement(text, path)
        if shape != [1, self.window, *self.stated.size]:
            found = " × ".join(map(shown, shape))
            raise DataError(
                f"{path} states windows of {self.window} × {self._size}, but its network takes "
                f"{found}: write it again, spikerec export output=NAME.onnx."
            )

    @property
    def window(self) -> int:
        """Readouts that the network sees."""
        return self.stated.window

    @property
    def key_readout(self) -> int:
        """Index in the window of the readout that is reconstructed."""
        return self.stated.key_readout

    @property
    def output_scale(self) -> float | None:
        """Light scale at which the image is intensity; None for intensity at any."""
        return self.stated.output_scale

    @property
    def name(self) -> str:
        """The class of the network."""
        return self.stated.network.rpartition(".")[2]

    @property
    def _size(self) -> str:
        return " × ".join(map(str, self.stated.size))

    def check(self, stream: SpikeStream) -> None:
        """Refuse a stream of another picture, or of a colour camera.

        Raises:
            GeometryError: another size.
            ConfigError: the stream states colours.
        """
        if [stream.height, stream.width] != self.stated.size:
            found = f"{stream.height} × {stream.width}"
            raise GeometryError(
                f"{stream.path} is {found}, but {self.path} takes pictures of {self._size}: export "
                f"the network for these, size=[{stream.height},{stream.width}]."
            )
        if stream.bayer is not None:
            raise ConfigError(
                f"{stream.path} states colours (bayer={stream.bayer}), which an exported network "
                "does not see: use spikerec reconstruct."
            )

    def image(self, window: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the image (H, W) of a window (T, H, W), in the network's unit.

        Raises:
            DataError: the engine cannot, or what it computes is no image of finite numbers.
        """
        try:
            made = self._run(window[None].astype(np.float32))
        except Exception as error:
            if fault_number(error) in EXHAUSTED:
                raise
            raise DataError(
                f"{self.path} cannot be computed by {self.engine} ({type(error).__name__})."
            ) from error
        if not isinstance(made, np.ndarray) or made.shape != (1, 1, *self.stated.size):
            raise DataError(f"{self.path} computes no image of {self._size}.")
        if made.dtype != np.float32 or not np.isfinite(made).all():
            raise DataError(
                f"{self.path} computes an image that is not made of finite numbers: the weights "
                "that it was exported with are damaged, or their training had failed."
            )
        image: NDArray[np.float32] = made[0, 0]
        return image


def _threads() -> int:
    """Processor cores that this process may use, or fewer where `OMP_NUM_THREADS` says so."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    stated = os.environ.get("OMP_NUM_THREADS", "")
    return int(stated) if stated.isdecimal() and int(stated) else available or 1


def _onnxruntime(path: Path, precision: str) -> tuple[str, list[Any], Run]:
    """Start ONNX Runtime: the file's statement, the shape of its input, and its computation."""
    if precision != "float32":
        raise ConfigError(
            f"precision={precision} is not what ONNX Runtime computes in on a CPU: expected "
            "float32, or engine=openvino."
        )
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads()
    options.log_severity_level = 4  # its errors are raised too
    with parsing(path, "ONNX"):
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        (taken,) = session.get_inputs()
        text = session.get_modelmeta().custom_metadata_map.get(STATEMENT, "")
    return text, list(taken.shape), lambda window: session.run(None, {taken.name: window})[0]


def _openvino(path: Path, precision: str) -> tuple[str, list[Any], Run]:
    """Start OpenVINO: the file's statement, the shape of its input, and its computation."""
    import openvino

    core = openvino.Core()
    hint, capability = PRECISIONS[precision]
    if capability not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ConfigError(
            f"precision={precision} is not what this processor computes in by OpenVINO: expected "
            "float32."
        )
    settings = {
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": _threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    with parsing(path, "ONNX"):
        network = core.read_model(path)
        key = ["framework", STATEMENT]
        text = str(network.get_rt_info(key).value) if network.has_rt_info(key) else ""
        shape = list(network.input().get_shape())
        compiled = core.compile_model(network, "CPU", settings)
    return text, shape, lambda window: compiled(window)[0]

"""ONNX Runtime: an engine for CPUs, in float32."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from spikerec.errors import ConfigError
from spikerec.extras import require
from spikerec.inference.engines.converted import converted
from spikerec.inference.engines.served import ImageOnly, Program, Served
from spikerec.inference.export import write_onnx
from spikerec.models.base import Network

MODEL = "model.onnx"


class ONNXRuntime(Served):
    """A network that ONNX Runtime computes."""

    engine = "onnxruntime"

    def __init__(self, network: Network, precision: str) -> None:
        for package in ("onnx", "onnxscript", "onnxruntime"):
            require(package, "engine=onnxruntime")
        if precision != "float32":
            raise ConfigError(
                f"precision={precision} is not what ONNX Runtime computes in on a CPU: expected "
                "float32, or engine=openvino."
            )
        super().__init__(network, precision)

    def convert(self, size: tuple[int, ...], *, alone: bool) -> Program:
        """See `Served.convert`."""
        del alone
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        with converted(self.network, "onnxruntime", size, partial(self._write, size)) as folder:
            session = onnxruntime.InferenceSession(
                str(folder / MODEL), options, providers=["CPUExecutionProvider"]
            )
        name = session.get_inputs()[0].name

        def run(windows: Tensor) -> Tensor:
            images = [
                torch.from_numpy(session.run(None, {name: window[None].float().numpy()})[0])
                for window in windows
            ]
            return torch.cat(images)

        return run

    def _write(self, size: tuple[int, ...], folder: Path) -> None:
        """Convert the network into a folder."""
        write_onnx(ImageOnly(self.network).eval(), torch.zeros((1, *size)), folder / MODEL, {})

"""OpenVINO: Intel's engine for CPUs of any maker, in float32, 16 bits or 8 bits."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikerec.errors import ConfigError
from spikerec.extras import require
from spikerec.inference.engines.converted import converted
from spikerec.inference.engines.served import ImageOnly, Program, Served
from spikerec.inference.quantised import quantised, read_ranges
from spikerec.kernels.processor import multiplies_bytes
from spikerec.models.base import Network

#: Precision → the engine's names: of the numbers, and of the processor's capability.
PRECISIONS = {"float32": ("f32", "FP32"), "bf16": ("bf16", "BF16"), "fp16": ("f16", "FP16")}
#: File of a converted network; its numbers lie beside it, under the same name with .bin.
MODEL = "model.xml"


def supported() -> list[str]:
    """The precisions that this processor computes in.

    Raises:
        MissingPackageError: OpenVINO is not installed.
    """
    require("openvino", "engine=openvino")
    import openvino

    has = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    found = [name for name, (_, capability) in PRECISIONS.items() if capability in has]
    return [*found, "int8"] if multiplies_bytes() else found


class OpenVINO(Served):
    """A network that OpenVINO computes."""

    engine = "openvino"

    def __init__(self, network: Network, precision: str) -> None:
        if precision not in supported():
            raise ConfigError(
                f"precision={precision} is not what this processor computes in by OpenVINO: "
                f"expected one of {', '.join(supported())}."
            )
        super().__init__(network, precision)
        self.converted, self.numbers = self.network, precision
        if precision == "int8":
            self.converted = quantised(self.network, read_ranges(self.network).ranges)
            self.numbers = "bf16" if "bf16" in supported() else "float32"  # of all else

    def convert(self, size: tuple[int, ...], *, alone: bool) -> Program:
        """See `Served.convert`."""
        import openvino

        core = openvino.Core()
        with converted(self.converted, "openvino", size, partial(self._write, size)) as folder:
            network = core.read_model(folder / MODEL)
        settings = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[self.numbers][0],
            "INFERENCE_NUM_THREADS": self.threads,
            "PERFORMANCE_HINT": "LATENCY" if alone else "THROUGHPUT",
        }
        queue = openvino.AsyncInferQueue(core.compile_model(network, "CPU", settings))
        return lambda windows: _run(queue, windows)

    def _write(self, size: tuple[int, ...], folder: Path) -> None:
        """Convert the network, for windows of bytes, into a folder."""
        import openvino
        from openvino.preprocess import PrePostProcessor

        example = torch.zeros((1, *size))
        program = torch.export.export(ImageOnly(self.converted).eval(), (example,), strict=False)
        steps = PrePostProcessor(openvino.convert_model(program))
        steps.input().tensor().set_element_type(openvino.Type.u8)
        openvino.save_model(steps.build(), folder / MODEL, compress_to_fp16=False)


def _run(queue: Any, windows: Tensor) -> Tensor:  # noqa: ANN401 (OpenVINO has no types for it)
    """The images of windows (B, T, H, W), as many at once as the queue has places."""
    images = np.empty((len(windows), 1, *windows.shape[-2:]), np.float32)

    def keep(request: Any, index: int) -> None:  # noqa: ANN401
        images[index] = request.get_output_tensor().data[0]

    queue.set_callback(keep)
    for index, window in enumerate(windows):
        queue.start_async({0: window[None].numpy()}, index)
    queue.wait_all()
    return torch.from_numpy(images)

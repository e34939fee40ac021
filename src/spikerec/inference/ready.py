"""A network made ready to run: by which program its images are computed, and in which numbers."""

from __future__ import annotations

import copy
import math
from contextlib import suppress
from typing import Literal, get_args

import torch

from spikerec.errors import ConfigError, DataError
from spikerec.inference.carried import Carried
from spikerec.inference.quantised import read_ranges
from spikerec.inference.rearrangement import optimised
from spikerec.inference.wrapped import InPrecision
from spikerec.kernels.devices import has_kernels, is_fast_in_bf16
from spikerec.models.base import Network
from spikerec.models.carrying import Carry
from spikerec.values import check_offered
from spikerec.weights.checkpoint import read_entry
from spikerec.weights.trained import weights_file

Engine = Literal["torch", "compile", "openvino", "onnxruntime"]
Precision = Literal["float32", "bf16", "fp16", "int8"]

#: Precision → PyTorch's type.
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


#: Loss that `precision=auto` accepts, in dB of PSNR.
MOST_LOSS_DB = 0.05


def choose_precision(
    network: Network,
    device: torch.device,
    engine: str = "torch",
    precision: str = "auto",
    carry: Carry = None,
) -> str:
    """Return the precision to compute a network in.

    Args:
        network: states the file of its weights, which says what precisions cost it.
        device: where the images will be computed.
        engine: as in `ready`.
        precision: returned as it is, but for `auto`: the first of `int8` and `bf16` that the
            engine and the device are fast in and by which the weights lose less than 0.05 dB of
            PSNR, else `float32`. A filter, which has no weights, is computed in `float32` whatever
            is asked for.
        carry: windows through which a state comes, which is carried in `float32` alone.
    """
    _check("precision", precision, ("auto", *get_args(Precision)))
    if is_filter(network):
        return "float32"
    if precision != "auto":
        return precision
    if carry is not None:
        return "float32"
    if engine == "openvino":
        from spikerec.inference.engines.openvino import supported

        fast = supported()
    else:
        fast = ["bf16"] if is_fast_in_bf16(device) else []
    losses = losses_db(network)
    for name in ("int8", "bf16"):
        if name in fast and losses.get(name, math.inf) < MOST_LOSS_DB:
            return name
    return "float32"


def losses_db(network: Network) -> dict[str, float]:
    """Precision → loss of PSNR in dB, as the file of the network's weights states it.

    That of `int8` is in the file of their ranges. Empty where no file states a loss, as that of a
    checkpoint does not.
    """
    file = weights_file(network)
    if file is None or file.suffix != ".safetensors":
        return {}
    stated = read_entry(file, "precision_loss_db")
    losses = {name: loss for name, loss in stated.items() if isinstance(loss, float)}
    with suppress(ConfigError, DataError):  # a network without ranges, or with damaged ones
        in_8_bits = read_ranges(network).loss_db
        if in_8_bits is not None:
            losses["int8"] = in_8_bits
    return losses


def ready(
    network: Network,
    device: torch.device | None = None,
    *,
    optimise: bool = True,
    engine: str = "torch",
    precision: str = "float32",
    carry: Carry = None,
) -> Network:
    """Return a network, for inference alone, that computes another's images.

    Args:
        network: any; left as it is.
        device: where the images will be computed; None for where the network is.
        optimise: rearrange the network where PyTorch computes it as it is written (`optimised`).
        engine: `torch`; `compile`, PyTorch's own compiler; `openvino` or `onnxruntime`, on the CPU.
        precision: `float32`; `bf16` or `fp16` compute in 16 bits where these suffice; `int8`, by
            OpenVINO, in 8 bits where the ranges beside the weights state how (`quantised`).
        carry: windows through which the network's state comes to an image (see `Carried`).

    Raises:
        ConfigError: another engine or precision, one whose package is not installed, one that the
            device does not have, or one that carries no state; a state to carry by a network that
            has none.
    """
    check_offered("engine", engine)
    _check("engine", engine, get_args(Engine))
    _check("precision", precision, get_args(Precision))
    device = device or next((p.device for p in network.parameters()), torch.device("cpu"))
    if carry is not None:
        if (engine, precision) != ("torch", "float32"):
            raise ConfigError(
                f"carry={carry} needs engine=torch and precision=float32, found "
                f"engine={engine} and precision={precision}: these see each window on its own."
            )
        return Carried(optimised(network, device) if optimise else network, carry)
    if engine in ("openvino", "onnxruntime"):
        if not has_kernels(device):
            raise ConfigError(
                f"engine={engine} computes on the CPU, but device is {device}: set device=cpu, or "
                "engine=compile."
            )
        return _served(_copied(network), engine, precision)
    if precision == "int8":
        raise ConfigError(
            f"precision=int8 needs engine=openvino on a CPU, found engine={engine}: set "
            "engine=openvino, or precision=auto."
        )
    if engine == "compile":
        from spikerec.inference.engines.compile import Compiled

        made: Network = Compiled(_copied(network))
    else:
        made = optimised(network, device) if optimise else network
    return made if precision == "float32" else InPrecision(made, DTYPES[precision])


def is_filter(network: Network) -> bool:
    """True if a network has no weights."""
    return next(network.parameters(), None) is None


def _copied(network: Network) -> Network:
    """A copy whose tensors may be converted, also where the caller is in inference mode."""
    with torch.inference_mode(False), torch.no_grad():
        return copy.deepcopy(network).eval().requires_grad_(False)


def _served(network: Network, engine: str, precision: str) -> Network:
    if is_filter(network):
        return network  # nothing to convert
    if engine == "openvino":
        from spikerec.inference.engines.openvino import OpenVINO

        return OpenVINO(network, precision)
    from spikerec.inference.engines.onnxruntime import ONNXRuntime

    return ONNXRuntime(network, precision)


def _check(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{name} must be one of {', '.join(known)}, found {value!r}.")

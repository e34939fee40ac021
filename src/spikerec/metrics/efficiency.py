"""The cost of a network: parameters, multiply-accumulates, peak memory, latency.

Operations and memory are derived on PyTorch's `meta` device, where tensors have shapes and no
values: a 720 × 1280 image costs no memory and no time, and the figures are the same on every
machine. Latency is measured where the network runs, and names the device.
"""

from __future__ import annotations

import copy
import logging
import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from spikerec.errors import ConfigError, SpikerecError
from spikerec.inference.footprint import peak_memory, whole_window
from spikerec.inference.ready import choose_precision, ready
from spikerec.kernels.devices import counts_memory, device_name, wait_for
from spikerec.metrics.sizes import LATENCY_SIZES, PAPER_SIZE, Size
from spikerec.models.base import Network, State
from spikerec.models.modes import in_eval_mode

_log = logging.getLogger(__name__)

Counting = Literal["full", "published"]

#: Letters of a foreign message that are quoted.
QUOTED = 160


@dataclass(frozen=True)
class Latency:
    """Time for one image, from the window of spikes on the device to the image on the device.

    Attributes:
        size: [H, W].
        median_ms: median over the repeats, in milliseconds.
        quartiles_ms: first and third quartile.
        repeats: how many were timed.
        warmup: how many ran before, untimed.
        device: name of the processor, and its number of threads where it is a CPU.
    """

    size: Size
    median_ms: float
    quartiles_ms: tuple[float, float]
    repeats: int
    warmup: int
    device: str


def parameters(network: Network) -> int:
    """Number of learned values, each shared one counted once."""
    return sum(parameter.numel() for parameter in network.parameters())


def macs(
    network: Network, size: Size, counting: Counting = "full", *, in_video: bool = False
) -> int:
    """Multiply-accumulates for one image of H × W pixels, padding included.

    Args:
        network: any method.
        size: H, W.
        counting: `full` counts every convolution, deformable ones too, linear layer, matrix
            product and attention, as the device executes them. `published` counts as thop does,
            which the papers' tables fit: attention and deformable convolutions are left out, and a
            transposed convolution counts at its output's size, which is more than it executes. A
            layer that thop leaves out states it: `unseen_by_thop = True`.
        in_video: of a network that carries state, a window that goes on from the one before,
            instead of a window on its own.

    Raises:
        ConfigError: `in_video` of a network without state.
    """
    if in_video and network.hop is None:
        raise ConfigError(f"{type(network).__name__} carries no state: in_video must be false.")
    shell = copy.deepcopy(network).to("meta").eval()
    run = _next_window(shell, size)[0] if in_video else whole_window(shell, size)
    with torch.no_grad():
        return _executed_macs(run) if counting == "full" else _published_macs(shell, run)


def countable(count: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a function counts, or nothing with a warning if it needs values to count.

    A network of one's own may ask for its device or look at values, which the device `meta` does
    not have.
    """
    try:
        return count()
    except SpikerecError:
        raise
    except Exception as error:  # noqa: BLE001 (whatever the network's own code raises)
        text = " ".join(str(error).split())[:QUOTED]
        _log.warning(
            "operations were not counted, as the network does not run without values: %s", text
        )
        return {}


def _executed_macs(run: Callable[[], object]) -> int:
    counter = FlopCounterMode(display=False)
    with counter:
        run()
    return _macs_of(counter)


def _published_macs(shell: Network, run: Callable[[], object]) -> int:
    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.convolution: _flops_by_output}
    )
    unseen = 0

    def enter(_module: nn.Module, _inputs: object) -> None:
        nonlocal unseen
        unseen -= _macs_of(counter)

    def leave(_module: nn.Module, _inputs: object, _output: object) -> None:
        nonlocal unseen
        unseen += _macs_of(counter)

    for module in shell.modules():
        if _is_unseen_by_thop(module):
            module.register_forward_pre_hook(enter)
            module.register_forward_hook(leave)
    with counter:
        run()
    return _macs_of(counter) - unseen


def _is_unseen_by_thop(module: nn.Module) -> bool:
    """True for modules that state it, and for PyTorch's own attention."""
    stated = getattr(module, "unseen_by_thop", False)
    return isinstance(module, nn.MultiheadAttention) or bool(stated)


def _flops_by_output(
    _x: Any,  # noqa: ANN401 (shapes and arguments of aten.convolution)
    weight: torch.Size,
    _bias: Any,  # noqa: ANN401
    _stride: Any,  # noqa: ANN401
    _padding: Any,  # noqa: ANN401
    _dilation: Any,  # noqa: ANN401
    transposed: bool,
    *_rest: Any,  # noqa: ANN401
    out_shape: torch.Size,
) -> int:
    """Operations of a convolution by its output's size, a transposed one too."""
    # the weight is (out, in, taps…), or (in, out, taps…) where transposed, the second by group
    outputs = weight[1] if transposed else weight[0]
    return 2 * math.prod(out_shape) * (math.prod(weight) // outputs)


def _macs_of(counter: FlopCounterMode) -> int:
    flops: Any = counter.get_total_flops()  # untyped
    return int(flops) // 2  # a multiplication and an addition each


def _next_window(shell: Network, size: Size) -> tuple[Callable[[], object], State]:
    """The second window of a stream on the meta device, and the state at hand."""
    spikes = torch.empty((1, shell.window, *size), dtype=shell.dtype, device="meta")
    with torch.no_grad():
        _, state = shell.reconstruct_next(spikes)
    return lambda: shell.reconstruct_next(spikes, 1.0, state), state


def state_bytes(network: Network, size: Size) -> int:
    """Bytes of the state that a network carries from window to window of H × W pixels."""
    _, state = _next_window(copy.deepcopy(network).to("meta").eval(), size)
    return sum(one.nbytes for one in tree_leaves(state) if isinstance(one, Tensor))


def measured_peak_memory(network: Network, size: Size, device: torch.device) -> int:
    """Most bytes that PyTorch allocated on a CUDA device for one image of H × W, without gradients.

    The network is moved to the device.
    """
    network = network.to(device)
    spikes = random_window(network, size, device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    with torch.inference_mode(), in_eval_mode(network):
        network.reconstruct(spikes, 1.0, validate=False)
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)


def latency(
    network: Network,
    size: Size,
    device: torch.device,
    *,
    repeats: int = 20,
    warmup: int = 3,
    limit_s: float = 60,
) -> Latency:
    """Time for one image of H × W pixels, padding included.

    The network is moved to the device.

    Args:
        network: any method.
        size: H, W.
        device: where to run.
        repeats: timed runs, at least 2.
        warmup: untimed runs before them, at least 1.
        limit_s: seconds after which no further run starts, once one ran untimed and two timed; the
            result states how many there were.

    Raises:
        ConfigError: too few runs.
    """
    if repeats < 2 or warmup < 1:
        raise ConfigError(
            f"latency needs at least 1 warm-up and 2 timed runs, found {warmup} and {repeats}."
        )
    network = network.to(device)
    spikes = random_window(network, size, device)
    until = time.perf_counter() + limit_s
    with in_eval_mode(network):
        untimed = _time(network, spikes, warmup, least=1, until=until)
        times = _time(network, spikes, repeats, least=2, until=until)
    first, median, third = statistics.quantiles(times, n=4, method="inclusive")
    return Latency(size, median, (first, third), len(times), len(untimed), device_name(device))


def _time(network: Network, spikes: Tensor, runs: int, *, least: int, until: float) -> list[float]:
    """Milliseconds of each run; past the moment `until`, only the `least` number of runs."""
    times: list[float] = []
    with torch.inference_mode():
        while len(times) < runs and (len(times) < least or time.perf_counter() < until):
            start = time.perf_counter()
            network.reconstruct(spikes, 1.0, validate=False)
            wait_for(spikes.device)
            times.append(1e3 * (time.perf_counter() - start))
    return times


def measure(
    network: Network,
    *,
    device: torch.device | str = "cpu",
    size: Size = PAPER_SIZE,
    latency_sizes: Iterable[Size] = LATENCY_SIZES,
    repeats: int = 20,
    warmup: int = 3,
    optimise: bool = False,
    engine: str = "torch",
    precision: str = "float32",
) -> dict[str, Any]:
    """All costs of a network, as the plain values that a record keeps.

    The network is moved to the device.

    Args:
        network: any method.
        device: where latency is measured.
        size: H, W of the image for which operations and memory are stated.
        latency_sizes: sizes of the images that are timed.
        repeats: timed runs for each.
        warmup: untimed runs before them.
        optimise: time the network as `spikerec.inference.rearrangement.optimised` rearranges it.
        engine: the program that is timed (see `spikerec.inference.ready`).
        precision: the numbers it computes in; `auto` as `choose_precision` has it.

    Returns:
        `params`, `macs`, `macs_published` (see `macs`; of a network that carries state in a video,
        as the papers count), `memory_bytes` (see `peak_memory`) and `size`; of a network that
        carries state `macs_in_video` and `state_bytes`; `memory_measured_bytes` on a CUDA device;
        `latency`, a list of `Latency` as dictionaries; `optimised`, whether these are of the
        rearranged network; `engine` and `precision`, of these too.
    """
    device = torch.device(device)
    cost: dict[str, Any] = {
        "size": list(size),
        "params": parameters(network),
        **countable(lambda: _counted(network, size)),
    }
    if counts_memory(device):
        cost["memory_measured_bytes"] = measured_peak_memory(network, size, device)
    precision = choose_precision(network, device, engine, precision)
    run = network
    if (optimise, engine, precision) != (False, "torch", "float32"):
        run = ready(network, device, optimise=optimise, engine=engine, precision=precision)
    timed = [latency(run, s, device, repeats=repeats, warmup=warmup) for s in latency_sizes]
    cost |= {"optimised": optimise, "engine": engine, "precision": precision}
    cost["latency"] = [
        asdict(t) | {"size": list(t.size), "quartiles_ms": list(t.quartiles_ms)} for t in timed
    ]
    return cost


def _counted(network: Network, size: Size) -> dict[str, Any]:
    """The figures of `measure` that are derived without computing an image."""
    is_stateful = network.hop is not None
    figures = {
        "macs": macs(network, size),
        "macs_published": macs(network, size, "published", in_video=is_stateful),
        "memory_bytes": peak_memory(network, size),
    }
    if is_stateful:
        figures["macs_in_video"] = macs(network, size, in_video=True)
        figures["state_bytes"] = state_bytes(network, size)
    return figures


def random_window(network: Network, size: Size, device: torch.device) -> Tensor:
    """A window of random spikes, (1, window, H, W), the same at every call."""
    generator = torch.Generator().manual_seed(0)
    spikes = torch.rand((1, network.window, *size), generator=generator) < 0.3
    return spikes.to(device, network.dtype)

"""The choices that depend on the device that computes, each under the name of what is chosen.

No other module compares the type of a device: a further kind of device is answered here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor

from spikerec.errors import ConfigError
from spikerec.kernels.processor import processor_name

CPU, CUDA, META = "cpu", "cuda", "meta"
#: Devices on which torchvision's compiled operators are the faster way: on a CPU its deformable
#: convolution takes twice as long forward, and six times backward, as PyTorch's own operations,
#: and samples on one core alone.
OPERATOR_DEVICES = frozenset({CUDA})

#: Images at once above which threads share the work on one instead.
MOST_IMAGES = 8


def default_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device(CUDA if torch.cuda.is_available() else CPU)


def parse_device(device: torch.device | str | None) -> torch.device:
    """Return the device of a name, which need not be here; None: see `default_device`.

    Raises:
        ConfigError: no device is called so.
    """
    try:
        return default_device() if device is None else torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"device={device} is unknown: expected cpu, cuda or cuda:1.") from error


def present_device(device: torch.device | str | None) -> torch.device:
    """Return the device of a name, which is here; None: see `default_device`.

    Raises:
        ConfigError: no device is called so, or there is no such GPU.
    """
    chosen = parse_device(device)
    if each_its_own(chosen) and (chosen.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device={chosen} cannot be used: found {torch.cuda.device_count()} GPUs. "
            "Set device=cpu."
        )
    return chosen


def takes_processor_time(device: torch.device) -> bool:
    """True if the time of the process on the CPU counts what the device computes."""
    return device.type == CPU


def has_kernels(device: torch.device) -> bool:
    """True if the compiled kernels can run there: on the CPU."""
    return device.type == CPU


def has_operators(device: torch.device) -> bool:
    """True if torchvision's operators are to run there, and the program is not being exported."""
    return device.type in OPERATOR_DEVICES and not torch.compiler.is_exporting()


def has_arrays(tensor: Tensor) -> bool:
    """True if NumPy can work on the tensor's own memory."""
    return tensor.device.type == CPU


def has_values(tensor: Tensor) -> bool:
    """True if the tensor holds values, and not its shape alone."""
    return tensor.device.type != META


def can_branch(tensor: Tensor) -> bool:
    """True if a look at the tensor's values neither waits for a device nor breaks an export."""
    return tensor.device.type == CPU and not torch.compiler.is_exporting()


def keeps_threads_busy(device: torch.device, count: int) -> bool:
    """True if so many images at once, each computed by one thread, keep all threads of a CPU busy.

    Elsewhere the device shares out the work on each image.
    """
    return device.type == CPU and count >= torch.get_num_threads() > 1


def images_at_once(devices: Sequence[torch.device]) -> int:
    """Return the number of images that are made soonest together: one a thread on a CPU, else 1.

    Also 1 where threads are more than `MOST_IMAGES`.

    Args:
        devices: of each process; each has its share of the threads.
    """
    threads = torch.get_num_threads() // processes_on(devices[0], devices)
    return threads if devices[0].type == CPU and 1 < threads <= MOST_IMAGES else 1


def processes_on(device: torch.device, devices: Sequence[torch.device]) -> int:
    """Count the processes, each on one of the devices, that share a device."""
    return sum(other == device for other in devices)


def at_once(device: torch.device, *, in_cache: int, in_bulk: int) -> int:
    """Return how much to work on at once.

    Args:
        device: that computes.
        in_cache: what stays in the cache of a core, for a CPU.
        in_bulk: what fills the device, for others.
    """
    return in_cache if device.type == CPU else in_bulk


def prefers_channels_last(device: torch.device) -> bool:
    """True if training in float32 is sooner with the channels of a pixel side by side."""
    return device.type == CPU


def is_fast_in_bf16(device: torch.device) -> bool:
    """True if PyTorch computes sooner there in bfloat16 than in float32 with kernels of ours."""
    return device.type == CUDA and torch.cuda.is_bf16_supported(including_emulation=False)


def runs_ahead(device: torch.device) -> bool:
    """True if the program goes on while the device computes, so that clocks must wait for it."""
    return device.type == CUDA


def wait_for(device: torch.device) -> None:
    """Return when the device has computed what it was given."""
    if runs_ahead(device):
        torch.cuda.synchronize(device)


def counts_memory(device: torch.device) -> bool:
    """True if PyTorch counts the memory that it takes there."""
    return device.type == CUDA


def free_bytes(device: torch.device) -> int:
    """Memory that is free on the device, in bytes."""
    if device.type == CUDA:
        return int(torch.cuda.mem_get_info(device)[0])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def each_its_own(device: torch.device) -> bool:
    """True if processes take a device each, of which there may be several, and do not share one."""
    return device.type == CUDA


def device_name(device: torch.device) -> str:
    """The processor's name as its maker gives it, and the number of threads where it is a CPU."""
    if device.type == CUDA:
        return torch.cuda.get_device_name(device)
    return f"{processor_name()}, {torch.get_num_threads()} threads"

"""Networks: one image, a video, a training step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import spikerec
from benchmarks.harness import Benchmark, Case
from benchmarks.references.wgse import WGSEReference
from spikerec.configs import build
from spikerec.errors import WeightsError
from spikerec.inference.rearrangement import optimised
from spikerec.kernels.devices import images_at_once
from spikerec.memory import keep_freed_memory
from spikerec.models.base import Network
from spikerec.models.deform import DeformConv2d, deform_conv2d

RATE = 0.3


def network(name: str) -> Network:
    """A method as published, its weights drawn."""
    torch.manual_seed(0)
    built: Network = build("model", name)
    return built.eval()


def trained(name: str) -> Network:
    """A method with the weights that ship; drawn where none do."""
    with suppress(WeightsError):
        return spikerec.load(name)
    return network(name)


def random_spikes(num_readouts: int, height: int, width: int, batch: int = 1) -> Tensor:
    """(B, T, H, W) float32, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    return (torch.rand((batch, num_readouts, height, width), generator=generator) < RATE).float()


def as_shipped(run: Callable[[], Any]) -> Callable[[], Any]:
    """Run with the C library's own way with freed memory, and keep it afterwards."""

    def outside() -> Any:  # noqa: ANN401
        keep_freed_memory(False)
        try:
            return run()
        finally:
            keep_freed_memory()

    return outside


def image(name: str) -> Callable[[tuple[int, ...], Path], Case]:
    """One image of H × W: plain and optimised."""

    def prepare(size: tuple[int, ...], folder: Path) -> Case:
        del folder
        plain = network(name)
        fast = optimised(plain)
        spikes = random_spikes(plain.window, *size)
        return Case(
            ours=lambda: fast.reconstruct(spikes, 1.0, validate=False).image,
            reference=as_shipped(lambda: plain.reconstruct(spikes, 1.0, validate=False).image),
            settles=True,
        )

    return prepare


def wgse_image(faster: Callable[[Network], Network]) -> Callable[[tuple[int, ...], Path], Case]:
    """One image of H × W: the authors' formulation, and ours made faster."""

    def prepare(size: tuple[int, ...], folder: Path) -> Case:
        del folder
        reference = WGSEReference().eval()
        ours = network("wgse")
        ours.load_state_dict(ours.from_published(reference.state_dict()))
        fast = faster(ours)
        spikes = random_spikes(ours.window, *size)
        return Case(
            ours=lambda: fast(spikes).image,
            reference=as_shipped(lambda: reference(spikes)),
            settles=True,
        )

    return prepare


def video(name: str, stride: int) -> Callable[[tuple[int, ...], Path], Case]:
    """N images of H × W, `stride` readouts apart: window by window, and as a video is made."""

    def prepare(size: tuple[int, ...], folder: Path) -> Case:
        del folder
        count, height, width = size
        plain = network(name)
        fast = optimised(plain)
        for module in plain.modules():
            if isinstance(module, DeformConv2d):
                module.use_operator = True
        stream = random_spikes(plain.window + (count - 1) * stride, height, width)
        starts = range(0, count * stride, stride)
        return Case(
            ours=lambda: as_video(fast, Held(stream), starts),
            reference=as_shipped(
                lambda: torch.cat([plain(stream[:, s : s + plain.window]).image for s in starts])
            ),
            note=f"{count} images",
            settles=True,
        )

    return prepare


@dataclass
class Held:
    """A stream (1, T, H, W) in memory, as `streaming` reads one."""

    stream: Tensor

    def part(self, first: int, stop: int) -> Tensor:
        """Readouts (n, H, W)."""
        return self.stream[0, first:stop]


def as_video(network: Network, stream: Held, starts: range) -> Tensor:
    """The images of the windows that begin at `starts`, as `spikerec reconstruct` makes them."""
    way = network.along(starts.step)
    keys = [start + network.key_readout for start in starts]
    at_once = images_at_once([stream.stream.device])
    batches = [keys[first : first + at_once] for first in range(0, len(keys), at_once)]
    return torch.cat([way.images(batch, stream) for batch in batches])


class Trainer:
    """Steps of Adam on one batch, at the published rate; returns the losses.

    Args:
        network: to train.
        spikes: (B, T, H, W).
        channels_last: order of weights and spikes.
        fused: one kernel for all of Adam.
        bf16: convolutions in bfloat16, as `trainer.precision=bf16-mixed`.
    """

    def __init__(
        self,
        network: Network,
        spikes: Tensor,
        *,
        channels_last: bool = False,
        fused: bool = False,
        bf16: bool = False,
    ) -> None:
        order = torch.channels_last if channels_last else torch.contiguous_format
        self.network = network.train().to(memory_format=order)
        self.spikes = spikes.to(memory_format=order)
        self.target = spikes.mean(1, keepdim=True)
        self.bf16 = bf16
        self.optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=fused)

    def step(self) -> Tensor:
        """The loss before the step."""
        self.optimizer.zero_grad()
        with torch.autocast(self.spikes.device.type, torch.bfloat16, enabled=self.bf16):
            image = self.network(self.spikes).image
        loss = (image.float() - self.target).abs().mean()
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def training_step(name: str, *, bf16: bool) -> Callable[[tuple[int, ...], Path], Case]:
    """A step of a network on B crops of H × W."""

    def prepare(size: tuple[int, ...], folder: Path) -> Case:
        del folder
        batch, height, width = size
        plain = network(name)
        spikes = random_spikes(plain.window, height, width, batch)
        ours = Trainer(copy.deepcopy(plain), spikes, channels_last=True, fused=True, bf16=bf16)
        reference = Trainer(plain, spikes)
        return Case(ours=ours.step, reference=as_shipped(reference.step), settles=True)

    return prepare


def deformable_step(size: tuple[int, ...], folder: Path) -> Case:
    """A deformable convolution of B × 64 × H × W, as Spk2ImgNet has them, forward and backward."""
    del folder
    batch, height, width = size
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int, scale: float = 1) -> Tensor:
        return (scale * torch.randn(shape, generator=generator)).requires_grad_()

    x = drawn(batch, 64, height, width)
    offset, mask = drawn(batch, 144, height, width), drawn(batch, 72, height, width)
    weight, bias = drawn(64, 64, 3, 3, scale=1 / 24), drawn(64)

    def step(use_operator: bool | None) -> Tensor:
        y = deform_conv2d(x, offset, mask, weight, bias, use_operator=use_operator)
        gradients = torch.autograd.grad(y.square().mean(), (x, offset, mask, weight, bias))
        return torch.cat([y.detach().flatten(), *(each.flatten() for each in gradients)])

    return Case(ours=lambda: step(None), reference=as_shipped(lambda: step(True)), settles=True)


BENCHMARKS = (
    Benchmark(
        "stir_image",
        "STIR, one image, optimised",
        "the plain module, eager float32",
        goal=1.5,
        tolerance=1e-3,
        sizes={"full": (250, 400), "quick": (128, 200), "tiny": (17, 23)},
        prepare=image("stir"),
    ),
    Benchmark(
        "stir_video",
        "STIR, video at stride 20",
        "plain forward per image",
        goal=2.2,
        tolerance=1e-5,
        sizes={"full": (6, 256, 400), "quick": (6, 128, 208), "tiny": (3, 16, 16)},
        prepare=video("stir", 20),
    ),
    Benchmark(
        "spk2imgnet_video",
        "Spk2ImgNet, video at stride 7",
        "plain forward per image, with torchvision's operator",
        goal=2.5,
        tolerance=1e-5,
        sizes={"full": (8, 64, 100), "quick": (6, 32, 48), "tiny": (3, 8, 8)},
        prepare=video("spk2imgnet", 7),
    ),
    Benchmark(
        "deformable_step",
        "Deformable convolution, forward and backward",
        "torchvision's operator",
        goal=3,
        tolerance=1e-3,
        sizes={"full": (4, 96, 96), "quick": (4, 48, 48), "tiny": (1, 12, 12)},
        prepare=deformable_step,
        trains=True,
    ),
    Benchmark(
        "wgse_image",
        "WGSE, one image, optimised",
        "the authors' formulation: a batch of 1-D signals",
        goal=2,
        tolerance=1e-4,
        sizes={"full": (250, 400), "quick": (64, 100), "tiny": (12, 16)},
        prepare=wgse_image(optimised),
    ),
    Benchmark(
        "stir_training",
        "STIR, a training step",
        "the plain module, eager float32",
        goal=1.3,
        tolerance=1e-5,
        sizes={"full": (8, 96, 96), "quick": (4, 48, 48), "tiny": (2, 16, 16)},
        prepare=training_step("stir", bf16=False),
        trains=True,
    ),
    *(
        Benchmark(
            f"{name}_training_bf16",
            f"{title}, a training step, bf16-mixed",
            "the plain module, eager float32",
            goal=1.3,
            tolerance=1e-3,
            sizes={"full": (8, 96, 96), "quick": (4, 48, 48), "tiny": (2, 16, 16)},
            prepare=training_step(name, bf16=True),
            trains=True,
        )
        for name, title in (("stir", "STIR"), ("fast", "Fast"), ("fast_wide", "Fast (wide)"))
    ),
)

"""SSIR: spikes in, spiking neurons throughout, a linear head that reads them out as an image.

Zhao et al., "Spike Camera Image Reconstruction Using Deep Spiking Neural Networks", IEEE TCSVT
2023. The readouts of a window are the channels of one input; each call is one time step of the
neurons, whose potentials may be carried from window to window.

Departures from the published code:

* The potentials are an argument and a result (`SSIR.step`), never hidden on the module: nothing to
  forget to reset, and replicas, compilation and export work.
* A network trained on windows of their own may be run with carried potentials, and the other way
  round; the published one was trained and evaluated with carried potentials (`hop` 20).
* The neurons are written out here. The published code needs spikingjelly 0.0.0.0.14, whose neurons
  keep their state on the module and whose sources warn of invalid escapes from Python 3.12 on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikerec.errors import ConfigError, InputError
from spikerec.models.base import Reconstruction, StatefulNetwork, check_window

#: Potentials of the six layers of neurons, (B, C, h, w) each; None for a layer at rest.
Potentials = tuple[Tensor | None, ...]

#: Readouts from window to window of a scene, as published.
HOP = 20

#: Potential at which a neuron fires, and what a soft reset takes away.
THRESHOLD = 1.0


def arctan(u: Tensor) -> Tensor:
    """1 / (1 + (π·u)²), the derivative of an arc tangent: the published surrogate (α = 2)."""
    return (u * math.pi).square_().add_(1).reciprocal_()


def sigmoid(u: Tensor) -> Tensor:
    """The derivative of the logistic function of 4·u; like the others it is 1 at u = 0."""
    s = torch.sigmoid(4 * u)
    return 4 * s * (1 - s)


def triangle(u: Tensor) -> Tensor:
    """A tent over |u| < 1: max(0, 1 − |u|)."""
    return F.relu(1 - u.abs())


#: Surrogates of the derivative of a step at u = 0, by name.
SURROGATES: dict[str, Callable[[Tensor], Tensor]] = {
    "arctan": arctan,
    "sigmoid": sigmoid,
    "triangle": triangle,
}


class Fire(torch.autograd.Function):
    """1 where the potential reaches the threshold, else 0; its gradient is the surrogate's."""

    @staticmethod
    def forward(potential: Tensor, surrogate: Callable[[Tensor], Tensor]) -> Tensor:  # noqa: ARG004
        """Equality fires."""
        return (potential >= THRESHOLD).to(potential.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401, ARG004
        """Keep the potential for the surrogate."""
        potential, ctx.surrogate = inputs
        ctx.save_for_backward(potential)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        """Multiply by the surrogate at the distance from the threshold."""
        (potential,) = ctx.saved_tensors
        return gradient * ctx.surrogate(potential - THRESHOLD), None


class IF(nn.Module):
    """Integrate and fire: v ← v + x; s = [v ≥ 1]; then the neurons that fired are reset.

    Args:
        surrogate: a key of `SURROGATES`.
        reset: `hard` sets v to 0, `soft` takes the threshold away.
        detach_reset: whether the reset passes no gradient to the spike that caused it.
    """

    def __init__(self, surrogate: str, reset: Literal["hard", "soft"], detach_reset: bool) -> None:
        super().__init__()
        self.surrogate = SURROGATES[surrogate]
        self.reset = reset
        self.detach_reset = detach_reset

    def charge(self, x: Tensor, potential: Tensor | None) -> Tensor:
        """The potential before firing; None is a potential of 0."""
        return x if potential is None else potential + x

    def forward(self, x: Tensor, potential: Tensor | None) -> tuple[Tensor, Tensor]:
        """One time step: input and potential → spikes and new potential, all of one shape."""
        charged = self.charge(x, potential)
        spikes: Tensor = Fire.apply(charged, self.surrogate)
        fired = spikes.detach() if self.detach_reset else spikes
        if self.reset == "soft":
            return spikes, charged - THRESHOLD * fired
        return spikes, charged * (1 - fired)


class LIF(IF):
    """Leaky integrate and fire: v ← v + (x − v)·g, with the leak g = 1/τ = 1/2."""

    def leak(self) -> Tensor | float:
        """g, in (0, 1): 1 forgets everything that went before."""
        return 0.5

    def charge(self, x: Tensor, potential: Tensor | None) -> Tensor:
        """The leak scales the input too."""
        if potential is None:
            return x * self.leak()
        return potential + (x - potential) * self.leak()


class PLIF(LIF):
    """Parametric LIF (Fang et al., ICCV 2021): g = sigmoid(w), one learnt w for the layer."""

    def __init__(self, surrogate: str, reset: Literal["hard", "soft"], detach_reset: bool) -> None:
        super().__init__(surrogate, reset, detach_reset)
        self.w = nn.Parameter(torch.zeros(()))

    def leak(self) -> Tensor:
        """g, learnt through w; 1/2 at the start."""
        return torch.sigmoid(self.w)


class Rectifier(nn.Module):
    """ReLU in a neuron's place, without memory: the ordinary twin of the spiking network."""

    def forward(self, x: Tensor, potential: None) -> tuple[Tensor, None]:  # noqa: ARG002
        """The rectified input; there is no potential."""
        return F.relu(x), None


NEURONS: dict[str, type[IF]] = {"plif": PLIF, "lif": LIF, "if": IF}


class SpikingConv(nn.Module):
    """Convolution, batch norm, neurons."""

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d, neuron: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(conv.out_channels)
        self.neuron = neuron

    def forward(self, x: Tensor, potential: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """One time step: input and potential → spikes and new potential."""
        spikes, potential = self.neuron(self.norm(self.conv(x)), potential)
        return spikes, potential


#: Published names as patterns, and ours. In the published code each spiking layer but the three of
#: the bottleneck is a sequence of convolution (0), batch norm (1) and neurons (2).
RENAMES = (
    (r"^static_conv\.layer\.", "stem."),
    (r"^enc1\.layer\.", "down."),
    (r"^eres1\.conv1\.", "squeeze."),
    (r"^eres1\.sn1\.", "squeeze.neuron."),
    (r"^eres1\.conv2\.", "mix."),
    (r"^eres1\.sn2\.", "mix.neuron."),
    (r"^eres1\.conv3\.", "expand."),
    (r"^eres1\.sn3\.", "expand.neuron."),
    (r"^dec3\.layer\.", "up."),
    (r"^(stem|down|squeeze|mix|expand|up)\.0\.", r"\1.conv."),
    (r"^(stem|down|squeeze|mix|expand|up)\.1\.", r"\1.norm."),
    (r"^(stem|down|squeeze|mix|expand|up)\.2\.", r"\1.neuron."),
    (r"^pred3\.conv1\.0\.", "head.0."),
    (r"^pred3\.conv1\.1\.", "head.1."),
    (r"^pred3\.conv2\.0\.", "head.2."),
    (r"^pred3\.conv2\.1\.", "head.3."),
    (r"^pred3\.conv3\.0\.", "head.4."),
    (r"^pred3\.conv3\.1\.", "head.5."),
    (r"^pred3\.conv4\.", "head.6."),
)


class SSIR(StatefulNetwork):
    """The spiking network of Zhao et al. (TCSVT 2023); 381,542 parameters as published.

    `forward` sees each window alone, from neurons at rest. The published figures carry the
    potentials from window to window of a scene, 20 readouts apart: `carry=start` of evaluation,
    `sequence=8` of training data. The image is not clipped.

    Args:
        window: readouts the network sees, 41 as published.
        channels: width of the first layer, a multiple of 4, 128 as published.
        neuron: `plif`, `lif`, `if`, or `relu` for the twin that does not spike.
        surrogate: derivative that replaces the step's: `arctan`, `sigmoid` or `triangle`.
        reset: of the neurons that fired: `hard` (to 0) or `soft` (by the threshold).
        detach_reset: whether the reset passes no gradient to the spike that caused it.
        output_scale: as in `Network`.

    Raises:
        ConfigError: a name that is none of these, or channels that 4 does not divide.
    """

    multiple = 2
    published_output_scale = 0.4
    published_names = RENAMES
    is_continuous = False

    def __init__(
        self,
        window: int = 41,
        channels: int = 128,
        neuron: Literal["plif", "lif", "if", "relu"] = "plif",
        surrogate: Literal["arctan", "sigmoid", "triangle"] = "arctan",
        reset: Literal["hard", "soft"] = "hard",
        detach_reset: bool = True,
        output_scale: float | None = 1.0,
    ) -> None:
        super().__init__(window, output_scale)
        self.hop = None if neuron == "relu" else HOP
        _check_choice("neuron", neuron, [*NEURONS, "relu"])
        _check_choice("surrogate", surrogate, [*SURROGATES])
        _check_choice("reset", reset, ["hard", "soft"])
        if channels < 4 or channels % 4:
            raise ConfigError(f"channels must be a multiple of 4, found {channels}.")
        neurons: Callable[[], nn.Module] = (
            Rectifier
            if neuron == "relu"
            else partial(NEURONS[neuron], surrogate, reset, detach_reset)
        )
        half, quarter = channels // 2, channels // 4
        conv = partial(nn.Conv2d, bias=False)
        self.stem = SpikingConv(conv(window, channels, 3, padding=1), neurons())
        self.down = SpikingConv(conv(channels, channels, 3, stride=2, padding=1), neurons())
        self.squeeze = SpikingConv(conv(channels, quarter, 1), neurons())
        self.mix = SpikingConv(conv(quarter, quarter, 3, padding=1), neurons())
        self.expand = SpikingConv(conv(quarter, channels, 1), neurons())
        self.up = SpikingConv(
            nn.ConvTranspose2d(channels, half, 4, stride=2, padding=1, bias=False), neurons()
        )
        # Padded once, by 4: the shifts of the batch norms reach beyond the picture.
        self.head = nn.Sequential(
            conv(half, quarter, 3, padding=4),
            nn.BatchNorm2d(quarter),
            conv(quarter, quarter, 3),
            nn.BatchNorm2d(quarter),
            conv(quarter, quarter, 3),
            nn.BatchNorm2d(quarter),
            conv(quarter, 1, 3),
        )

    def forward(self, spikes: Tensor) -> Reconstruction:
        """Reconstruct one window from neurons at rest (see `Network.forward`)."""
        return self._run(spikes, (None,) * 6)[0]

    def initial_state(self, spikes: Tensor) -> Potentials:
        """Potentials of 0: neurons at rest."""
        check_window(spikes, self.window, self.multiple)
        batch, _, height, width = spikes.shape
        half = (height // 2, width // 2)
        sizes = ((height, width), half, half, half, half, (height, width))
        layers = (self.stem, self.down, self.squeeze, self.mix, self.expand, self.up)
        return tuple(
            spikes.new_zeros(batch, layer.conv.out_channels, *size)
            for layer, size in zip(layers, sizes, strict=True)
        )

    def step(self, spikes: Tensor, state: Potentials) -> tuple[Reconstruction, Potentials]:
        """Reconstruct a window from the potentials that the window before it left.

        See `Network.step`. The twin that does not spike (`neuron=relu`) looks at none of them.
        """
        return self._run(spikes, state)

    def _run(self, spikes: Tensor, state: Potentials) -> tuple[Reconstruction, Potentials]:
        check_window(spikes, self.window, self.multiple)
        self._check_state(spikes, state)
        x, stem = self.stem(spikes, state[0])  # (B, channels, H, W)
        x, down = self.down(x, state[1])  # (B, channels, H/2, W/2)
        y, squeeze = self.squeeze(x, state[2])  # (B, channels/4, H/2, W/2)
        y, mix = self.mix(y, state[3])
        y, expand = self.expand(y, state[4])  # (B, channels, H/2, W/2)
        x, up = self.up(x + y, state[5])  # the sum counts spikes: 0, 1 or 2
        image = self.head(x).to(spikes.dtype)  # (B, 1, H, W)
        return Reconstruction(image), (stem, down, squeeze, mix, expand, up)

    def _check_state(self, spikes: Tensor, state: Potentials) -> None:
        stem = state[0]
        batch, _, height, width = spikes.shape
        if stem is not None and stem.shape != (batch, self.stem.conv.out_channels, height, width):
            raise InputError(
                f"state belongs to {stem.shape[0]} windows of {stem.shape[2]} × {stem.shape[3]}, "
                f"found {batch} of {height} × {width}. Begin a new stream from its initial state."
            )


def _check_choice(key: str, found: str, choices: list[str]) -> None:
    if found not in choices:
        raise ConfigError(f"{key} must be one of {', '.join(choices)}, found {found}.")

"""HyperE2VID: event-based video reconstruction with a per-pixel dynamic decoder.

Ercan, Eker, Saglam, Erdem and Erdem, "HyperE2VID: Improving Event-Based Video Reconstruction via
Hypernetworks", IEEE TIP 2024; here fed with spikes (`spikerec.models.event_adapter`), as the STIR
paper compares it (Fan et al., NeurIPS 2024). With `dynamic_decoder` off it is E2VID (Rebecq et al.,
TPAMI 2019), and that is what the counts in the STIR paper's table fit.

Departures from the published code, none of which changes an image it can compute:

* the state is an argument and a result, and one of another size is refused;
* the dynamic convolution mixes channels first, once per atom, and filters after: 6 × 128 maps
  instead of 6400 unfolded ones (1.5 GB at 720 × 1280);
* the Fourier-Bessel bases are computed from their formula, not read from a table of roots;
* sizes that 8 does not divide are padded outside, as the published evaluation does.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import jn_zeros, jv
from torch import Tensor, nn

from spikerec.errors import ConfigError
from spikerec.models.event_adapter import EventCore, EventNetwork, Features, Feeding
from spikerec.models.recurrent import RecurrentEncoder, RecurrentState, UpConv, double

NUM_ATOMS = 6
NUM_BASES = 12  # half of them 3 × 3, half 5 × 5
KERNEL = 5
CONTEXT_CHANNELS = 32
HIDDEN_CHANNELS = 64


def fourier_bessel_bases() -> Tensor:
    """The fixed filters that every dynamic kernel is a mix of (section III-C).

    Returns:
        (12, 25) float32, 5 × 5 filters in row-major order: six of radius 1 with a border of zeros,
        then six of radius 2.
    """
    small = np.pad(_disc_harmonics(radius=1, bandwidth=2.0), ((0, 0), (1, 1), (1, 1)))
    large = _disc_harmonics(radius=2, bandwidth=1.5)
    half = NUM_BASES // 2
    bases = np.concatenate((small[:half], large[:half]))
    return torch.from_numpy(bases).flatten(1).float()


def _disc_harmonics(radius: int, bandwidth: float) -> np.ndarray:
    """Fourier-Bessel functions on a square grid, slowest first, as (count, side, side).

    For each root z of J_k: J_k(z·ρ) / |J_{k+1}(z)| inside the unit disc, times 1 for k = 0, and
    times √2·cos(kφ) and √2·sin(kφ) for k > 0; together scaled to a mean square norm of 1.
    """
    scale = radius + 0.5
    row, column = np.mgrid[-radius : radius + 1, -radius : radius + 1] / scale
    rho, phi = np.hypot(row, column), np.arctan2(column, row)
    functions = []
    for root, k in _bessel_roots(np.pi * scale * bandwidth):
        radial = np.where(rho < 1, jv(k, root * rho) / abs(jv(k + 1, root)), 0.0)
        if k == 0:
            functions.append(radial)
        else:
            functions += [np.sqrt(2) * radial * wave(k * phi) for wave in (np.cos, np.sin)]
    stack: np.ndarray = np.stack(functions)
    norms: np.ndarray = (stack**2).sum(axis=(1, 2))
    return np.asarray(stack / np.sqrt(norms.mean()))


def _bessel_roots(limit: float) -> list[tuple[float, int]]:
    """Roots of J_k, with k, whose next root is within the limit; ascending."""
    roots = []
    for k in range(int(limit)):  # the first root of J_k exceeds k
        zeros = jn_zeros(k, int(limit)).tolist()
        roots += [(z, k) for z, following in pairwise(zeros) if following <= limit]
    return sorted(roots)


class AtomGenerator(nn.Module):
    """A hypernetwork: from the context of a pixel, the six 5 × 5 kernels (atoms) of that pixel."""

    bases: Tensor

    def __init__(self) -> None:
        super().__init__()
        out_channels = NUM_ATOMS * NUM_BASES
        self.net = nn.Sequential(
            nn.Conv2d(CONTEXT_CHANNELS, HIDDEN_CHANNELS, 3, padding=1),
            nn.BatchNorm2d(HIDDEN_CHANNELS),
            nn.Tanh(),
            nn.Conv2d(HIDDEN_CHANNELS, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.Tanh(),
        )
        self.register_buffer("bases", fourier_bessel_bases())

    def forward(self, context: Tensor) -> Tensor:
        """(B, 32, h, w) → atoms (B, 6, 25, h, w)."""
        coefficients = self.net(context).unflatten(1, (NUM_ATOMS, NUM_BASES))
        return torch.einsum("nabhw,bo->naohw", coefficients, self.bases)


class DynamicConv(nn.Module):
    """A convolution whose kernels differ from pixel to pixel.

    out_d(p) = bias_d + Σ_c Σ_a coefficient_{d, 6c+a} · Σ_o atom_{a,o}(p) · x_c(p + o)

    Filtering is linear, so the sum over channels c comes first, as six 1 × 1 convolutions.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        shape = (out_channels, in_channels * NUM_ATOMS, 1, 1)
        self.compositional_coefficients = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.kaiming_normal_(
            self.compositional_coefficients, mode="fan_out", nonlinearity="relu"
        )

    def forward(self, x: Tensor, atoms: Tensor) -> Tensor:
        """(B, in, h, w), atoms (B, 6, 25, h, w) → (B, out, h, w)."""
        height, width = x.shape[-2:]
        weights = [self.compositional_coefficients[:, a::NUM_ATOMS] for a in range(NUM_ATOMS)]
        mixed = F.conv2d(x, torch.cat(weights))  # (B, 6·out, h, w)
        padded = F.pad(mixed, (KERNEL // 2,) * 4)
        # A sum of 150 products: float32 also under autocast; in place, so that none is kept.
        precision = torch.promote_types(mixed.dtype, torch.float32)
        out = self.bias.to(precision)[:, None, None].repeat(len(x), 1, height, width)
        for maps, kernel in zip(padded.chunk(NUM_ATOMS, 1), atoms.unbind(1), strict=True):
            for offset, value in enumerate(kernel.unbind(1)):
                top, left = divmod(offset, KERNEL)
                out.addcmul_(maps[..., top : top + height, left : left + width], value[:, None])
        return out.to(mixed.dtype)


class DynamicUpConv(nn.Module):
    """Double the size, then convolve with kernels made from events and the previous image."""

    def __init__(self, in_channels: int, out_channels: int, num_bins: int) -> None:
        super().__init__()
        self.context = nn.Conv2d(num_bins + 1, CONTEXT_CHANNELS, 3, padding=1)
        self.atoms = AtomGenerator()
        self.conv = DynamicConv(in_channels, out_channels)

    def forward(self, x: Tensor, bins: Tensor, previous: Tensor) -> Tensor:
        """(B, in, h, w), and bins and previous image at (2h, 2w) → (B, out, 2h, 2w)."""
        context = self.context(torch.cat((bins, previous), dim=1))
        return F.relu(self.conv(double(x), self.atoms(context)))


class ResidualBlock(nn.Module):
    """relu(x + conv(relu(conv(x))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) in and out."""
        return F.relu(x + self.conv2(F.relu(self.conv1(x))))


class UNetRecurrent(EventCore):
    """HyperE2VID proper: one call maps a voxel grid and a state to an image and a state.

    The image is linear: neither clipped nor through a sigmoid.

    Args:
        num_bins: input channels.
        channels: width of the head.
        residual_blocks: at the coarsest level.
        dynamic_decoder: the first decoder is dynamic; otherwise the network is E2VID.
    """

    def __init__(
        self, num_bins: int, channels: int, residual_blocks: int, *, dynamic_decoder: bool
    ) -> None:
        super().__init__()
        self.is_dynamic = dynamic_decoder
        self.encoder = RecurrentEncoder(num_bins, channels)
        self.resblocks = nn.Sequential(
            *(ResidualBlock(8 * channels) for _ in range(residual_blocks))
        )
        self.decoders = nn.ModuleList(
            (
                DynamicUpConv(8 * channels, 4 * channels, num_bins)
                if dynamic_decoder
                else UpConv(8 * channels, 4 * channels),
                UpConv(4 * channels, 2 * channels),
                UpConv(2 * channels, channels),
            )
        )
        self.pred = nn.Conv2d(channels, 1, 1)

    def encode(self, bins: Tensor) -> Features:
        """The head's map, the first strided map and, for a dynamic decoder, the bins at 1/4."""
        features = self.encoder.embed(bins)
        return (*features, _quarter(bins)) if self.is_dynamic else features

    def observe(self, features: Features, state: RecurrentState | None) -> RecurrentState:
        """The state after a call; only a dynamic decoder needs the image for that."""
        if self.is_dynamic:
            return self.advance(features, state)[1]
        return RecurrentState(self.encoder(features[1], state and state.memory))

    def advance(
        self, features: Features, state: RecurrentState | None
    ) -> tuple[Tensor, RecurrentState]:
        """The image, (B, 1, H, W), and the state after the call."""
        memory = self.encoder(features[1], state and state.memory)
        fine, middle, coarse = (hidden for hidden, _ in memory)
        first, second, third = self.decoders
        x = self.resblocks(coarse) + coarse
        x = first(x, *self._context(features[2], state)) if self.is_dynamic else first(x)
        x = third(second(x + middle) + fine)
        image = self.pred(x + features[0])
        # The image goes back in without gradient, as published.
        return image, RecurrentState(memory, image.detach() if self.is_dynamic else None)

    def _context(self, bins: Tensor, state: RecurrentState | None) -> tuple[Tensor, Tensor]:
        """The bins and the previous image at 1/4, the latter zeros in the first call."""
        if state is None or state.image is None:
            return bins, torch.zeros_like(bins[:, :1])
        return bins, _quarter(state.image)


def _quarter(x: Tensor) -> Tensor:
    """A quarter of the height and width: the mean of the middle 2 × 2 of each 4 × 4."""
    return F.interpolate(x, scale_factor=0.25, mode="bilinear", align_corners=False)


class HyperE2VID(EventNetwork):
    """HyperE2VID, fed with spikes.

    Args:
        window: readouts the network sees.
        num_bins: readouts (or bins) of a call.
        feeding: how a window becomes calls (`event_adapter.Feeding`).
        channels: width of the head, 32 as published.
        residual_blocks: at the coarsest level, 2 as published.
        dynamic_decoder: the method proper; off, the network is E2VID.
        output_scale: as in `Network`.

    Raises:
        ConfigError: the window does not fit the feeding, channels < 1, or residual_blocks < 0.
    """

    published_names = (
        (r"^unetrecurrent\.", "core."),
        (r"^core\.head\.conv2d\.", "core.encoder.head."),
        (r"^core\.encoders\.(\d)\.conv\.conv2d\.", r"core.encoder.down.\1."),
        (r"^core\.encoders\.(\d)\.recurrent_block\.Gates\.", r"core.encoder.lstm.\1.gates."),
        (r"\.context_fusion\.conv\.", ".context."),
        (r"\.dynamic_atom_generation\.bases_net\.", ".atoms.net."),
        (r"\.dynamic_atom_generation\.", ".atoms."),
        (r"\.dynamic_conv\.", ".conv."),
        (r"^core\.decoders\.(\d)\.conv2d\.", r"core.decoders.\1.conv."),
        (r"^core\.pred\.conv2d\.", "core.pred."),
    )

    def __init__(
        self,
        window: int = 61,
        num_bins: int = 21,
        feeding: Feeding = "key_frame",
        channels: int = 32,
        residual_blocks: int = 2,
        dynamic_decoder: bool = True,
        output_scale: float | None = 1.0,
    ) -> None:
        if channels < 1:
            raise ConfigError(f"channels must be at least 1, found {channels}.")
        if residual_blocks < 0:
            raise ConfigError(f"residual_blocks must be at least 0, found {residual_blocks}.")
        super().__init__(
            UNetRecurrent(num_bins, channels, residual_blocks, dynamic_decoder=dynamic_decoder),
            num_bins=num_bins,
            window=window,
            feeding=feeding,
            output_scale=output_scale,
        )

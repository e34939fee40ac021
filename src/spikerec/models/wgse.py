"""WGSE: wavelet-guided spike enhancing.

Zhang, Jia et al., "Learning Temporal-Ordered Representation for Spike Streams Based on Discrete
Wavelet Transforms", AAAI 2023. The readouts of each pixel are a signal: its wavelet coefficients
are filtered by small learnt networks, one for each level, and transformed back; a residual network
then joins the pixels.

Departures from the published code, none of which changes a value:

* Both transforms are linear maps of a few dozen samples, so each is one dense matrix, built from
  PyWavelets' own transforms: exact at the borders, and any wavelet, level and border mode.
* A chunk of pixels is one picture of time × pixels with a kernel of one column, not a batch of
  1-D signals. On one CPU core the stage takes a quarter of the time of those.
* The wavelet's filters are not part of the weights; published ones are checked against the name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import numpy as np
import pywt
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from spikerec.errors import ConfigError, WeightsError
from spikerec.kernels.devices import at_once
from spikerec.models.base import Network, Reconstruction, check_window

#: Width of the filters between their first and last convolutions.
FILTER_CHANNELS = 32

#: Levels of the transform: as many halve a window of 65,536 readouts to one.
MOST_LEVELS = 16

#: Pixels whose coefficients are filtered at once, which bounds the memory of a large picture. On a
#: CPU a chunk should also stay in its cache (2048 is the fastest of 128 to 4096, 256 a third
#: slower); elsewhere few large kernels are best.
CPU_CHUNK_PIXELS = 2048
DEVICE_CHUNK_PIXELS = 65536

#: Published names of the wavelet's filters: which of PyWavelets' they are, and whether reversed.
PUBLISHED_FILTERS = {
    "wvl.dwt.h0": ("dec_lo", True),
    "wvl.dwt.h1": ("dec_hi", True),
    "wvl.idwt.g0": ("rec_lo", False),
    "wvl.idwt.g1": ("rec_hi", False),
}

#: Other published names as patterns, and ours.
RENAMES = (
    (r"^wvl\.yh_blocks\.(\d+)\.0\.tcn0\.0\.", r"wavelet.filters.\1.expand."),
    (r"^wvl\.yh_blocks\.(\d+)\.0\.tcn1\.0\.", r"wavelet.filters.\1.mix."),
    (r"^wvl\.yh_blocks\.(\d+)\.1\.", r"wavelet.filters.\1.project."),
    (r"^resblocks\.(\d+)\.bn", r"blocks.\1.norm"),
    (r"^resblocks\.", "blocks."),
    (r"^conv\.0\.", "conv."),
)


def analysis_matrices(
    window: int, wavelet: str, levels: int, border: str
) -> list[NDArray[np.float64]]:
    """The wavelet transform as matrices, one for each band: (coefficients, window).

    Bands are ordered as PyWavelets computes them: details from fine to coarse, approximation last.
    The transform of the identity is the matrix of the transform.
    """
    approximation = np.eye(window)
    details = []
    for _ in range(levels):
        approximation, detail = pywt.dwt(approximation, wavelet, border, axis=0)
        details.append(detail)
    return [*details, approximation]


def synthesis_matrix(sizes: list[int], wavelet: str, border: str) -> NDArray[np.float64]:
    """The inverse transform as one matrix: (samples, coefficients of all bands).

    A signal of odd length comes back one sample longer; only within the levels is that dropped.
    """
    bands = np.split(np.eye(sum(sizes)), np.cumsum(sizes)[:-1])
    *details, signal = bands
    for detail in reversed(details):
        signal = pywt.idwt(signal[: len(detail)], detail, wavelet, border, axis=0)
    return np.asarray(signal)


class CoefficientFilter(nn.Module):
    """The learnt filter of one band: a residual layer over time, a projection, ReLU.

    The residual is the one-channel input itself, the same for all features. The last ReLU leaves
    no coefficient negative, details included.
    """

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        # Initialised as published; `conv_over_time` applies them.
        self.expand = nn.Conv1d(1, FILTER_CHANNELS, kernel_size)
        self.mix = nn.Conv1d(FILTER_CHANNELS, FILTER_CHANNELS, kernel_size)
        self.project = nn.Conv1d(FILTER_CHANNELS, 1, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """Coefficients of one band (1, 1, L, pixels) → the same shape, ≥ 0."""
        y = F.relu_(conv_over_time(x, self.expand))
        y = F.relu_(conv_over_time(y, self.mix).add_(x))
        return F.relu_(conv_over_time(y, self.project))


def conv_over_time(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """Convolve pixels, each on its own, along time, with zeros beyond both ends.

    Args:
        x: (1, channels, L, pixels).
        conv: weight and bias; the kernel is odd.

    Returns:
        (1, conv.out_channels, L, pixels), in channels-last order.
    """
    kernel = conv.weight.unsqueeze(-1).to(memory_format=torch.channels_last)  # (out, in, taps, 1)
    return F.conv2d(x, kernel, conv.bias, padding=(conv.kernel_size[0] // 2, 0))


class WaveletStage(nn.Module):
    """Each pixel's readouts as filtered wavelet coefficients, transformed back.

    Args:
        window: readouts T.
        wavelet: PyWavelets' name of a discrete wavelet.
        levels: of the transform.
        kernel_size: of the learnt filters, odd.
        filters: whether the coefficients are filtered at all.
        border: PyWavelets' mode of continuing the signal.
    """

    analysis: Tensor
    synthesis: Tensor

    def __init__(
        self, window: int, wavelet: str, levels: int, kernel_size: int, filters: bool, border: str
    ) -> None:
        super().__init__()
        self.wavelet = wavelet
        bands = analysis_matrices(window, wavelet, levels, border)
        self.sizes = [len(band) for band in bands]
        synthesis = synthesis_matrix(self.sizes, wavelet, border)
        self.out_channels = len(synthesis)
        # Not saved: the constructor's arguments say all that they hold.
        for name, matrix in (("analysis", np.concatenate(bands)), ("synthesis", synthesis)):
            buffer = torch.from_numpy(matrix).to(torch.get_default_dtype())
            self.register_buffer(name, buffer, persistent=False)
        make = partial(CoefficientFilter, kernel_size) if filters else nn.Identity
        self.filters = nn.ModuleList(make() for _ in self.sizes)
        self.register_load_state_dict_pre_hook(_check_filters)  # type: ignore[no-untyped-call]

    def forward(self, spikes: Tensor) -> Tensor:
        """(B, T, H, W) → (B, out_channels, H, W); out_channels is T, or T + 1 for odd T.

        The result is in channels-last order, which the convolutions after it prefer.
        """
        batch, time, height, width = spikes.shape
        signals = spikes.transpose(0, 1).reshape(time, -1)  # (T, B·H·W)
        chunks = torch.split(signals, _chunk_pixels(signals), dim=1)
        enhanced = torch.cat([self._enhance(chunk) for chunk in chunks])
        return enhanced.reshape(batch, height, width, -1).permute(0, 3, 1, 2)

    def _enhance(self, signals: Tensor) -> Tensor:
        """(T, pixels) → (pixels, out_channels)."""
        coefficients = (self.analysis @ signals)[None, None]  # (1, 1, coefficients, pixels)
        bands = torch.split(coefficients, self.sizes, dim=2)
        filtered = [
            band_filter(band) for band_filter, band in zip(self.filters, bands, strict=True)
        ]
        return torch.cat(filtered, dim=2)[0, 0].T @ self.synthesis.T


def _chunk_pixels(signals: Tensor) -> int:
    """Pixels to filter at once; a compiled graph takes them all, since it would unroll the loop."""
    if torch.compiler.is_compiling():
        return signals.shape[1]
    return at_once(signals.device, in_cache=CPU_CHUNK_PIXELS, in_bulk=DEVICE_CHUNK_PIXELS)


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, plus the input, ReLU; norms after the convolutions."""

    def __init__(self, channels: int, norm: Literal["batch", "instance"] | None) -> None:
        super().__init__()
        conv = partial(nn.Conv2d, channels, channels, 3, padding=1, bias=norm != "batch")
        make_norm = partial(NORMS[norm], channels)
        self.conv1, self.norm1 = conv(), make_norm()
        self.conv2, self.norm2 = conv(), make_norm()

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) → the same shape."""
        y = F.relu_(self.norm1(self.conv1(x)))
        return F.relu_(self.norm2(self.conv2(y)).add_(x))


NORMS: dict[str | None, type[nn.Module]] = {
    None: nn.Identity,
    "batch": nn.BatchNorm2d,
    "instance": nn.InstanceNorm2d,
}


class WGSE(Network):
    """The network of Zhang, Jia et al. (AAAI 2023); 3,805,575 parameters as published.

    The image is ≥ 0 and not clipped above.

    Args:
        window: readouts the network sees, 41 as published.
        wavelet: PyWavelets' name of a discrete wavelet, `db8` as published; None leaves the
            wavelet stage out, so that the convolutions see the readouts themselves.
        levels: of the wavelet transform, 5 as published. Levels deeper than the signal's length
            justifies see mostly the border; the published network has such.
        kernel_size: of the learnt coefficient filters, odd.
        filters: whether the coefficients are filtered; without, the stage returns the readouts.
        border: how the signal goes on beyond the window: `zero` as published, or another of
            PyWavelets' modes.
        channels: width of the spatial part.
        blocks: number of residual blocks.
        norm: of the residual blocks: `batch`, `instance` or None.
        output_scale: as in `Network`.

    Raises:
        ConfigError: an unknown wavelet, border or norm, an even kernel, or levels outside 1 to 16.
    """

    published_output_scale = 0.6
    published_names = RENAMES

    def __init__(
        self,
        window: int = 41,
        wavelet: str | None = "db8",
        levels: int = 5,
        kernel_size: int = 3,
        filters: bool = True,
        border: str = "zero",
        channels: int = 256,
        blocks: int = 3,
        norm: Literal["batch", "instance"] | None = None,
        output_scale: float | None = 1.0,
    ) -> None:
        super().__init__(window, output_scale)
        _check_arguments(wavelet, levels, kernel_size, border, norm)
        self.wavelet: WaveletStage | None = None
        if wavelet is not None:
            self.wavelet = WaveletStage(window, wavelet, levels, kernel_size, filters, border)
        inputs = window if self.wavelet is None else self.wavelet.out_channels
        conv = partial(nn.Conv2d, kernel_size=3, padding=1)
        self.conv = conv(inputs, channels)
        self.blocks = nn.Sequential(*(ResidualBlock(channels, norm) for _ in range(blocks)))
        self.tail = nn.Sequential(conv(channels, 64), nn.ReLU(), conv(64, 1), nn.ReLU())

    def forward(self, spikes: Tensor) -> Reconstruction:
        """Reconstruct one window (see `Network.forward`)."""
        check_window(spikes, self.window)
        x = spikes if self.wavelet is None else self.wavelet(spikes)  # (B, inputs, H, W)
        x = F.relu_(self.conv(x))  # (B, channels, H, W)
        image = self.tail(self.blocks(x))  # (B, 1, H, W)
        return Reconstruction(image.to(spikes.dtype))

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename a published state dict (see `Network.from_published`).

        The wavelet's filters, where the state holds them, travel on as metadata of the result:
        loading checks them against the network's wavelet.
        """
        filters = {name: state[name] for name in PUBLISHED_FILTERS if name in state}
        details = len({name.split(".")[2] for name in state if name.startswith("wvl.yh_blocks.")})
        rest = {  # the approximation is the band after the details
            name.replace("wvl.yl_block.", f"wvl.yh_blocks.{details}."): tensor
            for name, tensor in state.items()
            if name not in filters
        }
        renamed = PublishedState(super().from_published(rest))
        renamed._metadata = {"wavelet": {"filters": filters}}
        return renamed


class PublishedState(dict[str, Tensor]):
    """A state dict with facts by module beside its tensors, the way PyTorch keeps versions."""

    _metadata: dict[str, dict[str, Any]]


def _check_filters(
    stage: WaveletStage,
    _state: Mapping[str, Tensor],
    _prefix: str,
    metadata: Mapping[str, Any],
    *_: object,
) -> None:
    """Refuse weights whose wavelet is another than the stage's (hook of `load_state_dict`)."""
    wavelet = pywt.Wavelet(stage.wavelet)
    for name, tensor in metadata.get("filters", {}).items():
        attribute, is_reversed = PUBLISHED_FILTERS[name]
        taps = getattr(wavelet, attribute)
        expected = torch.tensor(taps[::-1] if is_reversed else taps, dtype=torch.float64)
        found = tensor.flatten().to("cpu", torch.float64)
        if found.shape != expected.shape or not torch.allclose(found, expected, atol=1e-6):
            raise WeightsError(
                f"{name} of the published weights is not the filter of wavelet="
                f"{stage.wavelet}: expected {len(expected)} taps from {expected[0]:.6f}, found "
                f"{len(found)} from {found[0]:.6f}. Set wavelet to theirs."
            )


def _check_arguments(
    wavelet: str | None, levels: int, kernel_size: int, border: str, norm: str | None
) -> None:
    if wavelet is not None and wavelet not in pywt.wavelist(kind="discrete"):
        families = ", ".join(pywt.families())
        raise ConfigError(
            f"wavelet must be null or one of PyWavelets' discrete wavelets (families "
            f"{families}), such as haar or db8; found {wavelet}."
        )
    if not 1 <= levels <= MOST_LEVELS:
        raise ConfigError(
            f"levels must be between 1 and {MOST_LEVELS}, found {levels}. wavelet=null leaves the "
            "wavelet stage out."
        )
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ConfigError(f"kernel_size must be odd, found {kernel_size}.")
    if border not in pywt.Modes.modes:
        raise ConfigError(f"border must be one of {', '.join(pywt.Modes.modes)}, found {border}.")
    if norm not in NORMS:
        raise ConfigError(f"norm must be null, batch or instance, found {norm}.")

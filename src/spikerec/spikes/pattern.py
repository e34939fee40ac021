"""The fixed pattern of a sensor, estimated from a stream in which the scene moves.

The pattern is the response of each pixel relative to its neighbours'. It stays where it is while
the scene passes, so that the mean of a stream over time holds all of the pattern and less and less
of the scene's detail. Three steps, on the logarithm of firing rates, in which a response is an
offset, and in the spectra of blocks of the picture:

1. *Does the scene move?* A block has moved where its coarse detail differs between short windows by
   more than noise does, which is white and therefore measured at the finest detail. Texture that
   stands still on the sensor looks like a pattern, so a stream of which less than `MOVED_SHARE` has
   moved gives none.
2. *How strong is the pattern?* Only what the beginning and the end of the stream have in common
   counts, which neither noise nor passing detail is. A pattern is white, whereas the detail of
   scenes fades towards fine structure: if what they have in common fades too, there is no pattern.
3. *Where is it?* A Wiener filter divides each frequency of each block of the mean: the part that
   the pattern's known power explains is the pattern, the rest is the scene. Detail along the
   direction of the motion is all pattern, detail across it is left alone, as are blocks of texture
   that stood still.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from spikerec.errors import InputError
from spikerec.kinds import checked
from spikerec.spikes.bayer import PLANES
from spikerec.spikes.defects import Repair, find_defects
from spikerec.spikes.stream import SpikeStream

#: Readouts of a window, and from one to the next where they overlap.
WINDOW = 32
HOP = 16
#: Windows that are compared at least, and looked at at most, spread over a longer stream.
FEWEST_WINDOWS = 6
MOST_WINDOWS = 64
FEWEST_READOUTS = WINDOW + (FEWEST_WINDOWS - 1) * HOP
#: Pixels of readouts that are looked at, at most.
MOST_PIXELS = 1 << 29
#: Added to the rate of a window before its logarithm is taken.
LEAST_RATE = 0.008
#: Share of the windows that are the beginning of a stream, and likewise its end.
ENDS_SHARE = 0.4
#: Side of the blocks.
BLOCK = 32
#: Blocks that moved, at least; those that are compared overlap by half.
FEWEST_MOVED = 9
#: Frequencies (cycles a pixel) of coarse detail, by which motion is seen; of the three bands
#: in which a pattern has equal power; and of the noise.
COARSE = (0.06, 0.25)
BANDS = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.72))
NOISE = (0.4, 0.72)
#: Share of a block's coarse detail that changes where it has moved, and of the blocks that have to.
CHANGED_SHARE = 0.5
MOVED_SHARE = 1 / 3
#: Power in the weakest of the bands over that in the strongest, at least.
WHITENESS = 0.4
#: A weaker pattern than this standard deviation of the response is not worth a correction …
LEAST_SPREAD = 0.01
#: … and one that is not this many standard errors away from none, in each band, is not there.
DEVIATIONS = 4.0
#: Standard deviation of the Gaussian that takes coarse detail out of the mean, in pixels.
DETAIL = 2.0
#: Standard deviation of the smoothing of a block's power, in frequencies, and the share of it that
#: a pattern has to have to be all that there is: power measured in one block varies.
SMOOTHING = 1.5
CERTAIN_SHARE = 0.7


@dataclass(frozen=True)
class Pattern:
    """A fixed pattern.

    Attributes:
        response: (H, W) float32 above 0, of each pixel relative to its neighbours'.
        spread: standard deviation of the response by which it was told from the scene: of the
            sensor. `response` varies less, by what is uncertain.
    """

    response: NDArray[np.float32]
    spread: float


@checked
def estimate_pattern(
    stream: SpikeStream, dark: NDArray[np.float32] | None = None
) -> Pattern | None:
    """Estimate the fixed pattern of a stream's sensor.

    Pixels behind a colour filter (`spikes.bayer`) are compared with those of their own place in it.
    Broken pixels (`spikes.defects`) have the response of a neighbour.

    Args:
        stream: of a length and size in which a pattern can be seen (see `unfit`), or there is none.
        dark: (H, W) firing rate without light; None for no such pixel.

    Returns:
        The pattern; None where the scene does not move enough, or where no pattern is seen.

    Raises:
        InputError: `dark` has another size.
    """
    if dark is not None and dark.shape != (stream.height, stream.width):
        raise InputError(
            f"dark must be {stream.height} × {stream.width} as the stream, found an array "
            f"{' × '.join(map(str, dark.shape))}."
        )
    if unfit(stream) is not None:
        return None
    count = min(
        (stream.num_readouts - WINDOW) // HOP + 1,
        MOST_WINDOWS,
        MOST_PIXELS // (WINDOW * stream.height * stream.width),
    )
    rates = _rates(stream, count)
    if dark is not None:
        rates = np.maximum(rates - dark, 0)
    step = 1 if stream.bayer is None else 2
    places = PLANES if step == 2 else ((0, 0),)
    planes = [_repaired(rates[:, top::step, left::step]) for top, left in places]
    seen = [_see(plane) for plane in planes]
    variance = _variance(*(np.concatenate(part, -1) for part in zip(*seen, strict=True)))
    if variance is None:
        return None
    response = np.empty(rates.shape[1:], np.float32)
    for (top, left), plane in zip(places, planes, strict=True):
        response[top::step, left::step] = np.exp(_separated(_mean(plane), variance))
    return Pattern(response, math.sqrt(variance))


@checked
def unfit(stream: SpikeStream) -> str | None:
    """Return the reason why a stream of this length and size shows no pattern; None if it may."""
    size = f"{stream.height} × {stream.width}"
    if stream.num_readouts < FEWEST_READOUTS:
        return f"holds {stream.num_readouts} readouts, expected {FEWEST_READOUTS} or more"
    step, places = (1, 1) if stream.bayer is None else (2, len(PLANES))
    rows, columns = (side // step for side in (stream.height, stream.width))
    blocks = places * math.prod((side - BLOCK) // (BLOCK // 2) + 1 for side in (rows, columns))
    if min(rows, columns) < BLOCK or blocks < FEWEST_MOVED:
        least = step * 2 * BLOCK
        return f"is {size}, expected pictures of {least} × {least} pixels or more"
    if stream.height * stream.width > MOST_PIXELS // (WINDOW * FEWEST_WINDOWS):
        most = MOST_PIXELS // (WINDOW * FEWEST_WINDOWS) / 1e6
        return f"is {size}, expected pictures of {most:.1f} million pixels at most"
    return None


def _rates(stream: SpikeStream, count: int) -> NDArray[np.float32]:
    """Firing rates in Hann windows spread evenly over a stream, (count, H, W)."""
    weights = np.sin(np.pi * (np.arange(WINDOW, dtype=np.float32) + 0.5) / WINDOW) ** 2
    starts = np.linspace(0, stream.num_readouts - WINDOW, count).astype(int).tolist()
    windows = (stream[first : first + WINDOW].astype(np.float32) for first in starts)
    return np.stack([np.tensordot(weights / weights.sum(), spikes, 1) for spikes in windows])


def _repaired(rates: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rates (N, H, W) in which broken pixels have those of the nearest whole one."""
    broken = find_defects(rates.mean(0), len(rates) * HOP).broken
    if not broken.any() or broken.all():
        return rates
    return Repair(broken)(rates.copy())


def _mean(rates: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logarithm of the mean of successive windows (N, H, W) in which the outer ones count less.

    What enters or leaves a mean at once would be part of the detail that stays. The logarithm comes
    last: those of single windows of a dark scene are mostly noise, and a pixel whose light does not
    change repeats it, since it fires at even intervals.
    """
    weights = np.sin(np.pi * (np.arange(len(rates)) + 0.5) / len(rates)).astype(np.float32)
    mean = np.tensordot(weights / weights.sum(), rates, 1)
    logarithm: NDArray[np.float32] = np.log(mean + 1 / (len(rates) * HOP))
    return logarithm


def _see(rates: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Look at the blocks of windows (N, H, W).

    Returns:
        True for each block that has moved, (n,), and the power in each of `BANDS` that begin and
        end of the stream share, (bands, n).
    """
    count = round(ENDS_SHARE * len(rates))
    begin, end = (_spectra(_mean(part)) for part in (rates[:count], rates[-count:]))
    shared = (begin * np.conj(end)).real
    power = np.zeros_like(shared)
    for rate in rates:
        power += np.abs(_spectra(np.log(rate + LEAST_RATE))) ** 2 / len(rates)
    frequency = _frequency()

    def mean(power: NDArray[np.float32], band: tuple[float, float]) -> NDArray[np.float32]:
        is_within = (frequency >= band[0]) & (frequency < band[1])
        return np.asarray(power[:, is_within].mean(1), np.float32)

    noise = mean(power - shared, NOISE)
    changed = mean(power - shared, COARSE) - noise
    moved = (changed > noise) & (changed > CHANGED_SHARE * (mean(power, COARSE) - noise))
    return moved, np.stack([mean(shared, band) for band in BANDS])


def _variance(moved: NDArray[np.bool_], bands: NDArray[np.float32]) -> float | None:
    """Measure the variance of the response between pixels; None if there is no pattern.

    Args:
        moved: (n,), see `_see`.
        bands: (bands, n).
    """
    if moved.sum() < max(FEWEST_MOVED, MOVED_SHARE * len(moved)):
        return None
    bands = bands[:, moved]
    found = np.median(bands, 1)
    # the error of a median over blocks of which four overlap, by the median deviation from it
    deviation = 1.48 * np.median(np.abs(bands - found[:, None]), 1)
    error = 1.25 * deviation * np.sqrt(4 / moved.sum())
    least = float(found.min())
    is_white = least > WHITENESS * found.max() and (found > DEVIATIONS * error).all()
    return least if is_white and least > LEAST_SPREAD**2 else None


def _frequency() -> NDArray[np.float64]:
    """Cycles a pixel of each value of a block's spectrum, (BLOCK, BLOCK)."""
    side = np.fft.fftfreq(BLOCK)
    frequency: NDArray[np.float64] = np.hypot(side[:, None], side)
    return frequency


def _fading() -> NDArray[np.float32]:
    """The weights by which a block is faded out at its border, (BLOCK, BLOCK), of mean square 1."""
    side = np.sin(np.pi * (np.arange(BLOCK) + 0.5) / BLOCK) ** 2
    weights = side[:, None] * side
    return np.asarray(weights / np.sqrt((weights**2).mean()), np.float32)


def _spectra(image: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Spectra of an image's blocks (n, BLOCK, BLOCK), which overlap by half (`_transformed`)."""
    rows, columns = (range(0, size - BLOCK + 1, BLOCK // 2) for size in image.shape)
    blocks = np.lib.stride_tricks.sliding_window_view(image, (BLOCK, BLOCK))
    blocks = blocks[rows.start :: rows.step, columns.start :: columns.step]
    return _transformed(blocks.reshape(-1, BLOCK, BLOCK))


def _transformed(blocks: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Spectra of blocks (..., BLOCK, BLOCK) without their mean; the power of white noise is even.

    It is the variance of the noise at each frequency.
    """
    from scipy.fft import fft2

    fading = _fading()
    mean = (blocks * fading).sum((-2, -1), keepdims=True) / fading.sum()
    return np.asarray(fft2((blocks - mean) * fading) / BLOCK, np.complex64)


def _tilings(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """The parts of an image that whole blocks fill: 16 of them, a quarter of a block apart."""
    starts = range(0, BLOCK, BLOCK // 4)
    for top, left in product(starts, starts):
        height, width = (
            (size - start) // BLOCK * BLOCK for size, start in zip(shape, (top, left), strict=True)
        )
        yield slice(top, top + height), slice(left, left + width)


def _separated(image: NDArray[np.float32], variance: float) -> NDArray[np.float32]:
    """Separate white noise of known variance from an image (H, W), block by block."""
    from scipy.fft import ifft2
    from scipy.ndimage import gaussian_filter

    height, width = image.shape
    detail = image - gaussian_filter(image, DETAIL)
    kept = 1 - np.exp(-2 * (np.pi * DETAIL * _frequency()) ** 2)  # of each frequency, in `detail`
    sides = [(BLOCK, BLOCK + -size % BLOCK) for size in image.shape]
    padded = np.pad(detail, sides, mode="reflect")
    found = np.zeros_like(padded)
    for part in _tilings(padded.shape):
        rows, columns = (size // BLOCK for size in padded[part].shape)
        blocks = padded[part].reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2)
        spectra = _transformed(blocks)
        sigmas = (0, 0, SMOOTHING, SMOOTHING)
        power = gaussian_filter(np.abs(spectra) ** 2, sigmas, mode="wrap")
        most = np.maximum(CERTAIN_SHARE * power, variance * kept**2)
        share = variance * kept / np.maximum(most, np.finfo(np.float32).tiny)
        pieces = ifft2(spectra * share).real * _fading() * BLOCK
        found[part] += pieces.swapaxes(1, 2).reshape(found[part].shape)
    # each pixel is in 16 blocks, faded twice, the weights of mean square 1
    inner = found[BLOCK : BLOCK + height, BLOCK : BLOCK + width]
    return np.asarray(inner / 16, np.float32)

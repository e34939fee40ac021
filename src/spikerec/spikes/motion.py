"""Motion in a stream, found by phase correlation of the firing rates of short runs of readouts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

#: Standard deviation in pixels of the blur before motion is looked for.
SMOOTHING = 2.0
#: Readouts of each of the three runs that are compared, longest first: a long run has less noise,
#: a short one blurs less of a fast motion.
RUNS = (16, 8, 4)
#: Side of the blocks that may each move in their own way, and how many of them a side are compared.
BLOCK = 64
MOST_BLOCKS = 8
#: Correlation beside the peak, as a share of it, above which a block says nothing of its motion: an
#: edge may slide along itself, and noise has many peaks.
SECOND_PEAK = 0.7
#: Pixels around a peak that belong to it.
PEAK_RADIUS = 4
#: Share of the blocks that may move faster than what is returned as the fastest motion.
FASTEST_SHARE = 0.05

Image = NDArray[np.floating]


def phase_shift(pairs: Iterable[tuple[Image, Image]]) -> tuple[float, float] | None:
    """Estimate the motion from the first to the second picture of the pairs, (down, right) pixels.

    One shift for all pairs: their correlations are added, so that what they have in common
    exceeds the noise. Pictures are smoothed, since noise differs in each.

    Args:
        pairs: (H, W) each, at least one pair; taken one at a time.

    Returns:
        The shift; None for pictures without contrast.
    """
    from scipy.ndimage import gaussian_filter

    cross, shape = np.zeros((), np.complex128), (0, 0)
    for pair in pairs:
        shape = pair[0].shape
        before, after = (
            _spectrum(gaussian_filter(image.astype(np.float64), SMOOTHING)) for image in pair
        )
        cross = cross + _whitened(before, after)
    correlation = np.fft.irfft2(cross, shape)
    if np.ptp(correlation) == 0:
        return None
    peak = np.unravel_index(np.argmax(correlation), correlation.shape)
    return _signed(correlation, peak, 0), _signed(correlation, peak, 1)


def fastest_motion(spikes: NDArray[np.uint8]) -> float | None:
    """Speed of the fastest parts of a picture, in pixels per readout.

    The picture is cut into blocks. Three runs of readouts in a row give two shifts of each block,
    which must agree; the longest runs that do are believed. A motion that no run resolves, of some
    four pixels a readout and more, is not seen.

    Args:
        spikes: (T, H, W) readouts in a row.

    Returns:
        The speed that `FASTEST_SHARE` of all blocks exceed; None where no block can be followed.
    """
    speeds = _believed_speeds(spikes)
    if np.isnan(speeds).all():
        return None
    ordered = np.sort(np.nan_to_num(speeds))[::-1]
    return float(ordered[min(max(1, round(FASTEST_SHARE * len(ordered))), len(ordered) - 1)])


def mean_motion(spikes: NDArray[np.uint8]) -> float | None:
    """Mean speed of the parts of a picture that can be followed, in pixels per readout.

    Found as in `fastest_motion`, in whole pixels over a run, so that speeds below half a pixel in
    16 readouts are taken for 0.

    Args:
        spikes: (T, H, W) readouts in a row.

    Returns:
        The mean over the blocks whose motion is clear; None where there is none.
    """
    speeds = _believed_speeds(spikes)
    return None if np.isnan(speeds).all() else float(np.nanmean(speeds))


def _believed_speeds(spikes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Speed of each block by the longest runs that agree on it; NaN where none do."""
    speeds = np.array([np.nan])
    for length in RUNS:
        if len(spikes) >= 3 * length:
            found = _speeds(spikes[: 3 * length], length)
            speeds = np.where(np.isnan(speeds), found, speeds)
    return speeds


def _speeds(spikes: NDArray[np.uint8], length: int) -> NDArray[np.float64]:
    """Speed of each block over three runs, in pixels per readout; NaN if it is unknown."""
    from scipy.ndimage import gaussian_filter

    means = [part.mean(0, dtype=np.float64) for part in np.split(spikes, 3)]
    pictures = np.stack([gaussian_filter(mean, SMOOTHING) for mean in means])
    rows, columns = (_places(size) for size in pictures.shape[1:])
    height, width = (min(BLOCK, size) for size in pictures.shape[1:])
    blocks = np.stack(
        [pictures[:, y : y + height, x : x + width] for y in rows for x in columns], axis=1
    )  # (3, blocks, height, width)
    before, between, after = _spectrum(blocks)
    first, is_first_clear = _block_shifts(_whitened(before, between), height, width)
    second, is_second_clear = _block_shifts(_whitened(between, after), height, width)
    mean = (first + second) / 2
    distance = np.linalg.norm(mean, axis=1)
    agree = np.linalg.norm(first - second, axis=1) < 1.5 + 0.25 * distance
    speeds: NDArray[np.float64] = distance / length
    return np.where(is_first_clear & is_second_clear & agree, speeds, np.nan)


def _places(size: int) -> list[int]:
    """First pixels of the blocks along a side: adjacent, or spread over a large picture."""
    count = min(MOST_BLOCKS, -(-size // BLOCK))
    return [int(place) for place in np.linspace(0, max(size - BLOCK, 0), count)]


def _spectrum(images: Image) -> NDArray[np.complex128]:
    """Fourier transform of pictures (..., H, W) without their mean, faded out at the border."""
    height, width = images.shape[-2:]
    window = np.hanning(height)[:, None] * np.hanning(width)
    spectrum: NDArray[np.complex128] = np.fft.rfft2(
        (images - images.mean((-2, -1), keepdims=True)) * window
    )
    return spectrum


def _whitened(
    before: NDArray[np.complex128], after: NDArray[np.complex128]
) -> NDArray[np.complex128]:
    """Cross spectrum over the root of its magnitude.

    Full whitening would count frequencies that hold only noise.
    """
    product = np.conj(before) * after
    whitened: NDArray[np.complex128] = product / np.sqrt(np.abs(product) + np.finfo(float).tiny)
    return whitened


def _block_shifts(
    cross: NDArray[np.complex128], height: int, width: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Whole-pixel shifts (blocks, 2) by which blocks correlate best, and which peaks are clear."""
    correlation = np.fft.irfft2(cross, (height, width))
    peaks = correlation.reshape(len(correlation), -1).argmax(1)
    places = np.stack(np.unravel_index(peaks, (height, width)), axis=1)
    is_clear = np.zeros(len(correlation), np.bool_)
    for index, (place, block) in enumerate(zip(places, correlation, strict=True)):
        top = block[tuple(place)]
        centred = np.roll(block, PEAK_RADIUS - place, (0, 1))
        centred[: 2 * PEAK_RADIUS + 1, : 2 * PEAK_RADIUS + 1] = -np.inf
        is_clear[index] = top > 0 and centred.max() < SECOND_PEAK * top
    sizes = np.array([height, width])
    return np.where(places > sizes // 2, places - sizes, places).astype(np.float64), is_clear


def _signed(correlation: NDArray[np.float64], peak: Sequence[np.intp], axis: int) -> float:
    """The peak's place along an axis, between pixels by a parabola, negative beyond half of it."""
    line = np.take(correlation, int(peak[1 - axis]), axis=1 - axis)
    size, place = len(line), int(peak[axis])
    low, top, high = (float(line[(place + step) % size]) for step in (-1, 0, 1))
    bend = low - 2 * top + high
    offset = 0.0 if bend == 0 else 0.5 * (low - high) / bend
    return (place if place <= size // 2 else place - size) + offset

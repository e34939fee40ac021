"""Problems of a clip that degrade its pictures, reported in a line each before the first.

They come from the sample of the clip that exposure and broken pixels are measured by, and from a
few runs of readouts in a row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from spikerec.models.base import Network
from spikerec.spikes import SpikeStream
from spikerec.spikes.bayer import notice_mosaic
from spikerec.spikes.concatenated import ConcatenatedStream
from spikerec.spikes.dat import DatStream
from spikerec.spikes.defects import Defects, Sample, find_defects, mean_rate
from spikerec.spikes.motion import fastest_motion
from spikerec.spikes.plausibility import Succession, better_row, is_reversed
from spikerec.spikes.turned import TurnedStream
from spikerec.streaming.light import SATURATED_RATE, FixedPattern

#: Spikes of the median pixel in a window, below which a picture is mostly noise.
FEWEST_SPIKES = 2.0
#: Share of a picture from which its saturated pixels are reported.
SATURATED_SHARE = 0.01
#: Share of the pixels that may be broken, or detail of the scene, above which they are reported.
UNSURE_SHARE = 1e-4
#: Share of the pixels that fire no more often than without light, or of the spikes that would also
#: be fired without it, above which it is reported.
COVERED_SHARE = 0.5
#: Part of the gains, or of the scene's firing rate, that a calibration may be uncertain by.
UNSURE_CALIBRATION = 0.01
#: Runs of readouts in a row that are looked at, and their length.
RUNS = 4
RUN_READOUTS = 48


def find_concerns(
    stream: SpikeStream,
    networks: Mapping[str, Network],
    seen: Sample,
    masked: Defects | None,
    calibration: FixedPattern | None = None,
) -> list[str]:
    """List what would spoil the pictures of a clip, the worst first; empty if nothing is seen.

    Args:
        stream: of the clip.
        networks: the methods, by name.
        seen: the sample of the clip.
        masked: pixels whose spikes are replaced by a neighbour's; None for none.
        calibration: the fixed pattern that is taken out; None for none.
    """
    if not seen.rates.any():
        return ["no pixel fires in the part that was looked at: its pictures are black."]
    runs = _Runs(stream, seen)
    if layout := _layout(stream, seen, runs.succession):
        return [layout]  # the rest would describe a picture that there is not
    told = [
        *_mosaic(stream, seen),
        *([] if calibration is None else _calibration(seen, calibration)),
        *_darkness(networks, seen),
        *_saturation(seen),
        *_motion(networks, runs.speed),
    ]
    return told + _defects(stream, seen, masked)


class _Runs:
    """Measurements on runs of consecutive readouts, spread over the sampled part."""

    def __init__(self, stream: SpikeStream, seen: Sample) -> None:
        self.succession = Succession(seen.rate, seen.num_readouts)
        self.speed = 0.0
        first, stop = seen.starts[0], seen.starts[-1] + seen.length
        length = min(RUN_READOUTS, stop - first)
        for start in np.unique(np.linspace(first, stop - length, RUNS).astype(int)).tolist():
            spikes = np.asarray(stream[start : start + length])
            self.succession.add(spikes)
            self.speed = max(self.speed, fastest_motion(spikes) or 0.0)


def _layout(stream: SpikeStream, seen: Sample, succession: Succession) -> str | None:
    """The sign that the bits are not laid out as stated, if there is one."""
    source, before = stream, 0  # of several files the one in the middle of the first piece
    while isinstance(source, TurnedStream | ConcatenatedStream):
        if isinstance(source, TurnedStream):
            source = source.source
        else:
            source, first = source.part_at(seen.starts[0] + seen.length // 2 - before)
            before += first
    size = f"{source.height} × {source.width}"
    if not isinstance(source, DatStream):
        if succession.is_by_chance:
            return (
                "successive readouts look independent of each other, unlike those of a spike "
                f"camera: are the axes time, rows and columns, {stream.num_readouts} × {size}? Of "
                "an array of rows, columns and time, save numpy.moveaxis(array, -1, 0)."
            )
        return None
    ask = f"Try other sizes: spikerec data inspect {stream.path.name} ranks them if none is stated"
    geometry = source.geometry
    if succession.stacked > 1:
        return (
            f"each readout looks like {succession.stacked} of the camera, one below the other: "
            f"geometry.height={geometry.height // succession.stacked} fits better."
        )
    if succession.is_by_chance:
        return (
            "successive readouts look independent of each other, unlike those of a spike camera: "
            f"the geometry {geometry} (height × width) looks wrong. {ask}."
        )
    rate = _stored(source, [start - before for start in seen.starts], seen.length)
    if is_reversed(rate, geometry.row_bits):
        other = "big" if geometry.bit_order == "little" else "little"
        return (
            f"the eight pixels of each byte look reversed: geometry.bit_order={other} fits better."
        )
    is_mosaic = bool(stream.bayer or notice_mosaic(rate))
    is_gapless = geometry.row_bits == geometry.width
    row = better_row(rate, is_mosaic=is_mosaic) if is_gapless else None
    if row is not None:
        height = geometry.height * geometry.width / row
        fits = f", as {height:.0f} × {row}" if height.is_integer() else ""
        return (
            f"the geometry {size} (height × width) looks wrong: rows of {row} pixels fit together "
            f"better{fits}. {ask}."
        )
    return None


def _stored(source: DatStream, starts: Sequence[int], length: int) -> np.ndarray:
    """Firing rates in the first of the pieces, rows in the order in which they are stored.

    Args:
        source: the file.
        starts: of the pieces, counted in it; those with their middle elsewhere are left out.
        length: of a piece.
    """
    rates = [
        mean_rate(source, max(first, 0), min(first + length, source.num_readouts))
        for first in starts[:RUNS]
        if 0 <= first + length // 2 < source.num_readouts
    ]
    rate: np.ndarray = np.mean(rates, 0)
    return rate[::-1] if source.geometry.bottom_up else rate


def _mosaic(stream: SpikeStream, seen: Sample) -> list[str]:
    patterns = None if stream.bayer is not None else notice_mosaic(seen.rate)
    if patterns is None:
        return []
    return [
        "pixels look like the Bayer mosaic of a colour camera: bayer="
        f"{patterns[0]} or bayer={patterns[1]} reconstructs each colour on its own."
    ]


def _darkness(networks: Mapping[str, Network], seen: Sample) -> list[str]:
    window = min(network.window for network in networks.values())
    spikes = float(np.median(seen.rate)) * window
    if spikes >= FEWEST_SPIKES:
        return []
    count = f"less than {spikes:.2g} times" if spikes else "not even once"
    return [
        f"half of the pixels fire {count} in a window of {window} readouts: the pictures will be "
        "noisy; a method with a longer window sees more."
    ]


def _calibration(seen: Sample, calibration: FixedPattern) -> list[str]:
    told = []
    dark = calibration.dark
    covered = float((seen.rate <= dark).mean()) if dark.any() else 0.0
    if covered > COVERED_SHARE:
        told.append(
            f"{covered:.0%} of the pixels fire no more often than in calibration.dark: they will "
            "be black. Is it a recording of this camera with the lens covered?"
        )
    elif dark.mean() > COVERED_SHARE * seen.rate.mean():
        told.append(
            f"calibration.dark fires at {dark.mean() / seen.rate.mean():.0%} of this recording's "
            "rate, which is taken away. Is it a recording of this camera with the lens covered?"
        )
    typical = float(np.median(seen.rate)) or math.inf
    for name, error, of in (
        ("flat", calibration.gain_error, "themselves"),
        ("dark", calibration.dark_error / typical, "the rate of half of this recording's pixels"),
    ):
        if error > UNSURE_CALIBRATION:
            told.append(
                f"calibration.{name} is short: its rates are uncertain by {error:.1%} of {of}, "
                "which stands still in the pictures as noise. Record "
                f"{math.ceil(error / UNSURE_CALIBRATION)} times as many readouts."
            )
    return told


def _saturation(seen: Sample) -> list[str]:
    saturated = float((seen.rates > SATURATED_RATE).mean())
    if saturated <= SATURATED_SHARE:
        return []
    return [
        f"{saturated:.1%} of the clip fires at almost every readout: it is saturated, and "
        "has no detail there."
    ]


def _motion(networks: Mapping[str, Network], speed: float) -> list[str]:
    """A line for each method whose window sees more motion than it bears."""
    return [
        f"parts of the scene move {speed * network.window:.0f} pixels within the {network.window} "
        f"readouts of {name}, which bears about {network.bears_motion:.0f}: they will be blurred. "
        "A method with a shorter window blurs less."
        for name, network in networks.items()
        if speed * network.window > network.bears_motion
    ]


def _defects(stream: SpikeStream, seen: Sample, masked: Defects | None) -> list[str]:
    told = []
    found = find_defects(seen.rate, seen.num_readouts, is_mosaic=stream.bayer is not None)
    left = found.broken if masked is None else found.broken & ~masked.broken
    if masked is not None and masked.broken.any():
        hot, dead = int(masked.hot.sum()), int(masked.dead.sum())
        told.append(
            f"{hot} hot and {dead} dead pixels show a neighbour's spikes (mask_defects=false "
            "leaves them)."
        )
    if left.mean() > UNSURE_SHARE:
        told.append(
            f"{int(left.sum())} pixels may be hot or dead, or detail of the scene: "
            "mask_defects=true replaces their spikes by a neighbour's."
        )
    return told

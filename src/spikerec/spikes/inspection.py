"""The first look at an unknown recording: what it holds, and how a bare `.dat` is laid out.

A wrong geometry shears, repeats or mirrors the picture. At the right one neighbouring pixels agree
most, which `rank_geometries` measures on the firing rate over the first readouts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from spikerec.errors import DataNotFoundError, GeometryError
from spikerec.kinds import checked
from spikerec.spikes.bayer import BayerPattern, notice_mosaic
from spikerec.spikes.dat import COMMON_GEOMETRIES, find_sps100_start, open_dat
from spikerec.spikes.defects import Defects, Sample, find_defects, mean_rate, sample
from spikerec.spikes.formats import Source, as_stream
from spikerec.spikes.geometry import BitOrder, Geometry
from spikerec.spikes.grey import grey_levels
from spikerec.spikes.motion import phase_shift
from spikerec.spikes.stream import SpikeStream

#: Readouts that a geometry is judged by.
TRIAL_READOUTS = 128
#: Bins of a firing-rate histogram.
HISTOGRAM_BINS = 20
#: Sides of sensors and of the pictures that simulators make, beside `COMMON_GEOMETRIES`.
COMMON_SIDES = (
    *(64, 96, 100, 120, 128, 160, 180, 200, 240, 250, 256, 260, 320, 346, 360, 400, 416, 448, 480),
    *(500, 512, 540, 600, 640, 720, 768, 800, 854, 864, 896, 960, 1000, 1024, 1080, 1152, 1280),
    *(1920, 2048),
)
#: Height over width of a plausible picture, and of its inverse.
LONGEST_SIDES = 2.4

GreyImage = NDArray[np.float32]


@dataclass(frozen=True)
class Inspection:
    """Facts about a stream's content, estimated from a sample of it.

    Attributes:
        stream: the stream.
        sample: firing rates of pieces spread over it.
        defects: hot and dead pixels.
        histogram: share of pixels in each of `HISTOGRAM_BINS` equal ranges of rate from 0 to 1.
        motion: pixels that the picture as a whole moves in 1000 readouts, (down, right); None where
            there are fewer than two pieces, or nothing to see the motion by.
        mosaic: the two Bayer patterns that the pixels may have; None where they show none.
    """

    stream: SpikeStream
    sample: Sample
    defects: Defects
    histogram: NDArray[np.float64]
    motion: tuple[float, float] | None
    mosaic: tuple[BayerPattern, BayerPattern] | None = None

    @property
    def duration_s(self) -> float | None:
        """Seconds; None where the sampling rate is unknown."""
        rate_hz = self.stream.rate_hz
        return None if rate_hz is None else self.stream.num_readouts / rate_hz

    def lines(self) -> list[tuple[str, str]]:
        """The facts as pairs of label and value."""
        stream, seen, rate = self.stream, self.sample, self.sample.rate
        seconds = "sampling rate unknown" if self.duration_s is None else f"{self.duration_s:.4g} s"
        low, middle, high = np.percentile(rate, (1, 50, 99))
        motion = "unknown"
        if self.motion is not None:
            down, right = self.motion
            motion = f"{right:+.1f} right, {down:+.1f} down in 1000 readouts, on the whole"
        parts = "one part" if len(seen.starts) == 1 else f"{len(seen.starts)} parts"
        scale = "unknown" if stream.light_scale is None else f"{stream.light_scale:g}"
        return [
            ("size", f"{stream.height} × {stream.width}"),
            ("readouts", f"{stream.num_readouts} ({seconds})"),
            ("light scale", scale),
            ("firing rate", f"mean {rate.mean():.4f}, median {middle:.4f}"),
            ("98 % of pixels", f"fire at {low:.4f} to {high:.4f}"),
            ("hot pixels", str(int(self.defects.hot.sum()))),
            ("dead pixels", str(int(self.defects.dead.sum()))),
            ("motion", motion),
            ("colours", self._colours()),
            ("looked at", f"{seen.num_readouts} readouts in {parts}"),
        ]

    def _colours(self) -> str:
        """The Bayer mosaic that is stated, or the sign of one in the spikes."""
        if self.stream.bayer is not None:
            return f"Bayer pattern {self.stream.bayer}, as stated"
        if self.mosaic is None:
            return "none seen"
        return f"a Bayer mosaic: set bayer={self.mosaic[0]} or bayer={self.mosaic[1]}"


@checked
def inspect(stream: Source | SpikeStream) -> Inspection:
    """Look at a stream: a sample of it is read, however long it is.

    Args:
        stream: from `spikes.open`, or what that opens.
    """
    stream = as_stream(stream)
    seen = sample(stream)
    counts, _ = np.histogram(seen.rate, HISTOGRAM_BINS, (0, 1))
    mosaic = notice_mosaic(seen.rate)
    return Inspection(
        stream,
        seen,
        find_defects(seen.rate, seen.num_readouts, is_mosaic=bool(stream.bayer or mosaic)),
        counts / counts.sum(),
        _motion(stream, seen),
        mosaic,
    )


def _motion(stream: SpikeStream, seen: Sample) -> tuple[float, float] | None:
    """The shift from the first to the second half of the pieces, by phase correlation."""
    half = seen.length // 2
    if half < 2:
        return None
    middles = ((first, first + half, first + 2 * half) for first in seen.starts)
    shift = phase_shift(
        (mean_rate(stream, first, middle), mean_rate(stream, middle, stop))
        for first, middle, stop in middles
    )
    if shift is None:
        return None
    return shift[0] * 1000 / half, shift[1] * 1000 / half


@dataclass(frozen=True)
class Candidate:
    """A geometry that a file may have.

    Attributes:
        geometry: the layout.
        num_readouts: that the file would hold.
        roughness: how little neighbouring pixels agree, 0 for a smooth picture, 1 for noise.
        preview: (H, W) firing rates of the first readouts.
    """

    geometry: Geometry
    num_readouts: int
    roughness: float
    preview: GreyImage


def rank_geometries(path: Path, best: int = 6) -> list[Candidate]:
    """Plausible layouts of a `.dat`, the most image-like first.

    All sizes of `COMMON_GEOMETRIES` and of two `COMMON_SIDES` that divide the file are tried, in
    both bit orders, and the raw stream of an SPS100, which its tags show. Whether the bottom row
    comes first cannot be seen from the pixels: every candidate is bottom up, as most cameras store
    it.

    Args:
        path: the file.
        best: candidates to return at most.

    Raises:
        DataNotFoundError: no such file.
        GeometryError: no size divides it.
    """
    if not path.is_file():
        raise DataNotFoundError(f"{path} does not exist: expected a spike stream. Check the path.")
    size_bytes = path.stat().st_size
    candidates = [_candidate(path, geometry) for geometry in _plausible(size_bytes)]
    tagged = []
    raw = Geometry.stated({"layout": "sps100"})
    with suppress(GeometryError):
        find_sps100_start(path, raw)
        tagged = [_candidate(path, raw)]  # certain: pixels do not count lines by chance
    if not candidates + tagged:
        raise GeometryError(
            f"{path} holds {size_bytes:,} bytes: no size that is tried divides it. State it with "
            "--height and --width."
        )
    # of two alike the narrower: the other shows the filling of its rows as a black strip
    candidates.sort(key=lambda one: (one.roughness, one.geometry.width))
    return (tagged + candidates)[:best]


def _plausible(size_bytes: int) -> list[Geometry]:
    """Layouts that divide a file, each once."""
    sizes = [
        Geometry(height, width)
        for height in COMMON_SIDES
        for width in COMMON_SIDES
        if height <= width <= LONGEST_SIDES * height
    ]
    stored = [
        Geometry(height, width, readout_width=-(-width // 32) * 32)
        for height, width in {(one.height, one.width) for one in sizes}
        if width % 32
    ]
    orders: tuple[BitOrder, ...] = ("little", "big")
    return [
        Geometry(one.height, one.width, one.readout_width, bit_order=order)
        for one in dict.fromkeys((*COMMON_GEOMETRIES, *sizes, *stored))
        if size_bytes and size_bytes % one.readout_bytes == 0
        for order in orders
    ]


def _candidate(path: Path, geometry: Geometry) -> Candidate:
    with open_dat(path, geometry) as stream:
        rate = mean_rate(stream, 0, min(TRIAL_READOUTS, stream.num_readouts))
        return Candidate(geometry, stream.num_readouts, roughness(rate), rate)


def roughness(rate: GreyImage) -> float:
    """Roughness: mean squared difference of neighbours, relative to that of random pixels.

    A wrong width breaks what is above one another, a wrong bit order what is beside: the worse of
    the two counts.
    """
    fires = np.flatnonzero(rate.any(0))
    rate = rate[:, : fires[-1] + 1] if len(fires) else rate  # rows may be filled up with zeros
    variance = 2 * float(rate.var())
    if variance == 0:
        return 1.0
    across = float(np.square(np.diff(rate, axis=1)).mean())
    down = float(np.square(np.diff(rate, axis=0)).mean())
    return max(across, down) / variance


def contact_sheet(inspection: Inspection, pictures: int = 6) -> Image.Image:
    """One picture of a stream: rate map, broken pixels, histogram, and pieces over time."""
    seen, rate = inspection.sample, inspection.sample.rate
    white = max(float(np.percentile(rate, 99.5)), 1e-6)
    marked = np.repeat(grey_levels(rate / white)[..., None], 3, -1)
    marked[inspection.defects.hot] = (255, 64, 64)
    marked[inspection.defects.dead] = (64, 128, 255)
    chosen = np.unique(np.linspace(0, len(seen.starts) - 1, pictures).round().astype(int))
    panels = [
        ("firing rate", _grey(rate, white)),
        ("hot red, dead blue", Image.fromarray(marked)),
        ("histogram of rates", _histogram(rate, rate.shape)),
        *((f"readout {seen.starts[k]}", _grey(seen.rates[k], white)) for k in chosen),
    ]
    return sheet(panels)


def sheet(panels: Sequence[tuple[str, Image.Image]], columns: int = 3) -> Image.Image:
    """Pictures in rows, each under its label, scaled to one width."""
    side = 360
    tiles = [(label, _scaled(image, side)) for label, image in panels]
    height = max(tile.height for _, tile in tiles) + 22
    rows = math.ceil(len(tiles) / columns)
    canvas = Image.new("RGB", (columns * (side + 6), rows * (height + 6)), (24, 24, 24))
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(14)
    for k, (label, tile) in enumerate(tiles):
        x, y = k % columns * (side + 6), k // columns * (height + 6)
        draw.text((x + 2, y + 2), label, fill=(255, 255, 255), font=font)
        canvas.paste(tile, (x, y + 22))
    return canvas


def _scaled(image: Image.Image, side: int) -> Image.Image:
    height = max(1, round(image.height * side / image.width))
    return image.convert("RGB").resize((side, height))


def _grey(rate: GreyImage, white: float) -> Image.Image:
    return Image.fromarray(grey_levels(rate / white))


def _histogram(rate: GreyImage, shape: tuple[int, ...]) -> Image.Image:
    """Bars of the logarithm of how many pixels fire at each rate, up to the highest rate seen."""
    height, width = shape
    top = max(float(rate.max()), 1e-6)
    counts, _ = np.histogram(rate, width, (0, top))
    bars = np.log1p(counts) / max(float(np.log1p(counts).max()), 1e-6) * (height - 1)
    rows = np.arange(height)[::-1, None]
    return Image.fromarray(np.where(rows <= bars, 255, 30).astype(np.uint8))


def previews(candidates: Sequence[Candidate]) -> Image.Image:
    """Pictures of the file at each candidate geometry, numbered by rank."""
    panels = []
    for k, one in enumerate(candidates, 1):
        white = max(float(np.percentile(one.preview, 99.5)), 1e-6)
        label = f"{k}: {one.geometry.height} x {one.geometry.width}"
        if one.geometry.layout != "plain":
            label += f" {one.geometry.layout}"
        elif one.geometry.row_bits != one.geometry.width:
            label += f" stored {one.geometry.row_bits}"
        panels.append((f"{label}, {one.geometry.bit_order}", _grey(one.preview, white)))
    return sheet(panels)

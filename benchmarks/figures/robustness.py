"""Tables of docs/robustness.md: breakdowns, still scenes, faulty sensors, estimated patterns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean

from torch import Tensor

import spikerec
from benchmarks.figures.measuring import DATA, evenly_lit, loaded, psnr, score
from benchmarks.figures.pages import decibels, table
from benchmarks.figures.records import all_records, record_of
from benchmarks.zoo import RECORDS
from spikerec.data import Clip, Robustness
from spikerec.data.robustness import CAMERAS
from spikerec.models.base import Network
from spikerec.models.tfp import TFP
from spikerec.results import Board, Record
from spikerec.results.boards import BASELINE
from spikerec.results.breakdown import breakdowns, shown
from spikerec.results.curves import factors
from spikerec.simulation import Camera, SteadyScene, bundled_images
from spikerec.simulation.images import read_grey
from spikerec.spikes import SpikeStream
from spikerec.streaming import FixedPattern
from spikerec.weights.shipped import DEFAULT_MODEL

#: Windows of TFP that every method is compared with and that have no record in docs/leaderboard.
MORE_WINDOWS = (7, 61, 121)
HOT_PIXELS = (0.0, 0.001, 0.003, 0.01, 0.03)
FIXED_PATTERNS = (0.05, 0.1, 0.2)

#: The scenes by which the estimate of a pattern is measured: background and cut-out.
PAIRS = (("coffee", "chelsea"), ("astronaut", "coins"), ("grass", "coffee"))
HEIGHT, WIDTH = 160, 192
READOUTS = 301
LIGHT_SCALE = 0.4
SPEEDS = (0.0, 0.05, 0.2, 1.0)
SENSORS = {
    "ideal": Camera(LIGHT_SCALE),
    "weak": replace(CAMERAS["rsir"], light_scale=LIGHT_SCALE),
    "strong": replace(CAMERAS["rsir"], light_scale=LIGHT_SCALE, gain_spread=0.1),
}


def breakdown() -> str:
    """The first levels at which methods break down; of TFP, the window of the best mean alone."""
    set_ = Robustness(DATA / "robustness")
    set_.prepare()
    windows = [score(TFP(window), set_) for window in MORE_WINDOWS]
    (board,) = (
        board
        for board in spikerec.leaderboard([RECORDS, *windows]).boards
        if board.name.dataset == set_.name
    )
    places = breakdowns(board)
    headings = ["Method", "PSNR"]
    headings += [axis.title for axis in factors(board)]
    rows = []
    for label, record in _methods(board):
        cells = [shown(by_row[label]).replace(" dB", "") for by_row in places.values()]
        rows.append([method(record), decibels(record.mean("psnr") or 0), *cells])
    return table(headings, rows)


def _methods(board: Board) -> Iterator[tuple[str, Record]]:
    """Labels and records, best first; of TFP the best window alone."""
    rows = {label: row.record for label, row in board.rows.items()}
    ranked = sorted(rows.items(), key=lambda row: row[1].mean("psnr") or 0, reverse=True)
    best = next(label for label, record in ranked if record.method == BASELINE)
    return ((label, one) for label, one in ranked if one.method != BASELINE or label == best)


def method(record: Record) -> str:
    """A method as the tables name it."""
    if record.method == BASELINE:
        return record.label
    if "published" in record.weights.name:
        return f"`{record.method}`, published"
    return f"`{record.method}`"


def still() -> str:
    """Mean PSNR of `data=still` by speed, from the records."""
    found = [record for record in all_records() if record.dataset.name == "still"]
    found.sort(key=lambda record: record.mean("psnr") or 0, reverse=True)
    by_speed = [_by_speed(record) for record in found]
    rows = [
        [
            method(record),
            *(decibels(fmean(values), 1) for values in [*speeds.values(), record.column("psnr")]),
        ]
        for record, speeds in zip(found, by_speed, strict=True)
    ]
    return table(["Pixels a readout", *by_speed[0], "mean"], rows)


def _by_speed(record: Record) -> dict[str, list[float]]:
    """Speed → values of the scenes that have it; their names end in it (`0001_0.01px/30`)."""
    found: dict[str, list[float]] = {}
    for key, value in zip(record.samples.keys, record.column("psnr").tolist(), strict=True):
        speed = key.rpartition("/")[0].rpartition("_")[2].removesuffix("px")
        found.setdefault(speed, []).append(value)
    return found


def hot_pixels() -> str:
    """PSNR with hot pixels: as recorded, and as `reconstruct` repairs them."""
    rows = []
    for level in HOT_PIXELS:
        clips = _at("hot_pixels", level)
        recorded = _recorded("hot_pixels", level)
        repaired = fmean(_reconstructed(spikerec.open(clip.files[0]), clip) for clip in clips)
        rows.append([f"{level:g}", decibels(recorded, 1), decibels(repaired, 1)])
    return table(["Hot pixels", "as recorded", "`reconstruct`"], rows)


def fixed_pattern() -> str:
    """PSNR with a fixed pattern: as recorded, and calibrated by an evenly lit surface."""
    set_ = Robustness(DATA / "robustness")
    cameras = {one.camera.gain_spread: one.camera for one in set_.conditions()}
    rows = []
    for level in FIXED_PATTERNS:
        values = []
        for scene, clip in enumerate(_at("fixed_pattern", level)):
            size, seed = (set_.height, set_.width), set_.scene_seed(scene)
            calibration = FixedPattern.measured(None, evenly_lit(cameras[level], *size, seed=seed))
            stream = spikerec.open(clip.files[0])
            values.append(_reconstructed(stream, clip, calibration))
        recorded = _recorded("fixed_pattern", level)
        rows.append([f"{level:g}", decibels(recorded, 1), decibels(fmean(values), 1)])
    return table(["Fixed pattern", "as recorded", "calibrated"], rows)


def _at(factor: str, level: float) -> list[Clip]:
    """The clips of `data=robustness` at a level of a factor, one a scene; 0 is the middle."""
    set_ = Robustness(DATA / "robustness")
    set_.prepare()
    name = factor if level else "middle"
    return [
        clip
        for clip in set_.clips("test")
        if clip.conditions["factor"] == name and clip.covariates[factor] == level
    ]


def _recorded(factor: str, level: float) -> float:
    """Mean PSNR of the spikes as they are, from the record."""
    frame = record_of(DEFAULT_MODEL, "robustness", "corrected").to_frame()
    name = factor if level else "middle"
    return float(frame.loc[(frame["factor"] == name) & (frame[factor] == level), "psnr"].mean())


def _reconstructed(
    stream: SpikeStream, clip: Clip, calibration: FixedPattern | None = None
) -> float:
    """PSNR of the clip's image as `reconstruct` makes it."""
    ((key_readout, path),) = clip.images.items()
    network = loaded(DEFAULT_MODEL)
    return reconstructed(network, stream, key_readout, read_grey(path), calibration)


def reconstructed(
    network: Network,
    stream: SpikeStream,
    key_readout: int,
    truth: Tensor,
    calibration: FixedPattern | None = None,
    *,
    estimate_pattern: bool = True,
) -> float:
    """PSNR of the image of one readout as `spikerec.reconstruct` makes it, in float32."""
    video = spikerec.reconstruct(
        stream,
        network,
        at=key_readout,
        calibration=calibration,
        estimate_pattern=estimate_pattern,
        exposure="light_scale",
        precision="float32",
    )
    (frame,) = video.frames()
    return psnr(frame.images[0], truth)


def estimated_pattern() -> str:
    """PSNR with a fixed pattern as recorded, estimated from the recording, and calibrated."""
    networks = [loaded(name) for name in (DEFAULT_MODEL, "hann")]
    rows = []
    for speed in SPEEDS:
        lights = [_light(scene, speed) for scene in range(len(PAIRS))]
        for name, camera in SENSORS.items():
            cells: list[str] = []
            for network in networks:
                values = [_by_calibration(network, camera, *one) for one in enumerate(lights)]
                cells += [
                    "" if None in column else decibels(fmean(column))
                    for column in zip(*values, strict=True)
                ]
            rows.append([f"{speed:g}" if name == "ideal" else "", name, *cells])
    ways = ("recorded", "estimated", "flat")
    columns = [f"`{DEFAULT_MODEL}`: {ways[0]}", *ways[1:], f"`hann`: {ways[0]}", *ways[1:]]
    return table(["Pixels a readout", "sensor", *columns], rows, left=2)


def _light(scene: int, speed: float) -> Tensor:
    """The light of a scene, (READOUTS, HEIGHT, WIDTH)."""
    images = {one.name.removesuffix(".png"): one.image for one in bundled_images()}
    shown_ = SteadyScene(
        [images[name] for name in PAIRS[scene]],
        height=HEIGHT,
        width=WIDTH,
        seed=scene,
        speed=speed,
        key_readout=READOUTS // 2,
    )
    return shown_.frames(0, READOUTS)


def _by_calibration(
    network: Network, camera: Camera, seed: int, light: Tensor
) -> Sequence[float | None]:
    """PSNR as recorded, with the pattern estimated, and calibrated where there is a pattern."""
    stream = spikerec.open(camera.expose(light, seed=seed), light_scale=LIGHT_SCALE)
    flat = None
    if camera.has_fixed_pattern:
        flat = FixedPattern.measured(None, evenly_lit(camera, HEIGHT, WIDTH, seed=seed))
    middle = READOUTS // 2

    def by(calibration: FixedPattern | None, *, estimate: bool) -> float:
        return reconstructed(
            network,
            stream,
            middle,
            light[middle],
            calibration,
            estimate_pattern=estimate,
        )

    calibrated = None if flat is None else by(flat, estimate=False)
    return by(None, estimate=False), by(None, estimate=True), calibrated

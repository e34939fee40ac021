"""Records made up for tests: seeded, a few kilobytes each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image

from spikerec.results import DatasetInfo, ProtocolInfo, Record, Samples, WeightsInfo
from spikerec.results.parts import Curves
from spikerec.streaming.animations import write_animation

METRICS = {"psnr": True, "ssim": True, "lpips": False, "niqe": False, "brisque": False}

#: label → PSNR, SSIM, LPIPS, NIQE, BRISQUE, params, MACs, ms
METHODS = {
    "TFP (31)": (25.2, 0.69, 0.255, 5.97, 43.1, 0, 0, 0.4),
    "TFI": (18.6, 0.64, 0.259, 4.52, 44.9, 0, 0, 3.6),
    "SSIR": (32.5, 0.918, 0.050, 3.47, 15.7, 380_000, 240e9, 6.2),
    "Spk2ImgNet": (36.2, 0.951, 0.029, 3.08, 15.3, 3_760_000, 9.17e12, 151.8),
    "WGSE": (37.4, 0.957, 0.024, 3.03, 15.6, 3_850_000, 3.93e12, 71.5),
    "STIR": (38.6, 0.965, 0.0186, 2.93, 14.9, 5_110_000, 0.42e12, 18.7),
}


def protocol(
    name: str = "stir", metrics: tuple[str, ...] = tuple(METRICS), **changes: Any
) -> ProtocolInfo:
    """A protocol's description as `Protocol.describe` gives it; `changes` are of preparation."""
    arguments = {"lpips": {"input_range": "unit" if name == "stir" else "symmetric"}}
    description = {
        "name": name,
        "statement": {"frames": "all"},
        "clip": True,
        "border": 0,
        "rounding": "none",
        "metrics": {
            metric: {
                "metric": metric,
                "arguments": arguments.get(metric, {}),
                "implementation": "spikerec",
                "higher_is_better": METRICS.get(metric, True),
            }
            for metric in metrics
        },
    } | changes
    if name == "stir":
        description["statement"]["quirks"] = "LPIPS is fed one channel in [0, 1] as it is"
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
    return ProtocolInfo(name, digest, description)


def make_record(
    name: str = "STIR", /, *, scenes: int = 10, frames: int = 2, **changes: Any
) -> Record:
    """A record of one of `METHODS`; `changes` replace fields."""
    means = METHODS.get(name, METHODS["STIR"])
    rng = np.random.default_rng(sum(map(ord, name)))
    scene_rng = np.random.default_rng(0)  # hard scenes are hard for every method
    keys = [f"scene{s:02}/{f}" for s in range(scenes) for f in range(frames)]
    hardness = scene_rng.normal(0, 0.06, scenes).repeat(frames)
    values = {
        metric: mean * (1 + (hardness if higher else -hardness) + rng.normal(0, 0.01, len(keys)))
        for (metric, higher), mean in zip(METRICS.items(), means[:5], strict=True)
    }
    params, macs, milliseconds = means[5:]
    fields: dict[str, Any] = {
        "method": name.partition(" ")[0].lower(),
        "label": name,
        "weights": WeightsInfo(f"{sum(map(ord, name)):064x}", "stir-sreds", "best.ckpt", "run")
        if params
        else WeightsInfo(),
        "dataset": DatasetInfo("sreds", "test", "d" * 64, len(keys), True, 0.4),
        "protocol": protocol(),
        "samples": Samples(keys, values, METRICS),
        "efficiency": {
            "size": [720, 1280],
            "params": params,
            "macs": macs,
            "memory_bytes": 3 * 2**30,
            "latency": [{"size": [250, 400], "median_ms": milliseconds, "device": "Test GPU"}],
        },
        "training": {"data": ["sreds"], "samples": 76_800, "seconds": 960.0, "machine": "Test CPU"}
        if params
        else {},
        "config": {"model": {"window": 61, "channels": 64}, "seed": 0},
        "code": {"version": "0.1.0", "revision": "f" * 40, "dirty": False},
        "environment": {"python": "3.12", "packages": {"torch": "2.11"}},
        "created": "2026-01-02T03:04:05+00:00",
    }
    return Record(**fields | changes)


def trained_record(
    name: str,
    /,
    *,
    psnr: Sequence[float] = (20.0, 25.0, 27.0, 28.0),
    seconds: Sequence[float] | None = (45.0, 90.0, 135.0, 180.0),
    clock: str = "wall",
    is_measured: bool = True,
    digest: str = "a" * 16,
    sets: Sequence[str] = ("photos",),
    budget: Mapping[str, Any] | None = MappingProxyType(
        {"seconds": 180.0, "clock": "wall", "machine": "Test CPU"}
    ),
) -> Record:
    """A record of weights whose training is known validation by validation.

    Args:
        name: label of the record.
        psnr: of each validation.
        seconds: of training until each of them.
        clock: by which they are counted.
        is_measured: see `spikerec.training.learning.LearningCurve`.
        digest: of the validation.
        sets: its data sets.
        budget: of the training.
    """
    curve = {
        "clock": clock,
        "is_measured": is_measured,
        "samples": [100 * (place + 1) for place in range(len(psnr))],
        "seconds": seconds,
        "psnr": list(psnr),
        "validation": {"sets": list(sets), "samples": 8, "digest": digest},
    }
    training = {"data": {"photos": "abc"}, "samples": 400, "seconds": 200.0, "crop": [96, 96]}
    training |= {"machine": "Test CPU", "curve": curve}
    return make_record(name, training=training | ({} if budget is None else {"budget": budget}))


#: Levels of the factors of `factor_record`; the middle is light 0.4 with an ideal camera.
LIGHT, NOISE = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0), ("ideal", "shot", "rsir")


def factor_record(
    name: str,
    /,
    light: Sequence[float],
    noise: Sequence[float],
    *,
    scenes: int = 4,
    **changes: Any,
) -> Record:
    """A record of a set that varies two factors, light and noise, one at a time.

    Args:
        name: label of the record.
        light: mean PSNR at each level of `LIGHT`.
        noise: mean PSNR at each level of `NOISE`; that of the middle is the light's.
        scenes: number of scenes, which differ by 1 dB from one to the next.
        changes: replace fields.
    """
    samples = [("middle", 0.4, "ideal", light[LIGHT.index(0.4)])]
    samples += [
        ("light_scale", x, "ideal", y) for x, y in zip(LIGHT, light, strict=True) if x != 0.4
    ]
    samples += [("noise", 0.4, x, y) for x, y in zip(NOISE[1:], noise[1:], strict=True)]
    rows = [
        (f"{scene:02}@{factor}={x}-{label}/60", factor, x, label, y + scene - (scenes - 1) / 2)
        for scene in range(scenes)
        for factor, x, label, y in samples
    ]
    keys, factors, scales, cameras, psnr = map(tuple, zip(*rows, strict=True))
    rates = np.random.default_rng(0).uniform(0, 1, len(keys))
    given = Samples(
        keys,
        {"psnr": np.array(psnr)},
        {"psnr": True},
        covariates={"light_scale": np.array(scales), "firing_rate": rates},
        conditions={"factor": factors, "noise": cameras},
    )
    fields: dict[str, Any] = {
        "samples": given,
        "dataset": DatasetInfo("robustness", "test", "f" * 64, len(keys), True),
        "protocol": protocol("corrected", ("psnr",)),
    }
    return make_record(name, **fields | changes)


def video_record(name: str, folder: Path, grey: int) -> Record:
    """A record of two clips of six images, whose videos get brighter from a grey level on.

    Curves rise by 1 dB an image. The truth's videos are saved below the folder too.
    """
    clips, readouts = ("car", "fan"), (10, 20, 30, 40, 50, 60)
    rising = np.arange(len(readouts), dtype=np.float64)
    start = {clip: METHODS[name][0] + place for place, clip in enumerate(clips)}
    values = {"psnr": {clip: (first + rising).tolist() for clip, first in start.items()}}
    images: dict[str, dict[str, str]] = {}
    for clip in clips:
        for role, level in (("target", 0), ("prediction", grey)):
            path = folder / "images" / name / clip / f"{role}.webp"
            path.parent.mkdir(parents=True, exist_ok=True)
            frames = [np.full((60, 80), level + 4 * k, np.uint8) for k in range(len(readouts))]
            write_animation(path, frames)
            images.setdefault(clip, {})[role] = path.relative_to(folder).as_posix()
    return make_record(
        name,
        samples=Samples(clips, {"psnr": [first + 2.5 for first in start.values()]}, {"psnr": True}),
        dataset=DatasetInfo("clips", "test", "e" * 64, len(clips), True, 0.4),
        curves=Curves(dict.fromkeys(clips, readouts), values),
        images=images,
    )


def save_pictures(folder: Path, record: Record, keys: list[str]) -> Record:
    """The record with made-up pictures of some samples, saved below the folder."""
    height, width = 125, 200
    y, x = np.mgrid[:height, :width]
    images: dict[str, dict[str, str]] = {}
    noise = np.random.default_rng(1).normal(0, 1, (height, width))
    error = 40 - record.column("psnr").mean()
    for number, key in enumerate(keys):
        scene = (
            0.5 + 0.25 * np.sin(x / (5 + number) + y / 9) + 0.25 * ((x // 25 + y // 25) % 2 - 0.5)
        )
        views = {
            "target": scene,
            "prediction": scene + noise * error / 60,
            "tfp": scene + noise * 0.25,
        }
        for role, view in views.items():
            path = folder / "images" / record.label / key / f"{role}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((view.clip(0, 1) * 255).astype(np.uint8)).save(path)
            images.setdefault(key, {})[role] = path.relative_to(folder).as_posix()
    return replace(record, images=images)


def write_demo(folder: Path) -> None:
    """Every method on two boards, with pictures on the first, and one record cut short."""
    blind = DatasetInfo("recvidarreal2019", "test", "e" * 64, 20, False, 1.0)
    for label in METHODS:
        record = make_record(label)
        if label == "TFI":
            reason = "no weights: spikerec weights fetch"
            samples = Samples(
                record.samples.keys,
                {m: v for m, v in record.samples.values.items() if m != "lpips"},
                {m: h for m, h in METRICS.items() if m != "lpips"},
            )
            elsewhere = [
                {
                    "size": [250, 400],
                    "median_ms": 9.0,
                    "device": "Another Device, of a long name, 2 threads",
                }
            ]
            record = replace(
                record,
                samples=samples,
                unavailable={"lpips": reason},
                efficiency=record.efficiency | {"latency": elsewhere},
            )
        save_pictures(folder, record, ["scene00/0", "scene03/1"]).write(folder)
        without = {m: make_record(label).column(m) * 1.8 for m in ("niqe", "brisque")}
        samples = Samples(record.samples.keys, without, dict.fromkeys(without, False))
        replace(record, dataset=blind, samples=samples, unavailable={}).write(folder)
        later = replace(record, protocol=protocol("corrected"), created="2026-01-03T00:00:00+00:00")
        if "lpips" in record.samples.values:
            lpips = record.column("lpips") * 1.5
            values = record.samples.values | {"lpips": lpips}
            samples = Samples(record.samples.keys, values, METRICS)
            later = replace(later, samples=samples)
        later.write(folder)
    (folder / "cut-short.json").write_text('{"id": "2026')

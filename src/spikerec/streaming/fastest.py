"""The engine that makes the images of a clip soonest, found by trying each: `engine=auto`.

Each installed engine makes a few images of the clip in the way that the clip will be made. The
fastest is taken, unless its images are far from PyTorch's. What was measured is kept beside the
converted networks, for clips of the same networks, size and stride on the same machine.

A trial takes seconds, mostly to convert a network, and is made only where it can gain more than
that. `compile` is never tried: it compiles for minutes.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from spikerec.errors import ConfigError, MissingPackageError, SpikerecError
from spikerec.fetch import write_atomically
from spikerec.inference.engines.converted import kept_at
from spikerec.inference.ready import Engine, is_filter
from spikerec.kernels.devices import device_name, has_kernels
from spikerec.models.base import Network
from spikerec.parsing import SMALL_DOCUMENT, read_json
from spikerec.spikes import SpikeStream
from spikerec.streaming.engine import Frame, make_frames
from spikerec.streaming.key_readouts import KeyReadouts
from spikerec.streaming.tiles import Tiling

#: Engines that are tried; the first is taken where nothing is measured.
TRIED: tuple[Engine, ...] = ("torch", "openvino", "onnxruntime")
#: Batches of images that a trial makes. The first is not timed: a network is converted for it.
BATCHES = 4
#: Images of a clip for each of a trial's, at least: a trial is short beside its clip.
IMAGES_PER_TRIAL = 10
#: Seconds that PyTorch takes for a clip, at least: the others are converted within half of that.
LEAST_SECONDS = 60
#: Time of another engine over PyTorch's, at most: below that it is no chance of the measurement.
MOST_SHARE = 0.9
#: Agreement with PyTorch's images, PSNR in dB, below which an engine's are wrong. What a precision
#: costs is not judged here: `choose_precision` and the weights' own figures do (`fast_wide` agrees
#: to 65 dB in bfloat16, and to 59 in 8 bits).
LEAST_AGREEMENT_DB = 40

#: Engine → seconds an image; None for one that cannot make it, or makes another.
Measured = dict[Engine, float | None]

_log = logging.getLogger(__name__)


def fastest_engine(
    stream: SpikeStream,
    networks: Sequence[Network],
    key_readouts: KeyReadouts,
    prepared: Callable[[Engine], Sequence[Network]],
    *,
    device: torch.device,
    batch_size: int,
    tilings: Sequence[Tiling | None],
    facts: object,
) -> Engine:
    """Choose the engine that makes the images of a clip.

    Args:
        stream: of which the images are made.
        networks: as published.
        key_readouts: of all images.
        prepared: makes the networks ready to run by an engine.
        device: where they compute.
        batch_size: see `make_frames`.
        tilings: see `make_frames`.
        facts: further plain values on which times depend.

    Returns:
        An engine other than `torch` if it is known to be faster, or is found to be: a trial is made
        for clips that are long enough to gain by it. One that cannot compute the networks is passed
        over.
    """
    if not has_kernels(device) or all(map(is_filter, networks)):
        return TRIED[0]
    able: dict[Engine, Sequence[Network]] = {}
    for engine in TRIED:
        try:
            able[engine] = prepared(engine)
        except (ConfigError, MissingPackageError) as error:
            _log.debug("engine=auto passes over %s: %s", engine, error)
    if len(able) < 2:
        return next(iter(able), TRIED[0])
    tiles = [len(one.parts) for one in tilings if one is not None]
    sizes = [stream.height, stream.width, stream.bayer, key_readouts.stride, batch_size, tiles]
    place = kept_at(networks, TRIED[1:], [facts, device_name(device), sizes], "choices")
    known = {engine: seconds for engine, seconds in _kept(place).items() if engine in able}
    first, count = next(iter(able)), len(key_readouts)
    if able.keys() - known.keys() and _pays(count, batch_size, known.get(first)):
        trial = _middle(key_readouts, BATCHES * batch_size)
        reference: Tensor | None = None
        for engine, ready in able.items():
            made = make_frames(
                stream, ready, trial, batch_size=batch_size, device=device, tilings=tilings
            )
            try:
                known[engine], images = _timed(made, batch_size)
            except ConfigError as error:
                _log.debug("engine=auto passes over %s: %s", engine, error)
                known[engine] = None
                continue
            if reference is None:
                reference = images
                if not _pays(count, batch_size, known[engine]):
                    break
            elif not _agrees(images, reference):
                _log.debug("engine=auto passes over %s: its images are not PyTorch's", engine)
                known[engine] = None
        _keep(known, place)
    return _choice(known, first)


def _pays(count: int, batch_size: int, seconds: float | None) -> bool:
    """True if a clip may gain more by a trial than that takes.

    Args:
        count: images of the clip.
        batch_size: see `make_frames`.
        seconds: time of an image by PyTorch; None if it is not known yet.
    """
    is_long = count >= IMAGES_PER_TRIAL * BATCHES * batch_size
    return is_long and (seconds is None or count * seconds >= LEAST_SECONDS)


def _middle(key_readouts: KeyReadouts, count: int) -> KeyReadouts:
    """Some key readouts in a row, from the middle of a clip and at its stride."""
    spaced = KeyReadouts(key_readouts.first, key_readouts.stop, key_readouts.stride)
    begin = max(0, (len(spaced) - count) // 2)
    return spaced[begin : begin + count]


def _timed(frames: Generator[Frame, None, None], batch_size: int) -> tuple[float, Tensor]:
    """Return the seconds that an image takes at its soonest, and the images (N, M, H, W)."""
    images, ends = [], []
    with closing(frames):
        for frame in frames:
            images.append(frame.images)
            ends.append(time.perf_counter())
    batches = pairwise(ends[batch_size - 1 :: batch_size])
    return min(end - begin for begin, end in batches) / batch_size, torch.stack(images)


def _agrees(images: Tensor, reference: Tensor) -> bool:
    """True if the images (N, M, H, W) of each of M methods are those of a reference."""
    error = (images - reference).square().mean((0, 2, 3))
    peak = reference.square().amax((0, 2, 3))
    return bool((error <= peak * 10 ** (-LEAST_AGREEMENT_DB / 10)).all())


def _choice(known: Measured, first: Engine) -> Engine:
    """Return the fastest engine, and report it in a line."""
    times = {engine: seconds for engine, seconds in known.items() if seconds is not None}
    fastest = min(times, key=times.__getitem__, default=first)
    if fastest != first and times[fastest] > MOST_SHARE * times.get(first, math.inf):
        fastest = first
    each = (f"{one} {1e3 * times[one]:.3g}" if one in times else f"not {one}" for one in known)
    reason = f"ms an image: {', '.join(each)}" if len(known) > 1 else "too few images for a trial"
    _log.info("engine=auto takes %s (%s)", fastest, reason)
    return fastest


def _kept(place: Path | None) -> Measured:
    """Read what was measured before; nothing if it was not, or if the file is damaged."""
    if place is None:
        return {}
    with suppress(OSError, SpikerecError):
        found = read_json(place, SMALL_DOCUMENT)
        if isinstance(found, dict) and all(_is_sound(*pair) for pair in found.items()):
            return found
    return {}


def _is_sound(engine: object, seconds: object) -> bool:
    is_time = isinstance(seconds, float) and 0 < seconds < math.inf
    return engine in TRIED and (seconds is None or is_time)


def _keep(known: Measured, place: Path | None) -> None:
    if place is not None:
        with suppress(OSError):  # no room, or no permission: then it is measured each time
            write_atomically(place, json.dumps(known).encode())

"""`spikerec.reconstruct`: a stream and methods in, a `Video` out."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spikerec.errors import ConfigError
from spikerec.kinds import checked, unknown_argument
from spikerec.models.base import Network
from spikerec.spikes import Ends, Source, SpikeStream, as_stream
from spikerec.streaming.key_readouts import KeyReadouts, parse_readouts
from spikerec.streaming.video import Video
from spikerec.weights.shipped import DEFAULT_MODEL
from spikerec.weights.trained import load

Path_ = str | Path
Method = str | Network | Mapping[str, Network]

#: Frames by which a short clip becomes a video of a few seconds.
FEWEST_FRAMES = 75


@checked
def reconstruct(
    stream: Source | SpikeStream,
    *methods: Method | Sequence[Method],
    checkpoint: Path_ | Mapping[str, Path_] | None = None,
    stride: int | None = None,
    start: int = 0,
    stop: int | None = None,
    ends: Ends = "reflect",
    slow_motion: float | None = None,
    fps: float = 25,
    at: Any = None,  # noqa: ANN401 (a readout, a time, a list of them, or a file)
    **settings: Any,  # noqa: ANN401 (those of `Video`)
) -> Video:
    """A video of a stream by one or several methods, side by side.

    Args:
        stream: from `spikerec.open`, or what that opens: a file, several, an array or a tensor.
        methods: choices of `conf/model`, or networks ready to use, also by names of their own
            (`{"mine": network}`); one by one or as a list; none for the default network.
        checkpoint: of a method with weights; by name where several have some.
        stride: readouts from one frame to the next; None to take it from `slow_motion`, or half
            the shortest window, and less of a short clip (`default_stride`).
        start: first readout that has a frame; windows also contain the readouts before it.
        stop: readout after the last that may have one; None for the end.
        ends: `reflect` completes windows that leave the stream by mirroring it in time, so that
            every readout may have a frame; `drop` leaves out the readouts of such windows.
        slow_motion: how many times slower than life it is to play at `fps`.
        fps: for `slow_motion`.
        at: readouts that have a frame, in place of `stride`, `start` and `stop`: `150`, `"12.5ms"`,
            a list of these, or the name of a file of them.
        **settings: those of `Video`.

    Raises:
        ConfigError: no method, one named twice or of another kind, or a setting out of range.
        WindowError: the part holds no readout that can have a frame, or the stream is shorter than
            can be mirrored.
        WeightsError: a checkpoint that does not fit.
    """
    offered = inspect.signature(Video).parameters.keys() - {"stream", "networks", "key_readouts"}
    for name in settings.keys() - offered:
        named = inspect.signature(reconstruct).parameters.keys() - {"settings"}
        raise unknown_argument("reconstruct", name, sorted(named | offered))
    stream = as_stream(stream)
    chosen = [
        one
        for method in methods or (DEFAULT_MODEL,)
        for one in (method if isinstance(method, list | tuple) else [method])
    ]
    networks: dict[str, Network] = {}
    for method in chosen:
        if isinstance(method, Mapping):
            for own_name, network in method.items():
                if not isinstance(network, Network):
                    raise ConfigError(
                        f"methods must map names to networks, found {type(network).__name__} "
                        f"under {own_name}: load it first, spikerec.load(NAME)."
                    )
            networks |= method
            continue
        if not isinstance(method, str | Network):
            raise ConfigError(
                "methods must be names such as tfp, or networks ready to use, found "
                f"{type(method).__name__}."
            )
        name = method if isinstance(method, str) else type(method).__name__
        if name in networks:
            raise ConfigError(f"the method {name} is named twice.")
        own = checkpoint.get(name) if isinstance(checkpoint, Mapping) else checkpoint
        if len(chosen) > 1 and not isinstance(checkpoint, Mapping) and checkpoint is not None:
            raise ConfigError(
                f"checkpoint={checkpoint} could be of any of {len(chosen)} methods: say which, "
                "checkpoint.NAME=FILE."
            )
        networks[name] = load(method, own) if isinstance(method, str) else method
    if not networks:
        raise ConfigError("methods names no method: name one such as tfp, or leave it out.")
    ready = list(networks.values())
    if at is not None:
        if (stride, slow_motion, start, stop) != (None, None, 0, None):
            raise ConfigError("at names readouts: leave out stride, slow_motion, start and stop.")
        key_readouts = KeyReadouts.at(stream, ready, parse_readouts(at, stream), ends)
        return Video(stream, networks, key_readouts, **settings)
    if stride is None:
        end = stream.num_readouts if stop is None else min(stop, stream.num_readouts)
        stride = default_stride(stream, ready, slow_motion, fps, end - start)
    key_readouts = KeyReadouts.of(stream, ready, stride, start, stop, ends)
    return Video(stream, networks, key_readouts, **settings)


@checked
def default_stride(
    stream: SpikeStream,
    networks: Sequence[Network],
    slow_motion: float | None,
    fps: float,
    num_readouts: int | None = None,
) -> int:
    """Readouts from one frame to the next for a wanted playback speed.

    Args:
        stream: states the sampling rate.
        networks: the methods.
        slow_motion: times slower than life; None for half the shortest window, and less of a clip
            so short that it would play for less than three seconds.
        fps: frames shown in a second.
        num_readouts: of the clip; None for the whole stream.

    Raises:
        ConfigError: a speed is wanted of a stream whose sampling rate is unknown, or one so slow
            that there is less than one readout a frame.
    """
    if slow_motion is None:
        count = stream.num_readouts if num_readouts is None else num_readouts
        half = min(network.window for network in networks) // 2
        return max(1, min(half, count // FEWEST_FRAMES))
    if stream.rate_hz is None:
        raise ConfigError(
            f"slow_motion={slow_motion:g} needs the sampling rate of {stream.path}: set rate_hz, "
            "or stride instead."
        )
    stride = stream.rate_hz / (fps * slow_motion)
    if stride < 0.5:
        raise ConfigError(
            f"slow_motion={slow_motion:g} at fps={fps:g} asks for {fps * slow_motion:g} frames a "
            f"second of {stream.rate_hz:g} readouts: lower slow_motion or fps."
        )
    return round(stride)

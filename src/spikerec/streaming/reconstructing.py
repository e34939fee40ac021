"""`spikerec.reconstruct`: a stream and methods in, a `Video` out."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spikerec.errors import ConfigError, RecordingWarning
from spikerec.kinds import checked, unknown_argument
from spikerec.models.base import Network
from spikerec.spikes import Ends, Source, SpikeStream, as_stream
from spikerec.streaming.key_readouts import choose_key_readouts
from spikerec.streaming.video import Video
from spikerec.weights.shipped import DEFAULT_MODEL
from spikerec.weights.trained import load

Path_ = str | Path
Method = str | Network | Mapping[str, Network]


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

    Problems of the recording (`Video.concerns`) are Python warnings, `errors.RecordingWarning`.

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
    key_readouts = choose_key_readouts(
        stream,
        list(networks.values()),
        stride=stride,
        start=start,
        stop=stop,
        ends=ends,
        slow_motion=slow_motion,
        fps=fps,
        at=at,
    )
    video = Video(stream, networks, key_readouts, **settings)
    for concern in video.concerns:
        warnings.warn(f"{stream.name}: {concern}", RecordingWarning, stacklevel=3)  # of the caller
    return video

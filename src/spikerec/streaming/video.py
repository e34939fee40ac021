"""A video of a spike stream, in three lines: open, reconstruct, save.

    import spikerec
    video = spikerec.reconstruct(spikerec.open("car.dat"), "tfp")
    video.save("car.mp4")

Nothing is computed before it is asked for. In a notebook a video shows its middle frame, and
`video[10]` is a Pillow image.

A video puts parts together: `correction` takes the sensor's faults out, `preparation` makes the
networks ready, `engine` and `processes` make the frames, and `sinks` write them.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from functools import cached_property
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from spikerec import __version__
from spikerec.describing import arguments
from spikerec.errors import ConfigError, InputError
from spikerec.inference.ready import Engine, Precision
from spikerec.kinds import checked
from spikerec.models.base import Network
from spikerec.models.carrying import Carry
from spikerec.own_code import own_facts
from spikerec.spikes import SpikeStream
from spikerec.spikes.bayer import plane_size
from spikerec.spikes.defects import Sample, sample
from spikerec.spikes.grey import grey_levels
from spikerec.streaming.colour import WhiteBalance
from spikerec.streaming.concerns import find_concerns
from spikerec.streaming.correction import Correction
from spikerec.streaming.engine import Frame, make_frames
from spikerec.streaming.exposure import (
    Exposure,
    choose_light,
    chosen_over_clip,
    described,
    is_measured,
    looked_at_part,
    measured_gain,
    measured_unit,
    pieces_of,
)
from spikerec.streaming.fastest import fastest_engine
from spikerec.streaming.key_readouts import KeyReadouts
from spikerec.streaming.light import FixedPattern, Tone
from spikerec.streaming.panels import side_by_side
from spikerec.streaming.preparation import Preparation
from spikerec.streaming.processes import choose_devices, distribute_frames
from spikerec.streaming.sinks import open_sink
from spikerec.streaming.tiles import TILE_OVERLAP, Tiling, choose_layout
from spikerec.weights.checkpoint import digest

Path_ = str | Path

#: Readouts of a stream by which its content is known again.
READOUTS_SAMPLED = 32


@checked
class Video:
    """The frames of a stream by one or several methods, made as they are asked for.

    Args:
        stream: of any length.
        networks: ready to use, by the name that labels them.
        key_readouts: the key readouts, one a frame.
        exposure: `light_scale` shows intensity 1 as white, by the light scale that the stream
            states; `auto` measures over the whole clip what is white in the images of each method,
            so that 0.5 % of the pixels are at most (see `streaming.exposure`; it takes 8 images
            more); a number multiplies the intensity; None is `light_scale` where it is stated, else
            `auto`.
        tone: how intensity becomes grey.
        white_balance: of a colour camera: None for the colours as the sensor sees them,
            `gray_world`, or three gains (see `colour.balance_gains`).
        mask_defects: replace the spikes of hot and dead pixels, found from the stream, by a
            neighbour's; None for those that are so beyond doubt (`find_sure_defects`).
        calibration: fixed pattern to take out; None for none.
        estimate_pattern: where the calibration states no gain, estimate that of each pixel from the
            stream (`FixedPattern.estimated`). Nothing changes where the scene does not move enough
            or no pattern is seen.
        show_spikes: put the key readout itself beside the images.
        caption: write time and playback speed below each frame.
        batch_size: windows that go through a network at once; None for what is fastest: on a CPU
            one for each thread, where memory holds them, else 1.
        device: where networks compute; None for a GPU where there is one.
        devices: processes that share the frames of `frames` and `save`: each has a GPU of its own,
            or a part of the CPU's cores.
        tile: side of tiles; None to split only pictures that do not fit into free memory.
        tile_overlap: pixels that neighbouring tiles share.
        optimise: compute with copies of the networks, rearranged to run sooner, whose images
            differ by 2e-5 at most.
        engine: the program that computes the networks (see `spikerec.inference.ready`); `auto`
            tries which makes the frames soonest, once per machine, size and stride (see
            `spikerec.streaming.fastest`), and then states the one that it took.
        precision: the numbers they are computed in; `auto` takes 8 or 16 bits where the engine
            and the device are fast in them and the weights are known to lose less than 0.05 dB by
            it.
        carry: windows before each image's own through which the state of networks that have one
            comes: a number, `start` for all from the stream's start on, or None for windows on
            their own. Networks without a state are not affected.

    Attributes:
        engine: the program that computes the networks, also where `auto` was asked for.
        precisions: the numbers that each network is computed in, by the network's name.
        calibration: the fixed pattern that is taken out, also where it was estimated.

    Raises:
        ConfigError: an exposure that is not one of these, or unknown of this stream; a state to
            carry where no network has one.
    """

    def __init__(
        self,
        stream: SpikeStream,
        networks: Mapping[str, Network],
        key_readouts: KeyReadouts,
        *,
        exposure: Exposure = None,
        tone: Tone | None = None,
        white_balance: WhiteBalance = None,
        mask_defects: bool | None = None,
        calibration: FixedPattern | None = None,
        estimate_pattern: bool = True,
        show_spikes: bool = False,
        caption: bool = False,
        batch_size: int | None = None,
        device: torch.device | str | None = None,
        devices: int = 1,
        tile: int | None = None,
        tile_overlap: int = TILE_OVERLAP,
        optimise: bool = True,
        engine: Engine | Literal["auto"] = "torch",
        precision: Precision | Literal["auto"] = "auto",
        carry: Carry = None,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, found {batch_size}.")
        self.stream = stream
        self.networks = dict(networks)
        self.key_readouts = key_readouts
        self.tone = tone or Tone()
        self.show_spikes = show_spikes
        self.caption = caption
        self._is_measured = is_measured(exposure, stream)
        self._correction = Correction(
            stream,
            networks.values(),
            lambda: self.looked_at,
            white_balance=white_balance,
            mask_defects=mask_defects,
            calibration=calibration,
            estimate_pattern=estimate_pattern,
        )
        self.defects = self._correction.defects
        self.calibration = self._correction.calibration
        self.light_scale, gain = choose_light(
            exposure,
            stream,
            self.looked_at if self._is_measured else None,
            self._correction.broken,
            self._correction.balance,
        )
        self._display = Tone(**{**asdict(self.tone), "gain": self.tone.gain * gain})
        self._batch_size = batch_size
        self._devices = choose_devices(device, devices)
        self._tile: dict[str, Any] = {"tile": tile, "tile_overlap": tile_overlap}
        self._as_published = self.networks
        self._carry = carry
        preparation = Preparation(
            networks, self._devices[0], optimise=optimise, precision=precision, carry=carry
        )
        if engine == "auto":
            batch_size, tilings = self._layout_of(networks)
            engine = fastest_engine(
                stream,
                list(networks.values()),
                key_readouts,
                lambda one: list(preparation.by(one).networks.values()),
                device=self._devices[0],
                batch_size=batch_size,
                tilings=tilings,
                facts=[precision, optimise],
            )
        self.engine, self.precisions, self.networks = preparation.by(engine)
        if tile is not None:  # a wrong one is refused here, not at the first frame
            _ = self._layout

    @cached_property
    def looked_at(self) -> Sample:
        """Sample of the part that the frames are made of."""
        part = looked_at_part(self.key_readouts, list(self.networks.values()))
        return sample(self.stream, *part, pieces_of(self.stream))

    @cached_property
    def concerns(self) -> list[str]:
        """Problems of the recording that degrade the pictures, one per line, the worst first.

        A wrong geometry, a mosaic that is not stated, a calibration as bright as the recording or
        too short,
        darkness, saturation, motion beyond what a method bears, and hot and dead pixels. Empty if
        none is found.
        """
        return find_concerns(
            self.stream, self.networks, self.looked_at, self.defects, self.calibration
        )

    def __len__(self) -> int:
        return len(self.key_readouts)

    def __repr__(self) -> str:
        frames = f"{len(self)} frame{'s' * (len(self) != 1)}"
        return f"Video({frames} of {self.stream.name} by {', '.join(self.networks)})"

    @checked
    def frames(self, first: int = 0, stop: int | None = None) -> Generator[Frame, None, None]:
        """The frames [first, stop) as numbers, made ahead in threads; see `engine.Frame`.

        Raises:
            InputError: a network returned values that are not finite.
        """
        key_readouts = self.key_readouts[first:stop]
        if not len(key_readouts):
            return
        batch_size, tilings = self._layout
        for run in key_readouts.runs():
            source = distribute_frames(
                self.stream,
                list(self.networks.values()),
                run,
                devices=self._devices,
                light_scale=self.light_scale,
                batch_size=batch_size,
                tilings=tilings,
                repair=self._correction.of_spikes,
            )
            with closing(source):
                for frame in source:
                    yield self._exposed(self._finite(frame))

    @cached_property
    def _layout(self) -> tuple[int, list[Tiling | None]]:
        """Choose how many windows go through a network at once, and each network's tiling."""
        return self._layout_of(self.networks)

    def _layout_of(self, networks: Mapping[str, Network]) -> tuple[int, list[Tiling | None]]:
        return choose_layout(
            list(networks.values()),
            *self._computed_size,
            batch_size=self._batch_size,
            devices=self._devices,
            **self._tile,
        )

    @property
    def _computed_size(self) -> tuple[int, int]:
        """Height and width of the pictures that networks see: of a colour camera, of a plane."""
        height, width = self.stream.height, self.stream.width
        return (height, width) if self.stream.bayer is None else plane_size(height, width, 0, 0)

    @cached_property
    def _factors(self) -> tuple[Tensor, Tensor]:
        """Factors of the images of each network, (M, 1, 1): to the clip's unit, and the gain.

        Where the exposure is not measured, all are 1.
        """
        units, gains = torch.ones(len(self.networks), 1, 1), torch.ones(len(self.networks), 1, 1)
        if not self._is_measured:
            return units, gains
        images = self._images_over_clip()
        for place, network in enumerate(self.networks.values()):
            units[place] = measured_unit(images[:, place].numpy(), network)
        pixels = np.stack(
            [self._correction.of_images(one * units, self.light_scale).numpy() for one in images]
        )
        if self.stream.bayer is not None:
            pixels = pixels.max(-1)  # white where one of its colours is
        for place, network in enumerate(self.networks.values()):
            gains[place] = measured_gain(pixels[:, place], network, self.light_scale)
        return units, gains

    def _images_over_clip(self) -> Tensor:
        """Images spread over the clip, as the networks give them: (N, M, H, W)."""
        batch_size, tilings = self._layout
        images = []
        for chosen in chosen_over_clip(self.stream, self.key_readouts):
            frames = make_frames(
                self.stream,
                list(self.networks.values()),
                chosen,
                light_scale=self.light_scale,
                batch_size=batch_size,
                device=self._devices[0],
                tilings=tilings,
                repair=self._correction.of_spikes,
            )
            images += [self._finite(frame).images for frame in frames]
        return torch.stack(images)

    def _finite(self, frame: Frame) -> Frame:
        """The frame, if all its values are finite.

        Raises:
            InputError: they are not.
        """
        for name, image in zip(self.networks, frame.images, strict=True):
            if not image.isfinite().all():
                raise InputError(
                    f"{self.stream.path}: the image of readout {frame.key_readout} by {name} has "
                    "values that are not finite numbers. Check the weights: their training may "
                    "have failed."
                )
        return frame

    def _exposed(self, frame: Frame) -> Frame:
        units, gains = self._factors
        images = self._correction.of_images(frame.images * units, self.light_scale)
        return frame._replace(images=images * (gains if images.ndim == 3 else gains[..., None]))

    def __iter__(self) -> Iterator[Image.Image]:
        """The frames in order as they would be drawn, 8 bits, in one run through the stream."""
        with closing(self.frames()) as source:
            for frame in source:
                yield self._picture(frame)

    @overload
    def __getitem__(self, index: int) -> Image.Image: ...

    @overload
    def __getitem__(self, index: slice) -> Video: ...

    def __getitem__(self, index: int | slice) -> Image.Image | Video:
        """Frame `index` as it would be drawn, 8 bits; of a slice, the video of those frames.

        Raises:
            IndexError: a frame that there is not, or an index that is neither a whole number nor a
                slice with a step above 0.
        """
        if isinstance(index, slice):
            return self._part(index)
        try:
            position = range(len(self))[index]
        except TypeError:
            raise IndexError(
                f"frames are taken by a whole number or a slice, found {index!r}."
            ) from None
        except IndexError:
            raise IndexError(
                f"frame {index} is out of range: the video has {len(self)} frames."
            ) from None
        (frame,) = self.frames(position, position + 1)
        return self._picture(frame)

    def _part(self, index: slice) -> Video:
        if index.step is not None and index.step < 1:
            raise IndexError(f"frames cannot be taken in steps of {index.step}.")
        if self._is_measured:
            _ = self._factors  # of the whole video, so that its parts are as bright
        part = copy.copy(self)
        part.key_readouts = self.key_readouts[index]
        return part

    def _picture(self, frame: Frame) -> Image.Image:
        return Image.fromarray(grey_levels(self.draw(frame)))

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self[len(self) // 2].save(buffer, "PNG")
        return buffer.getvalue()

    @checked
    def draw(self, frame: Frame, fps: float = 25) -> NDArray[np.float32]:
        """A frame as a picture in [0, 1]: tone-mapped, side by side, labelled.

        Args:
            frame: one of `frames`.
            fps: at which it will be shown, for the caption.

        Returns:
            (h, w), or (h, w, 3) of a colour camera.
        """
        pictures = [self._display(image) for image in frame.images.numpy()]
        names = list(self.networks)
        if self.show_spikes:
            pictures.insert(0, frame.spikes.numpy().astype(np.float32))
            names.insert(0, "spikes")
        return side_by_side(
            pictures,
            names if len(names) > 1 else (),
            self._caption(frame.key_readout, fps) if self.caption else "",
        )

    @checked
    def slow_motion(self, fps: float) -> float | None:
        """Return how many times slower than life it plays.

        None if the sampling rate is unknown, or if the key readouts are a list without one step.
        """
        listed = self.key_readouts.listed
        steps = {after - before for before, after in pairwise(listed)}
        if self.stream.rate_hz is None or (listed and len(steps) != 1):
            return None
        return self.stream.rate_hz / (steps.pop() if steps else self.key_readouts.stride) / fps

    def _caption(self, key_readout: int, fps: float) -> str:
        if self.stream.rate_hz is None:
            return f"readout {key_readout}"
        time = f"{1000 * key_readout / self.stream.rate_hz:.2f} ms"
        speed = self.slow_motion(fps)
        return time if speed is None else f"{time}, {speed:.4g} times slower than life"

    @checked
    def save(
        self,
        path: Path_ | Sequence[Path_],
        *,
        fps: float = 25,
        bits: int = 8,
        resume: bool = False,
        overwrite: bool = False,
        about: Mapping[str, Any] | None = None,
        on_frame: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Write all frames; the format follows from the suffix.

        `.mp4`, `.webm`, `.gif`; a name without suffix is a folder of PNGs; `.npy` and `.h5` hold
        intensity as float32, not clipped. The file appears under its name when it is whole; until
        then, or if it is interrupted, it is `NAME.partial`.

        Args:
            path: the output, or several: `["car.h5", "car.mp4"]`.
            fps: frames that a video shows in a second.
            bits: 8 or 16 a pixel of a PNG.
            resume: continue unfinished outputs.
            overwrite: replace outputs of spikerec that were made with other settings.
            about: plain values to keep in the file beside those of `about`.
            on_frame: called with the number of frames done: at the start, and after each.

        Returns:
            The number of frames that were made now: 0 where all outputs were finished before, by
            the same settings.

        Raises:
            ConfigError: no path, an unknown suffix, or a missing codec.
            DataError: another output that is there already, one begun with other settings, or one
                that cannot be written.
        """
        if bits != 8 and self.stream.bayer is not None:
            raise ConfigError(
                f"bits={bits}: PNGs in colour have 8 bits. Set bits=8, or write .npy or .h5."
            )
        paths = [Path(path)] if isinstance(path, str | Path) else [Path(one) for one in path]
        if not paths:
            raise ConfigError("path must name an output, found an empty list.")
        names = tuple(self.networks)
        settings = self.settings()
        sinks = [
            open_sink(
                one,
                len(self),
                settings,
                names=names,
                fps=fps,
                bits=bits,
                resume=resume,
                overwrite=overwrite,
            )
            for one in paths
        ]
        for sink in sinks:
            if not sink.is_done:
                sink.about = self.about(fps) | dict(about or {})
        is_drawn = any(sink.is_drawn for sink in sinks)
        first = min(sink.count for sink in sinks)
        on_frame(first)
        with ExitStack() as stack:
            for sink in sinks:
                stack.enter_context(sink)
            source = stack.enter_context(closing(self.frames(first)))
            for index, frame in enumerate(source, first):
                picture = self.draw(frame, fps) if is_drawn else None
                for sink in sinks:
                    if sink.count == index:
                        drawn = picture if sink.is_drawn else None
                        sink.write(frame.images.numpy() if drawn is None else drawn)
                on_frame(index + 1)
        return len(self) - first

    def settings(self) -> dict[str, Any]:
        """All that the frames depend on, as plain values: what an unfinished output is held to."""
        networks = self._as_published.items()
        weights = {name: digest(one.state_dict()) for name, one in networks}
        stated = self.methods().items()
        code = {name: facts for name, one in networks if (facts := own_facts(one))}
        return {
            "input": str(self.stream.path),
            "readouts": self.stream.num_readouts,
            "spikes": _sampled(self.stream),
            "methods": {name: [type(one).__name__, one.window] for name, one in networks},
            "arguments": {name: method["arguments"] for name, method in stated},
            **({"code": code} if code else {}),
            "engine": self.engine,
            "precision": self.precisions,
            **({"carry": self._carry} if self._carry is not None else {}),
            "weights": weights,
            "first": self.key_readouts.first,
            "stop": self.key_readouts.stop,
            "stride": self.key_readouts.stride,
            "rate_hz": self.stream.rate_hz,
            "light_scale": self.light_scale,
            "measured": self._is_measured,
            "tone": asdict(self._display),
            **self._correction.settings(),
            "show_spikes": self.show_spikes,
            "caption": self.caption,
            **self._correction.colours(),
            **({"at": list(listed)} if (listed := self.key_readouts.listed) else {}),
        }

    @checked
    def about(self, fps: float = 25) -> dict[str, Any]:
        """Plain values that say how the frames are made, as they travel inside a file.

        Names of folders do not: the input is named by its file.

        Args:
            fps: frames shown in a second.
        """
        settings = self.settings()
        for name in ("spikes", "arguments", "code", "measured", "calibrated", "weights"):
            settings.pop(name, None)
        return settings | {
            "spikerec": __version__,
            "input": self.stream.path.name,
            "size": [self.stream.height, self.stream.width],
            "frames": len(self),
            "fps": fps,
            "slow_motion": self.slow_motion(fps),
            "methods": self.methods(),
            "exposure": self.exposure,
            "gains": dict(zip(self.networks, self._factors[1].flatten().tolist(), strict=True)),
        }

    def methods(self) -> dict[str, dict[str, Any]]:
        """The class, arguments and weights' digest of each method, as plain values.

        An argument that is an object of its own is named by its class.
        """
        plain = (bool, int, float, str, list, tuple, dict)
        return {
            name: {
                "class": type(network).__name__,
                "window": network.window,
                "arguments": {
                    key: value
                    if value is None or isinstance(value, plain)
                    else type(value).__name__
                    for key, value in arguments(network).items()
                },
                "weights": digest(state)[:12] if (state := network.state_dict()) else None,
            }
            for name, network in self._as_published.items()
        }

    @cached_property
    def exposure(self) -> str:
        """A description of the firing rate that is shown as white, of each method if measured."""
        _, gains = self._factors
        rates = self.light_scale / (gains.flatten() * self._display.gain)
        named = dict(zip(self.networks, rates.tolist(), strict=True))
        return described(named, is_measured=self._is_measured)


def _sampled(stream: SpikeStream) -> str:
    """Digest of readouts spread evenly over a stream, which tells it from another of its name."""
    total = hashlib.sha256()
    for index in np.linspace(0, stream.num_readouts - 1, READOUTS_SAMPLED).astype(int):
        total.update(np.packbits(stream[index]).tobytes())
    return total.hexdigest()[:16]

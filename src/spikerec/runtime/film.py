"""A stream to pictures by an exported network: what `streaming.Video` does, without PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikerec import __version__
from spikerec.kinds import checked
from spikerec.runtime.exported import Exported
from spikerec.spikes import SpikeStream
from spikerec.spikes.defects import Repair, find_masked, sample
from spikerec.streaming.ahead import DEPTH, ahead
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
from spikerec.streaming.key_readouts import KeyReadouts, reach
from spikerec.streaming.light import Tone
from spikerec.streaming.reading import read
from spikerec.streaming.sinks import open_sink

Image = NDArray[np.float32]


@checked
class Film:
    """The images of a stream by an exported network, computed as they are asked for.

    They are those of `streaming.Video` by `engine=onnxruntime`.

    Args:
        stream: of a grey camera, of the size that the network takes.
        network: from its file.
        key_readouts: the key readouts, one an image.
        exposure: see `Video`.
        tone: how intensity becomes grey.
        mask_defects: see `Video`.

    Raises:
        GeometryError: a stream of another size.
        ConfigError: a colour camera, or an exposure that is not one of these.
    """

    def __init__(
        self,
        stream: SpikeStream,
        network: Exported,
        key_readouts: KeyReadouts,
        *,
        exposure: Exposure = None,
        tone: Tone | None = None,
        mask_defects: bool | None = None,
    ) -> None:
        network.check(stream)
        self.stream = stream
        self.network = network
        self.key_readouts = key_readouts
        self.mask_defects = mask_defects
        self._is_measured = is_measured(exposure, stream)
        self._repair: Repair | None = None
        looked_at, broken = None, None
        if mask_defects is not False or self._is_measured:
            looked_at = sample(stream, *looked_at_part(key_readouts, [network]), pieces_of(stream))
        if mask_defects is not False and looked_at is not None:
            broken = find_masked(looked_at, mask_defects, is_mosaic=False).broken
            self._repair = Repair(broken) if broken.any() else None
        self.light_scale, gain = choose_light(exposure, stream, looked_at, broken, None)
        tone = tone or Tone()
        self._display = replace(tone, gain=tone.gain * gain)

    def __len__(self) -> int:
        return len(self.key_readouts)

    def images(self, first: int = 0) -> Generator[Image, None, None]:
        """Yield intensity (H, W), not clipped, from an image on; computed ahead in a thread."""
        unit, gain = self._factors
        with closing(ahead(self._made(self.key_readouts[first:]), DEPTH)) as made:
            for image in made:
                yield image * unit * gain

    def _made(self, key_readouts: Iterable[int]) -> Generator[Image, None, None]:
        """The images of rising key readouts in the clip's intensity, before its gain."""
        network = self.network
        factor = np.float32(1)
        if network.output_scale is not None:
            # a number over a tensor, as PyTorch computes it in `Network.to_intensity`
            factor = 1 / np.float32(self.light_scale) * np.float32(network.output_scale)
        held: NDArray[Any] | None = None
        for chunk in read(self.stream, key_readouts, *reach([network])):
            bits = chunk.packed.bits
            held = bits if held is None else np.concatenate([held, bits])[-network.window :]
            window = replace(chunk.packed, bits=held).unpack()
            yield network.image(window if self._repair is None else self._repair(window)) * factor

    @cached_property
    def _factors(self) -> tuple[np.float32, np.float32]:
        """Factors of the images, to the clip's unit and to its exposure: 1 if none is measured."""
        if not self._is_measured:
            return np.float32(1), np.float32(1)
        chosen = chosen_over_clip(self.stream, self.key_readouts)
        images = np.stack([image for one in chosen for image in self._made(one)])
        unit = np.float32(measured_unit(images, self.network))
        return unit, np.float32(measured_gain(images * unit, self.network, self.light_scale))

    @property
    def exposure(self) -> str:
        """A description of the firing rate that is shown as white."""
        rate = float(self.light_scale / (self._factors[1] * np.float32(self._display.gain)))
        return described({self.network.name: rate}, is_measured=self._is_measured)

    def save(
        self,
        path: Path,
        *,
        fps: float = 25,
        bits: int = 8,
        resume: bool = False,
        overwrite: bool = False,
        on_image: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Write all images; see `Video.save`.

        Returns:
            The number of images that were computed now.
        """
        settings = self._settings()
        sink = open_sink(
            path,
            len(self),
            settings,
            names=(self.network.name,),
            fps=fps,
            bits=bits,
            resume=resume,
            overwrite=overwrite,
        )
        first = sink.count
        if first == len(self):
            return 0
        sink.about = settings | {
            "spikerec": __version__,
            "input": self.stream.path.name,
            "exposure": self.exposure,
            "fps": fps,
        }
        on_image(first)
        with sink, closing(self.images(first)) as images:
            for index, image in enumerate(images, first):
                sink.write(self._display(image) if sink.is_drawn else image[None])
                on_image(index + 1)
        return len(self) - first

    def _settings(self) -> dict[str, Any]:
        """All that the images depend on, as plain values."""
        key_readouts = self.key_readouts
        return {
            "input": str(self.stream.path),
            "readouts": self.stream.num_readouts,
            "network": self.network.stated.plain,
            "engine": self.network.engine,
            "precision": self.network.precision,
            "first": key_readouts.first,
            "stop": key_readouts.stop,
            "stride": key_readouts.stride,
            "at": list(key_readouts.listed),
            "rate_hz": self.stream.rate_hz,
            "light_scale": self.light_scale,
            "measured": self._is_measured,
            "tone": asdict(self._display),
            "mask_defects": self.mask_defects,
        }

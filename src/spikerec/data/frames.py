"""Consecutive images of clips, each with what is known of the step from the image before.

The facts are the same for all methods: which pixels are static, how the scene moves, and a steady
image by Hann's window of 61 readouts, from which motion is estimated where it is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from spikerec.data.clips import Clip
from spikerec.data.windows import InOrder, Windows
from spikerec.models.hann import hann_weights
from spikerec.simulation.flow import kept_pixels
from spikerec.simulation.layers import LayeredScene
from spikerec.spikes.grey import grey_levels

#: Readouts of the window of the steady images.
STEADY_WINDOW = 61
#: Standard deviation in pixels of the blur before steady images are compared.
SMOOTHING = 2.0
#: Grey levels of 255 within which the blurred steady images of a clip lie where it is static.
STATIC_LEVELS = 2.0
#: Readouts from the first to the last image of a clip, below which no pixel is taken for static:
#: what moves slowly has not been seen to move yet. In four scenes of `data=video` whose background
#: moves, of the pixels found static (1 % of all, or more) 0 to 45 % were so after 40 readouts, 50
#: and 92 % in the two that had any after 150, and 97 % in the one that had any after 190.
LEAST_SPAN = 190

SceneOf = Callable[[Clip], LayeredScene | None]


@dataclass(frozen=True)
class ClipFacts:
    """The facts about a clip that hold for all of its images.

    Attributes:
        scene: None where it is not known.
        static: (H, W), the pixels that have one 8-bit grey level in all true images, other than
            0 and 255, which clipped intensity keeps though the scene moves; None without true
            images.
        static_estimated: (H, W), the pixels around which the firing rate hardly changes; none in a
            clip shorter than `LEAST_SPAN`.
    """

    scene: LayeredScene | None
    static: NDArray[np.bool_] | None
    static_estimated: NDArray[np.bool_]


class Frames(InOrder):
    """Whole images of clips in order; `frame` of a sample holds the facts.

    Its keys: `is_repeat`; `previous`, the key of the image before in the same clip, or empty;
    `steady` (H, W) intensity; `static_estimated`, and where they are known `static`,
    `displacement` and `is_kept` (see `spikerec.metrics.pairs.Known`).

    Args:
        windows: where to read.
        items: of them, the images of a clip one after another.
        scene_of: returns the scene of a clip, or None where it is not known.
        repeats: how often the first image is repeated after them, to fill up a process's share.
    """

    def __init__(
        self, windows: Windows, items: Sequence[int], scene_of: SceneOf, repeats: int = 0
    ) -> None:
        super().__init__(windows, [*items, *[items[0] if items else 0] * repeats])
        self.scene_of = scene_of
        self._own = len(items)
        self._facts: tuple[int, ClipFacts] | None = None

    def __getitem__(self, position: int) -> dict[str, Any]:
        """The image at a position, and its facts."""
        item = self.items[position]
        index, key_readout = self.windows.items[item]
        facts = self._facts_of(index)
        frame: dict[str, Any] = {
            "is_repeat": position >= self._own,
            "previous": "",
            "steady": steady_image(self.windows, index, key_readout),
            "static_estimated": facts.static_estimated,
        }
        if facts.static is not None:
            frame["static"] = facts.static
        if position and self.items[position - 1] == item - 1:
            before, start = self.windows.items[item - 1]
            if before == index:
                frame["previous"] = self.windows.key(item - 1)
                if facts.scene is not None:
                    flow, is_kept = kept_pixels(facts.scene, start, key_readout)
                    frame |= {"displacement": flow, "is_kept": is_kept}
        return super().__getitem__(position) | {"frame": frame}

    def _facts_of(self, index: int) -> ClipFacts:
        """The facts of a clip, kept until another one is asked for."""
        if self._facts is None or self._facts[0] != index:
            self._facts = index, self._find_facts(index)
        return self._facts[1]

    def _find_facts(self, index: int) -> ClipFacts:
        key_readouts = [readout for clip, readout in self.windows.items if clip == index]
        steady = (
            gaussian_filter(steady_image(self.windows, index, readout), SMOOTHING)
            for readout in key_readouts
        )
        images = [self.windows.image(index, readout) for readout in key_readouts]
        known = [grey_levels(image) for image in images if image is not None]
        is_long = key_readouts[-1] - key_readouts[0] >= LEAST_SPAN
        return ClipFacts(
            self.scene_of(self.windows.clips[index]),
            _unchanged(known, 0) if len(known) == len(images) else None,
            is_long & _unchanged((255 * image for image in steady), STATIC_LEVELS),
        )


def steady_image(windows: Windows, index: int, key_readout: int) -> NDArray[np.float32]:
    """The intensity of a clip at a readout by Hann's window, (H, W) in [0, 1]."""
    spikes = windows.streams[index].window(key_readout, STEADY_WINDOW)
    times = torch.arange(STEADY_WINDOW, dtype=torch.float32)
    weights = hann_weights(times, STEADY_WINDOW // 2, STEADY_WINDOW).numpy()
    rate = np.zeros(spikes.shape[1:], np.float32)
    for weight, readout in zip(weights, spikes, strict=True):
        rate += weight * np.asarray(readout)
    image: NDArray[np.float32] = np.clip(rate / windows.clips[index].light_scale, 0, 1)
    return image


def _unchanged(images: Iterable[NDArray[Any]], tolerance: float) -> NDArray[np.bool_]:
    """The pixels whose grey levels lie within a tolerance of one another, and are never clipped."""
    remaining = iter(images)
    least = most = next(remaining)
    for image in remaining:
        least, most = np.minimum(least, image), np.maximum(most, image)
    # Half a level from either end: what is darker or brighter rounds to 0 or 255.
    found: NDArray[np.bool_] = (most - least <= tolerance) & (least > 0.5) & (most < 254.5)
    return found

"""Real streams without ground truth: any folder of spike files.

recVidarReal2019, momVidarReal2021, PKU-Spike-High-Speed and recordings of one's own. Suffixes as
`spikerec.spikes.open` reads them; each file is a clip, and key readouts are spread evenly over it.
Training without true images sees the beginning of each stream, and is judged on its end.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from spikerec import spikes
from spikerec.data.clips import Clip, SpikeSet, SplitName
from spikerec.errors import ConfigError, DataError
from spikerec.spikes import Geometry, SpikeStream
from spikerec.spikes.folders import listed
from spikerec.spikes.geometry import BITS_SUFFIXES

#: Readouts between the part of a stream that training sees and the one it is judged on: those of
#: the longest window here, SpikeCLIP's.
HELD_OUT_GAP = 200


class Real(SpikeSet):
    """A folder of streams.

    Args:
        root: searched with its subfolders.
        light_scale: firing rate of a pixel of intensity 1; unknown of a real scene, where 1 leaves
            firing rates as they are.
        key_stride: readouts between two key readouts.
        held_out: share of each stream, at its end, that training does not see and validation and
            test look at; 0 shows all of a stream to all. In between, `HELD_OUT_GAP` readouts
            belong to neither.
        height: rows of a `.dat` without a sidecar; None where each has one.
        width: pixels in its row.
        readout_width: bits stored for a row; None for `width`.
        dataset: array inside `.npz` and `.h5` files; None for the only one.
        external: let `.h5` files name other files that hold their values.
        name: the set's name in results.
    """

    def __init__(
        self,
        root: str | Path,
        light_scale: float = 1.0,
        key_stride: int = 100,
        held_out: float = 0.0,
        height: int | None = 250,
        width: int | None = 400,
        readout_width: int | None = None,
        dataset: str | None = None,
        external: bool = False,
        name: str = "real",
    ) -> None:
        super().__init__(name, root)
        if not 0 <= held_out < 1:
            raise ConfigError(f"held_out must be in [0, 1), found {held_out}.")
        self.light_scale = light_scale
        self.key_stride = key_stride
        self.held_out = held_out
        self.dataset = dataset
        self.external = external
        self.geometry = Geometry(height, width, readout_width) if height and width else None

    def has_images(self) -> bool:
        """See `SpikeSet.has_images`."""
        return False

    def clips(self, split: SplitName) -> list[Clip]:
        """See `SpikeSet.clips`; without `held_out`, all splits are alike.

        Raises:
            DataError: the folder holds no stream, or one too short for both parts.
        """
        files = listed(self.root, spikes.SUFFIXES, recursive=True)
        if not files:
            expected = ", ".join(spikes.SUFFIXES)
            raise DataError(f"{self.root} holds no spike stream ({expected}). {self.how_to_get()}")
        return [self._clip(path, split) for path in files]

    def _clip(self, path: Path, split: str) -> Clip:
        name = path.relative_to(self.root).with_suffix("").as_posix()
        geometry = None
        if path.suffix.lower() in BITS_SUFFIXES:
            geometry = spikes.read_sidecar(path).geometry or self.geometry
        clip = Clip(name, (path,), self.light_scale, geometry, self.dataset, external=self.external)
        with clip.open() as stream:
            keys = list(range(self.key_stride // 2, stream.num_readouts, self.key_stride))
            if self.held_out:
                keys = self._part(keys, split, stream)
        return replace(clip, key_readouts=keys)

    def _part(self, keys: list[int], split: str, stream: SpikeStream) -> list[int]:
        """Key readouts of one side of the cut, far enough from it that no window reaches over."""
        cut = round(stream.num_readouts * (1 - self.held_out))
        if split == "train":
            part = [key for key in keys if key < cut - HELD_OUT_GAP // 2]
        else:
            part = [key for key in keys if key >= cut + HELD_OUT_GAP // 2]
        if not part:
            raise DataError(
                f"{stream.path} holds {stream.num_readouts} readouts: no key readout is left for "
                f"{split} with held_out={self.held_out} and key_stride={self.key_stride}. Lower "
                "key_stride, change held_out, or use a longer recording."
            )
        return part

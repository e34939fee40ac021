"""Real streams without ground truth: any folder of spike files.

recVidarReal2019, momVidarReal2021, PKU-Spike-High-Speed and recordings of one's own. Suffixes as
`spikerec.spikes.open` reads them; each file is a clip, and key readouts are spread evenly over it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from spikerec import spikes
from spikerec.data.clips import Clip, SpikeSet
from spikerec.errors import DataError
from spikerec.spikes import Geometry
from spikerec.spikes.folders import listed


class Real(SpikeSet):
    """A folder of streams.

    Args:
        root: searched with its subfolders.
        light_scale: firing rate of a pixel of intensity 1; unknown of a real scene, where 1 leaves
            firing rates as they are.
        key_stride: readouts between two key readouts.
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
        light_scale: float,
        key_stride: int,
        height: int | None = None,
        width: int | None = None,
        readout_width: int | None = None,
        dataset: str | None = None,
        external: bool = False,
        name: str = "real",
    ) -> None:
        super().__init__(name, root)
        self.light_scale = light_scale
        self.key_stride = key_stride
        self.dataset = dataset
        self.external = external
        self.geometry = Geometry(height, width, readout_width) if height and width else None

    def has_images(self) -> bool:
        """See `SpikeSet.has_images`."""
        return False

    def clips(self, split: str) -> list[Clip]:
        """See `SpikeSet.clips`; a set without truth has no training split.

        Raises:
            DataError: the folder holds no stream.
        """
        del split  # there is one, for evaluation
        files = listed(self.root, spikes.SUFFIXES, recursive=True)
        if not files:
            expected = ", ".join(spikes.SUFFIXES)
            raise DataError(f"{self.root} holds no spike stream ({expected}). {self.how_to_get()}")
        return [self._clip(path) for path in files]

    def _clip(self, path: Path) -> Clip:
        name = path.relative_to(self.root).with_suffix("").as_posix()
        geometry = self.geometry if path.suffix.lower() == ".dat" else None
        clip = Clip(
            name, (path,), self.light_scale, geometry, self.dataset, external=self.external
        )
        with clip.open() as stream:
            keys = range(self.key_stride // 2, stream.num_readouts, self.key_stride)
        return replace(clip, key_readouts=keys)

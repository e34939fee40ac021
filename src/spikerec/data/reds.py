"""REDS pairs: the layout of Spk2ImgNet (CVPR 2021) and WGSE (AAAI 2023).

    ROOT/{train,test}/spike/NAME.dat    250×400, 41 or 301 readouts, rows stored bottom up
    ROOT/{train,test}/gt/NAME.png       the image at the middle readout

Streams were simulated from REDS videos at light scale 0.6. A 301-readout stream's image is "key id
151" counted from 1: readout 150, the middle; a 41-readout one's is readout 20.

Five public pairs ship inside the PyPI package `spikezoo`; `spikerec data fetch reds-samples` gets
them.
"""

from __future__ import annotations

from pathlib import Path

from spikerec.data.clips import Clip, SpikeSet, pair_by_stem, report_alone
from spikerec.errors import DataError
from spikerec.spikes import Geometry
from spikerec.spikes.folders import listed


class REDS(SpikeSet):
    """REDS pairs on disk.

    Args:
        root: folder that holds `train` and `test`.
        height: rows of a readout.
        width: pixels in a row.
        light_scale: firing rate of a pixel of intensity 1.
        name: the set's name in results.
    """

    def __init__(
        self,
        root: str | Path,
        height: int = 250,
        width: int = 400,
        light_scale: float = 0.6,
        name: str = "reds",
    ) -> None:
        super().__init__(name, root)
        self.geometry = Geometry(height, width)
        self.light_scale = light_scale

    def how_to_get(self) -> str:
        """See `SpikeSet.how_to_get`."""
        return (
            "Run `spikerec data fetch reds-samples` for the five public pairs, or point "
            f"data.sets.{self.name}.root at the whole set."
        )

    def clips(self, split: str) -> list[Clip]:
        """See `SpikeSet.clips`; `val` and `test` are the same clips."""
        folder = self.root / ("train" if split == "train" else "test")
        streams, images = listed(folder / "spike", (".dat",)), listed(folder / "gt", (".png",))
        pairs, alone = pair_by_stem(streams, images)
        report_alone(alone, self.name)
        if not pairs:
            raise DataError(
                f"{folder} holds no pair spike/NAME.dat and gt/NAME.png. {self.how_to_get()}"
            )
        return [self._clip(stream, image) for stream, image in pairs]

    def _clip(self, stream: Path, image: Path) -> Clip:
        clip = Clip(stream.stem, (stream,), self.light_scale, self.geometry)
        with clip.open() as opened:
            middle = opened.num_readouts // 2
        return Clip(stream.stem, (stream,), self.light_scale, self.geometry, images={middle: image})

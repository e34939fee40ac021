"""REDS pairs: the layout of Spk2ImgNet (CVPR 2021), WGSE (AAAI 2023) and SwinSF (ICVRV 2024).

    ROOT/{train,test}/{spike or input}/SCENE_key_idM.dat   250×400, rows stored bottom up
    ROOT/{train,test}/gt/SCENE_key_idK.png                 true images, one or several a stream

Key ids count from 1: image K shows readout K − 1. A stream is named after its middle readout. A
stream of 41 readouts (`key_id21`) has true images at ids 7, 14, 21, 28 and 35, the middles of
Spk2ImgNet's five short windows; one of 301 (`key_id151`) has one. Names without a key id stand for
the middle readout. Streams were simulated from REDS videos at light scale 0.6; the images lie 0.2
to 0.5 readouts later than K − 1 on average, since the videos are interpolated.

Five public pairs ship inside the PyPI package `spikezoo`; `spikerec data fetch reds-samples` gets
them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spikerec.data.clips import Clip, SpikeSet, SplitName, check_unique, report_alone
from spikerec.errors import DataError, SplitNotFoundError
from spikerec.spikes import Geometry
from spikerec.spikes.folders import listed

#: The folders that copies of the set keep their streams in.
STREAM_FOLDERS = ("spike", "input")
#: SCENE_key_idK, K from 1.
KEY_ID = re.compile(r"(?P<scene>.+)_key_id(?P<id>[0-9]{1,6})")


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
            "`root` at the whole set."
        )

    def scene_name(self, clip: Clip) -> str:
        """The video of REDS that a clip is a part of."""
        return clip.name.rpartition("/")[2].partition("_part")[0]

    def clips(self, split: SplitName) -> list[Clip]:
        """See `SpikeSet.clips`; `val` and `test` are the same clips."""
        folder = self.root / ("train" if split == "train" else "test")
        streams = _streams(folder)
        images = listed(folder / "gt", (".png",))
        truths = _truths(streams, images)
        taken = {image for own in truths.values() for image in own}
        alone = [stream for stream in streams if not truths[stream]]
        report_alone(alone + [image for image in images if image not in taken], self.name)
        if not taken:
            kind = DataError if folder.is_dir() else SplitNotFoundError
            raise kind(
                f"{folder} holds no stream spike/NAME.dat or input/NAME.dat with a true image "
                f"gt/NAME.png. {self.how_to_get()}"
            )
        return [self._clip(stream, truths[stream]) for stream in streams if truths[stream]]

    def _clip(self, stream: Path, truths: Sequence[Path]) -> Clip:
        clip = Clip(stream.stem, (stream,), self.light_scale, self.geometry)
        with clip.open() as opened:
            total = opened.num_readouts
        images: dict[int, Path] = {}
        for image in truths:
            named = KEY_ID.fullmatch(image.stem)
            readout = total // 2 if named is None else int(named["id"]) - 1
            if not 0 <= readout < total:
                raise DataError(
                    f"{image} shows readout {readout} (its key id counts from 1), but "
                    f"{stream.name} holds {total} readouts. Check which stream it belongs to."
                )
            if readout in images:
                raise DataError(f"{images[readout]} and {image} show one readout: remove one.")
            images[readout] = image
        return replace(clip, images=dict(sorted(images.items())))


def _streams(folder: Path) -> list[Path]:
    """The streams of a split, from whichever folder holds them."""
    found = {name: listed(folder / name, (".dat",)) for name in STREAM_FOLDERS}
    filled = [name for name, streams in found.items() if streams]
    if len(filled) > 1:
        raise DataError(
            f"{folder} holds streams in {' and in '.join(filled)}: expected one of them. Remove or "
            "rename the other."
        )
    return found[filled[0]] if filled else []


def _truths(streams: Sequence[Path], images: Sequence[Path]) -> dict[Path, list[Path]]:
    """The true images of each stream: those of its stem, and those of other key ids of its scene.

    Raises:
        DataError: two files have one stem, or an image could belong to two streams.
    """
    for files in (streams, images):
        check_unique([file.stem for file in files], "files", files)
    by_stem = {stream.stem: stream for stream in streams}
    by_scene: dict[str, list[Path]] = defaultdict(list)
    for stream in streams:
        if named := KEY_ID.fullmatch(stream.stem):
            by_scene[named["scene"]].append(stream)
    truths: dict[Path, list[Path]] = {stream: [] for stream in streams}
    for image in images:
        owners = [by_stem[image.stem]] if image.stem in by_stem else []
        if not owners and (named := KEY_ID.fullmatch(image.stem)):
            owners = by_scene[named["scene"]]
        if len(owners) > 1:
            names = " and ".join(owner.name for owner in owners)
            raise DataError(f"{image} could belong to {names}: keep one stream of a scene.")
        if owners:
            truths[owners[0]].append(image)
    return truths

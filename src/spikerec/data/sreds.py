"""SREDS: the layout of SSIR (TCSVT 2023) and STIR (NeurIPS 2024), and of our synthetic sets.

    train   ROOT/crop_mini/spike/train/interp_20_alpha_0.40/SCENE/NAME.dat      96×96
            ROOT/crop_mini/image/train/train_orig/SCENE/NAME.png
    other   ROOT/spike/SPLIT/interp_20_alpha_0.40/SCENE/NAME.dat              720×1280
            ROOT/imgs/SPLIT/SPLIT_orig/SCENE/NAME.png

A scene's files follow one another in time, 20 readouts each, and each has an image of its stem. A
training split that is not under `crop_mini` is read where the other splits are. The size of a
readout is that of the image.
"""

from __future__ import annotations

from pathlib import Path

from spikerec.data.clips import Clip, SpikeSet, SplitName, pair_by_stem, report_alone
from spikerec.errors import DataError, SplitNotFoundError
from spikerec.simulation.images import image_size
from spikerec.simulation.layout import card_path
from spikerec.spikes import Geometry
from spikerec.spikes.folders import folders_in, listed


class SREDS(SpikeSet):
    """Scenes in the SREDS layout.

    Args:
        root: folder that holds `spike` and `imgs` (and `crop_mini`).
        light_scale: firing rate of a pixel of intensity 1; part of the folder's name.
        readouts_per_image: readouts in a file; part of the folder's name.
        key_offset: image k (from 0) shows readout readouts_per_image · k + key_offset. STIR's code
            takes −1, SSIR's 0.
        name: the set's name in results.
    """

    def __init__(
        self,
        root: str | Path,
        light_scale: float = 0.4,
        readouts_per_image: int = 20,
        key_offset: int = -1,
        name: str = "sreds",
    ) -> None:
        super().__init__(name, root)
        self.light_scale = light_scale
        self.readouts_per_image = readouts_per_image
        self.key_offset = key_offset

    def how_to_get(self) -> str:
        """See `SpikeSet.how_to_get`."""
        return (
            "SREDS is shared by its authors (link in the README of SSIR's repository); point "
            "`root` at your copy, or train on the data set `synthetic`."
        )

    def clips(self, split: SplitName) -> list[Clip]:
        """See `SpikeSet.clips`."""
        spike_root, image_root = self._folders(split)
        scenes = folders_in(spike_root)
        clips = [self._clip(scene, image_root / scene.name) for scene in scenes]
        if not clips:
            kind = DataError if spike_root.is_dir() else SplitNotFoundError
            raise kind(f"{spike_root} holds no scene. {self.how_to_get()}")
        return clips

    def _folders(self, split: str) -> tuple[Path, Path]:
        """Folders of a split's spikes and images."""
        kind = f"interp_{self.readouts_per_image}_alpha_{self.light_scale:.2f}"
        cropped = self.root / "crop_mini"
        if split == "train" and cropped.is_dir():
            return cropped / "spike/train" / kind, cropped / "image/train/train_orig"
        if split == "test" and not (self.root / "spike/test").is_dir():
            split = "val"  # the published set has two splits
        return self.root / "spike" / split / kind, self.root / "imgs" / split / f"{split}_orig"

    def _clip(self, scene: Path, images: Path) -> Clip:
        streams = listed(scene, (".dat",))
        pairs, alone = pair_by_stem(streams, listed(images, (".png",)))
        report_alone([path for path in alone if path.suffix.lower() != ".dat"], self.name)
        if not pairs:
            raise DataError(f"{scene} and {images} share no NAME.dat and NAME.png.")
        index = {stream: k for k, stream in enumerate(streams)}
        keys = {
            self.readouts_per_image * index[stream] + self.key_offset: image
            for stream, image in pairs
        }
        height, width = image_size(pairs[0][1])
        return Clip(
            scene.name,
            tuple(streams),
            self.light_scale,
            Geometry(height, width),
            images=keys,
            card=card_path(scene),
        )

"""UHSR: real recordings for recognition, one `.npz` a clip (Spike-Zoo's README links it).

`spk` uint8 (200, 250, 250) in time, rows and columns, top row first; no true image. The clips show
pictures on a screen. `label_name` is the picture's file, `4144_helicopter.jpg`, which names the
class; `label` is the class's number and is not read.

One public sample was at hand when this was written, never the whole set: the form of the names is
that of the sample, and the split that of the published training code of SpikeCLIP.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from spikerec.data.clips import LABEL, Clip, SplitName
from spikerec.data.real import Real
from spikerec.errors import DataError
from spikerec.parsing import shown
from spikerec.spikes.numpy_files import read_text

#: The clips, sorted by name, that SpikeCLIP trains on; the others are its test set.
TRAINING_CLIPS = 5000

MOST_CHARACTERS = 100  # of a picture's file name

#: A picture's file: its number, the class it shows, its suffix.
_PICTURE = re.compile(r"(?:\d+_)?([\w -]+)(?:\.\w+)?")


class UHSR(Real):
    """A folder of UHSR clips: U-CALTECH or U-CIFAR.

    Each clip's class is stated as its condition `label`, where the file names it. Of a folder with
    more than `TRAINING_CLIPS` clips, these are for training, the rest for validation and test; of a
    smaller one, which is not the whole set, all splits are alike.

    Args:
        root: folder that holds the `.npz` files.
        light_scale: firing rate of a pixel of intensity 1; unknown, 1 leaves rates as they are.
        key_stride: readouts between two key readouts.
        name: the set's name in results.
    """

    def __init__(
        self,
        root: str | Path,
        light_scale: float = 1.0,
        key_stride: int = 100,
        name: str = "uhsr",
    ) -> None:
        super().__init__(
            root, light_scale, key_stride, height=None, width=None, dataset="spk", name=name
        )

    def how_to_get(self) -> str:
        """See `SpikeSet.how_to_get`."""
        return (
            "Point `root` at your copy of UHSR: one .npz a clip, with spk (200, 250, 250) and "
            "label_name."
        )

    def clips(self, split: SplitName) -> list[Clip]:
        """See `SpikeSet.clips`.

        Raises:
            DataError: the folder holds no clip, or one whose `label_name` names no class.
        """
        clips = sorted(super().clips(split), key=lambda clip: clip.name)
        if len(clips) > TRAINING_CLIPS:
            is_training = split == "train"
            clips = clips[:TRAINING_CLIPS] if is_training else clips[TRAINING_CLIPS:]
        return [self._labelled(clip) for clip in clips]

    def _labelled(self, clip: Clip) -> Clip:
        (path,) = clip.files
        if path.suffix.lower() != ".npz":
            return clip
        picture = read_text(path, "label_name", MOST_CHARACTERS)
        return (
            clip if picture is None else replace(clip, conditions={LABEL: class_of(picture, path)})
        )


def class_of(picture: str, path: Path) -> str:
    """The class that the name of a picture states.

    Args:
        picture: NUMBER_CLASS.SUFFIX; number and suffix may be absent.
        path: the clip's file, for the message.

    Raises:
        DataError: the name is of another form.

    Example:
        >>> class_of("4144_helicopter.jpg", Path("4144.npz"))
        'helicopter'
    """
    found = _PICTURE.fullmatch(picture)
    if found is None:
        raise DataError(
            f"{path}: label_name is {shown(picture)}: expected NUMBER_CLASS.jpg, as in "
            "4144_helicopter.jpg. Correct it, or leave label_name out of the file."
        )
    return found[1]

"""UHSR: real recordings for recognition, one `.npz` a clip (Spike-Zoo's README links it).

`spk` uint8 (200, 250, 250) in time, rows and columns, top row first; no true image.
"""

from __future__ import annotations

from pathlib import Path

from spikerec.data.real import Real


class UHSR(Real):
    """A folder of UHSR clips.

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

"""Pictures as the grey levels that image files store."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def grey_levels(picture: NDArray[np.floating[Any]], bits: int = 8) -> NDArray[Any]:
    """Round values in [0, 1] to grey levels; values outside are clipped.

    Args:
        picture: of any shape.
        bits: 8 or 16.

    Returns:
        uint8 or uint16 of the same shape; a half is rounded to the even level.
    """
    levels = np.rint(np.clip(picture, 0, 1) * (2**bits - 1))
    whole: NDArray[Any] = levels.astype(np.uint8 if bits == 8 else np.uint16)
    return whole

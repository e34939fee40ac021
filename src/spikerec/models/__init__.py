"""Reconstruction networks, one file a method, and the layers that two or more of them share."""

from spikerec.models.base import (
    BlockNetwork,
    Blocks,
    Network,
    Reconstruction,
)
from spikerec.models.padding import Padding

__all__ = [
    "BlockNetwork",
    "Blocks",
    "Network",
    "Padding",
    "Reconstruction",
]

"""Reconstruction networks, one file a method, and the weights they load."""

from spikerec.models.base import (
    BlockNetwork,
    Blocks,
    Network,
    Padding,
    Reconstruction,
)
from spikerec.models.checkpoint import digest, load_weights, read_metadata, read_state, save_state
from spikerec.models.published import import_weights, load_published

__all__ = [
    "BlockNetwork",
    "Blocks",
    "Network",
    "Padding",
    "Reconstruction",
    "digest",
    "import_weights",
    "load_published",
    "load_weights",
    "read_metadata",
    "read_state",
    "save_state",
]

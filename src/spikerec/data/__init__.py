"""Data sets: clips on disk, windows of them, and the one DataModule."""

from spikerec.data.clips import Clip, SpikeSet
from spikerec.data.module import SpikeDataModule
from spikerec.data.windows import Windows, decode

__all__ = ["Clip", "SpikeDataModule", "SpikeSet", "Windows", "decode"]

"""Data sets: clips on disk, windows of them, and the one DataModule."""

from spikerec.doors import open_door

__getattr__, __dir__, __all__ = open_door(__name__, __file__)

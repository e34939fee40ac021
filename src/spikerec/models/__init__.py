"""Reconstruction networks, one file a method, and the layers that two or more of them share."""

from spikerec.doors import open_door

__getattr__, __dir__, __all__ = open_door(__name__, __file__)

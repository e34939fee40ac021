"""Image quality under named protocols, and what a network costs."""

from spikerec.doors import open_door

__getattr__, __dir__, __all__ = open_door(__name__, __file__)

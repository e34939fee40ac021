"""From a spike stream to a video, window by window, in bounded memory.

`reconstruct` returns a `Video`, whose method `save` writes it; `make_frames` is the engine below.
"""

from spikerec.doors import open_door

__getattr__, __dir__, __all__ = open_door(__name__, __file__)

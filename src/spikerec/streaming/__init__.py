"""From a spike stream to a video, window by window, in bounded memory.

`reconstruct` gives a `Video`, which `save`s itself; `make_frames` is the engine below it.
"""

from spikerec.doors import open_door

__getattr__, __dir__, __all__ = open_door(__name__, __file__)

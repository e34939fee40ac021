"""From a spike stream to a video, window by window, in bounded memory.

`reconstruct` gives a `Video`, which `save`s itself; `make_frames` is the engine below it.
"""

from spikerec.streaming.engine import Frame, make_frames
from spikerec.streaming.key_readouts import KeyReadouts
from spikerec.streaming.light import FixedPattern, Tone, white_rate
from spikerec.streaming.sinks import Sink, open_sink
from spikerec.streaming.tiles import Tiling, choose_tiling, fitting_side
from spikerec.streaming.video import Video, default_stride, reconstruct

__all__ = [
    "FixedPattern",
    "Frame",
    "KeyReadouts",
    "Sink",
    "Tiling",
    "Tone",
    "Video",
    "choose_tiling",
    "default_stride",
    "fitting_side",
    "make_frames",
    "open_sink",
    "reconstruct",
    "white_rate",
]

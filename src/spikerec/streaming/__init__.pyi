from .engine import Frame, make_frames
from .key_readouts import KeyReadouts, default_stride
from .light import FixedPattern, Tone, white_rate
from .reconstructing import reconstruct
from .sinks import Sink, open_sink
from .tiles import Tiling, choose_tiling, fitting_side
from .video import Video
from .viewer import Viewer

__all__ = [
    "FixedPattern",
    "Frame",
    "KeyReadouts",
    "Sink",
    "Tiling",
    "Tone",
    "Video",
    "Viewer",
    "choose_tiling",
    "default_stride",
    "fitting_side",
    "make_frames",
    "open_sink",
    "reconstruct",
    "white_rate",
]

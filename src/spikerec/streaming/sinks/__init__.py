"""Outputs of frames: video, pictures or arrays, whole under the final name or not at all.

While it is being written, `car.mp4` is the folder `car.mp4.partial`. What is in it survives an
interruption, and the same command with `resume=true` goes on from there. Videos are written there
in segments of their own, which are put together without encoding them again.
"""

from spikerec.streaming.sinks.base import Sink
from spikerec.streaming.sinks.opening import open_sink

__all__ = ["Sink", "open_sink"]

"""From a spike stream to a sequence of images, window by window, in bounded memory."""

from spikerec.streaming.engine import KeyReadouts, images
from spikerec.streaming.sinks import Sink, open_sink

__all__ = ["KeyReadouts", "Sink", "images", "open_sink"]

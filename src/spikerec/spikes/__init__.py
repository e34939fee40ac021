"""Spike streams: formats on disk, packed bits, windows, representations.

`spikes.open(path)` returns a lazy `SpikeStream`; `spikes.save` writes one.
"""

from spikerec.doors import open_door

__getattr__, __dir__, __all__ = open_door(__name__, __file__)

"""Every kind of weights: checkpoints, published and shipped networks, trunks of metrics and losses.

Reading weights runs no code that a file holds.
"""

from spikerec.doors import open_door

__getattr__, __dir__, __all__ = open_door(__name__, __file__)

"""Records of evaluations, statistics over them, and the leaderboard made from them."""

from spikerec.doors import open_door

__getattr__, __dir__, __all__ = open_door(__name__, __file__)

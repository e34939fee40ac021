"""Sweeps: what became of each job, the table that compares them, and pruning."""

from spikerec.doors import open_door

__getattr__, __dir__, __all__ = open_door(__name__, __file__)

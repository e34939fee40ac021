"""Training: the LightningModule, its callbacks, and runs that survive being killed."""

from spikerec.doors import open_door

__getattr__, __dir__, __all__ = open_door(__name__, __file__)

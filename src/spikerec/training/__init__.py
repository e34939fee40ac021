"""Training: the LightningModule, its callbacks, and runs that survive being killed."""

from spikerec.training.module import ReconstructionModule
from spikerec.training.runs import Run

__all__ = ["ReconstructionModule", "Run"]

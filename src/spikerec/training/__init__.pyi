from .callbacks import ValidationImages, ValidationVideo
from .checkpoints import LastCheckpoint
from .curves import CurveLog
from .module import ReconstructionModule
from .monitors import Progress, RunFacts, StepTimes
from .runs import Run
from .schedules import WarmupCosine

__all__ = [
    "CurveLog",
    "LastCheckpoint",
    "Progress",
    "ReconstructionModule",
    "Run",
    "RunFacts",
    "StepTimes",
    "ValidationImages",
    "ValidationVideo",
    "WarmupCosine",
]

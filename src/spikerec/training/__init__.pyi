from .callbacks import ValidationImages, ValidationVideo
from .checkpoints import LastCheckpoint
from .curves import CurveLog
from .finite import replay
from .fitting import fit
from .module import ReconstructionModule
from .monitors import Progress, RunFacts, StepTimes
from .runs import Run
from .schedules import WarmupCosine
from .scores import Monitor, sweep_score

__all__ = [
    "CurveLog",
    "LastCheckpoint",
    "Monitor",
    "Progress",
    "ReconstructionModule",
    "Run",
    "RunFacts",
    "StepTimes",
    "ValidationImages",
    "ValidationVideo",
    "WarmupCosine",
    "fit",
    "replay",
    "sweep_score",
]

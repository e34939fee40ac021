from . import (
    data,
    losses,
    metrics,
    models,
    results,
    simulation,
    spikes,
    streaming,
    training,
    weights,
)
from .results.evaluation import evaluate
from .results.leaderboard import leaderboard
from .spikes import open
from .streaming import reconstruct
from .training import fit
from .weights.trained import load

__version__: str
__all__ = [
    "__version__",
    "data",
    "evaluate",
    "fit",
    "leaderboard",
    "load",
    "losses",
    "metrics",
    "models",
    "open",
    "reconstruct",
    "results",
    "simulation",
    "spikes",
    "streaming",
    "training",
    "weights",
]

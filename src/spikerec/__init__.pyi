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
from .spikes import open
from .streaming import reconstruct
from .weights.trained import load

__version__: str
__all__ = [
    "__version__",
    "data",
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

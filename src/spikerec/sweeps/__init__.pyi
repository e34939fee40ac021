from .jobs import Job, clear_failure, record_failure
from .pruning import Pruning
from .table import ablation, markdown, summarise

__all__ = [
    "Job",
    "Pruning",
    "ablation",
    "clear_failure",
    "markdown",
    "record_failure",
    "summarise",
]

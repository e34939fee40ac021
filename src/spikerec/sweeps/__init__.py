"""Sweeps: what became of each job, the table that compares them, and pruning."""

from spikerec.sweeps.jobs import Job, clear_failure, record_failure
from spikerec.sweeps.pruning import Pruning
from spikerec.sweeps.table import ablation, markdown, summarise

__all__ = [
    "Job",
    "Pruning",
    "ablation",
    "clear_failure",
    "markdown",
    "record_failure",
    "summarise",
]

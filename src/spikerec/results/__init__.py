"""Records of evaluations, statistics over them, and the leaderboard made from them."""

from spikerec.results.record import (
    DatasetInfo,
    ProtocolInfo,
    Record,
    Samples,
    WeightsInfo,
    code_revision,
    environment,
    read_record,
)
from spikerec.results.store import Problem, Reading, Store, long_frame, summary_frame

__all__ = [
    "DatasetInfo",
    "Problem",
    "ProtocolInfo",
    "Reading",
    "Record",
    "Samples",
    "Store",
    "WeightsInfo",
    "code_revision",
    "environment",
    "long_frame",
    "read_record",
    "summary_frame",
]

"""Records of evaluations, statistics over them, and the leaderboard made from them."""

from spikerec.results.boards import Board, BoardName, gather
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
from spikerec.results.statistics import Comparison, Interval, Standing, compare, standing
from spikerec.results.store import Problem, Reading, Store, long_frame, summary_frame

__all__ = [
    "Board",
    "BoardName",
    "Comparison",
    "DatasetInfo",
    "Interval",
    "Problem",
    "ProtocolInfo",
    "Reading",
    "Record",
    "Samples",
    "Standing",
    "Store",
    "WeightsInfo",
    "code_revision",
    "compare",
    "environment",
    "gather",
    "long_frame",
    "read_record",
    "standing",
    "summary_frame",
]

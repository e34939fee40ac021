"""Records of evaluations, statistics over them, and the leaderboard made from them."""

from spikerec.results.boards import Board, BoardName, Row, gather
from spikerec.results.provenance import code_revision, environment
from spikerec.results.reading import read_record
from spikerec.results.record import (
    DatasetInfo,
    Definition,
    ProtocolInfo,
    Record,
    Samples,
    WeightsInfo,
)
from spikerec.results.statistics import Comparison, Interval, Standing, compare, standing
from spikerec.results.store import Problem, Reading, Store, long_frame, scan, summary_frame

__all__ = [
    "Board",
    "BoardName",
    "Comparison",
    "DatasetInfo",
    "Definition",
    "Interval",
    "Problem",
    "ProtocolInfo",
    "Reading",
    "Record",
    "Row",
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
    "scan",
    "standing",
    "summary_frame",
]

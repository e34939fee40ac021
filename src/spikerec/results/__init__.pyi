from .boards import Board, BoardName, gather
from .parts import DatasetInfo, Definition, ProtocolInfo, Samples, WeightsInfo
from .provenance import code_revision, environment
from .reading import read_record
from .record import Record
from .rows import Row
from .schema import record_schema
from .statistics import Comparison, Interval, Standing, compare, standing
from .store import Problem, Reading, Store, long_frame, scan, summary_frame

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
    "record_schema",
    "scan",
    "standing",
    "summary_frame",
]

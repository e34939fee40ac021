"""Clocks by which the seconds of a training are counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

#: Time on the wall, or this process's time on all cores.
Clock = Literal["wall", "processor"]
CLOCKS: Mapping[Clock, Callable[[], float]] = MappingProxyType(
    {"wall": time.perf_counter, "processor": time.process_time}
)

"""A bound on what a fault would make endless: not a measurement of speed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

#: Far above what any machine takes for work that is refused early, far below a hang.
HANG_SECONDS = 60.0


@contextmanager
def no_hang() -> Iterator[None]:
    """Fail where the block takes a minute of the processor, as work that is not bounded does."""
    began = time.process_time()
    yield
    assert time.process_time() - began < HANG_SECONDS

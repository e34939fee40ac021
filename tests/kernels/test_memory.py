"""Freed memory is kept or handed back as asked."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from spikerec.kernels.memory import keep_freed_memory


def page_faults() -> int:
    resource = pytest.importorskip("resource")
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)


def faults_of_filling_again(size_bytes: int = 256 << 20) -> int:
    np.ones(size_bytes, np.uint8)
    before = page_faults()
    np.ones(size_bytes, np.uint8)
    return page_faults() - before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone can be told")
def test_kept_memory_is_not_cleared_again() -> None:
    if not keep_freed_memory():
        pytest.skip("not glibc")
    kept = faults_of_filling_again()
    assert keep_freed_memory(False)
    assert faults_of_filling_again() > 10 * max(kept, 1)

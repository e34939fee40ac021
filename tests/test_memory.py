"""Freed memory is kept or handed back as asked."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from spikerec.memory import keep_freed_memory

resource = pytest.importorskip("resource")


def page_faults() -> int:
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


THREADS = """
import sys, threading
from pathlib import Path
import numpy as np
from spikerec.memory import share_freed_memory
print(share_freed_memory() if sys.argv[1:] else True)
def use(barrier):
    kept = [np.ones(60_000, np.uint8) for _ in range(300)]
    barrier.wait()
barrier = threading.Barrier(8)
threads = [threading.Thread(target=use, args=(barrier,)) for _ in range(8)]
for one in threads: one.start()
for one in threads: one.join()
print(int(Path("/proc/self/statm").read_text().split()[0]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone can be told")
def test_threads_share_one_store() -> None:
    pages = []
    for words in ((), ("shared",)):
        done = subprocess.run(
            [sys.executable, "-c", THREADS, *words], capture_output=True, text=True, check=True
        )
        has_setting, found = done.stdout.split()
        if has_setting == "False":
            pytest.skip("not glibc")
        pages.append(int(found))
    assert pages[1] < pages[0] - 8 * (32 << 20) // resource.getpagesize()  # 64 MB kept for each

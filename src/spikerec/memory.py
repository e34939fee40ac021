"""Memory that the system need not clear again and again.

glibc hands blocks of many megabytes back to the system as soon as they are freed, and the system
clears every page again when the next layer asks for as much: on a CPU, a fifth of a network's time.
"""

from __future__ import annotations

import ctypes
import sys

#: `mallopt` parameters of glibc (malloc.h).
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8

#: The most that glibc itself would raise its threshold to.
SYSTEM_MMAP_THRESHOLD = 32 << 20
SYSTEM_TRIM_THRESHOLD = 64 << 20
#: As much as its `int` holds.
KEPT = (1 << 31) - 1


def keep_freed_memory(keep: bool = True) -> bool:
    """Keep freed memory in this process for the next tensors, or hand it back again.

    Args:
        keep: whether to keep it. The process then holds the most it ever used at once.

    Returns:
        True if the C library has this setting: glibc, on Linux.
    """
    mmap, trim = (KEPT, KEPT) if keep else (SYSTEM_MMAP_THRESHOLD, SYSTEM_TRIM_THRESHOLD)
    return _set(M_MMAP_THRESHOLD, mmap) and _set(M_TRIM_THRESHOLD, trim)


def share_freed_memory() -> bool:
    """Let all threads of this process take memory from one store.

    glibc gives each new thread a store of its own, up to eight for each core, and each store keeps
    what its threads have freed: a server with a thread for each request held 250 MB so.

    Returns:
        True if the C library has this setting: glibc, on Linux.
    """
    return _set(M_ARENA_MAX, 1)


def _set(parameter: int, value: int) -> bool:
    """Set a parameter of `mallopt`; False where the C library has none."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(parameter, value))

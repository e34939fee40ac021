"""The processor that computes: its name, and one thing that it may do."""

from __future__ import annotations

import platform
import re
from pathlib import Path

FACTS = Path("/proc/cpuinfo")
#: Instructions that sum products of bytes in 32 bits; those before them saturate at 16.
BYTE_PRODUCTS = {"avx512_vnni", "avx_vnni", "amx_int8"}


def processor_name() -> str:
    """The name of the CPU as its maker gives it, or its architecture where the system has none."""
    if FACTS.exists():
        named = re.search(r"^model name\s*:\s*(.+)$", FACTS.read_text(), re.MULTILINE)
        if named:
            return named[1].strip()
    return platform.processor() or platform.machine()


def multiplies_bytes() -> bool:
    """True if the CPU is known to have instructions that multiply bytes without saturation."""
    return FACTS.exists() and not BYTE_PRODUCTS.isdisjoint(FACTS.read_text().split())

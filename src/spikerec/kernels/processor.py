"""The processor that computes, by name."""

from __future__ import annotations

import platform
import re
from pathlib import Path


def processor_name() -> str:
    """The name of the CPU as its maker gives it, or its architecture where the system has none."""
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        named = re.search(r"^model name\s*:\s*(.+)$", facts.read_text(), re.MULTILINE)
        if named:
            return named[1].strip()
    return platform.processor() or platform.machine()

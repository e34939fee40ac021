"""Sizes of images at which the cost of a network is stated."""

from __future__ import annotations

Size = tuple[int, int]

#: The size of SREDS, for which the papers state operations and memory.
PAPER_SIZE: Size = (720, 1280)

#: Sizes for which latency is measured: that of the cameras of 2019, and that of SREDS.
LATENCY_SIZES: tuple[Size, ...] = ((250, 400), PAPER_SIZE)

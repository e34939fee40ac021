"""Compiled loops for the CPU, and the threads that they need: arrays in, arrays out."""

from __future__ import annotations

from spikerec.kernels.dispatch import switched

__all__ = ["switched"]

"""Losses: sums of named, weighted terms."""

from spikerec.losses.base import Loss, Term

__all__ = ["Loss", "Term"]

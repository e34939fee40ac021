"""The leaderboard as one HTML file."""

from spikerec.results.page.page import render

__all__ = ["render"]

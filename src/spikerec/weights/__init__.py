"""Weights of metrics and loss trunks: one catalogue, one cache."""

from spikerec.weights.cache import (
    Listed,
    describe,
    find,
    install,
    list_weights,
    load,
    weights_digest,
    weights_dir,
)
from spikerec.weights.catalog import CATALOG, Package, Source, Weights
from spikerec.weights.fetching import fetch, fetch_all

__all__ = [
    "CATALOG",
    "Listed",
    "Package",
    "Source",
    "Weights",
    "describe",
    "fetch",
    "fetch_all",
    "find",
    "install",
    "list_weights",
    "load",
    "weights_digest",
    "weights_dir",
]

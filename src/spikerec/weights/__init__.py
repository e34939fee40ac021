"""Every kind of weights: checkpoints, published and shipped networks, trunks of metrics and losses.

Reading weights runs no code that a file holds.
"""

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
from spikerec.weights.checkpoint import (
    digest,
    load_weights,
    read_metadata,
    read_state,
    save_state,
)
from spikerec.weights.fetching import fetch, fetch_all
from spikerec.weights.published import import_weights, load_published

__all__ = [
    "CATALOG",
    "Listed",
    "Package",
    "Source",
    "Weights",
    "describe",
    "digest",
    "fetch",
    "fetch_all",
    "find",
    "import_weights",
    "install",
    "list_weights",
    "load",
    "load_published",
    "load_weights",
    "read_metadata",
    "read_state",
    "save_state",
    "weights_digest",
    "weights_dir",
]

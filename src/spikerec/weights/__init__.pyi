from .cache import Listed, describe, find, install, list_weights, load, weights_digest, weights_dir
from .catalog import CATALOG, Package, Source, Weights
from .checkpoint import digest, read_metadata, read_state
from .fetching import fetch, fetch_for_metrics
from .named import fetch_network, keep_network, named_weights, networks
from .published import import_weights, load_published
from .states import load_weights
from .writing import save_state

__all__ = [
    "CATALOG",
    "Listed",
    "Package",
    "Source",
    "Weights",
    "describe",
    "digest",
    "fetch",
    "fetch_for_metrics",
    "fetch_network",
    "find",
    "import_weights",
    "install",
    "keep_network",
    "list_weights",
    "load",
    "load_published",
    "load_weights",
    "named_weights",
    "networks",
    "read_metadata",
    "read_state",
    "save_state",
    "weights_digest",
    "weights_dir",
]

"""Measure what a method costs: spikerec bench model=stir."""

from __future__ import annotations

import json
from itertools import chain, count
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from spikerec.apps._networks import trained_network
from spikerec.configs import instantiate, plain
from spikerec.fetch import write_atomically
from spikerec.kernels.devices import present_device
from spikerec.memory import keep_freed_memory
from spikerec.metrics.efficiency import measure
from spikerec.models.base import Network
from spikerec.weights.shipped import shipped_weights

#: Columns and how each reads a cost: label, key, divisor, unit.
ROWS = (
    ("parameters", "params", 1e6, "M"),
    ("multiply-accumulates", "macs", 1e12, "T"),
    ("  as the papers count them", "macs_published", 1e12, "T"),
    ("  one window that goes on from another", "macs_in_video", 1e12, "T"),
    ("state carried from window to window", "state_bytes", 1e9, "GB"),
    ("peak memory, live tensors", "memory_bytes", 1e9, "GB"),
    ("peak memory, allocated", "memory_measured_bytes", 1e9, "GB"),
)


def run(config: DictConfig) -> None:
    """Measure a network, print the table, and write the figures into the run's folder.

    They are `bench.json`, and `bench-2.json` and so on where that folder has some already.
    """
    network: Network = instantiate(config.model, Network, "model")
    if config.weights is not None or shipped_weights(network) is not None:
        network = trained_network(config, None)
    method = HydraConfig.get().runtime.choices["model"]
    settings = plain(config)
    if settings["optimise"]:
        keep_freed_memory()
    cost = measure(
        network,
        device=present_device(None if settings["device"] == "auto" else settings["device"]),
        size=tuple(settings["size"]),
        latency_sizes=[(height, width) for height, width in settings["latency_sizes"]],
        repeats=settings["repeats"],
        warmup=settings["warmup"],
        optimise=settings["optimise"],
        engine=settings["engine"],
        precision=settings["precision"],
    )
    console = Console()
    console.print(table(str(method), cost))
    record = {"method": method, "model": settings["model"], "torch": torch.__version__} | cost
    content = json.dumps(record, indent=2, ensure_ascii=False)
    names = chain(["bench.json"], (f"bench-{number}.json" for number in count(2)))
    places = (Path(config.run) / name for name in names)
    path = next(place for place in places if not place.exists())
    write_atomically(path, content.encode())
    console.print(f"[dim]{path}[/]")


def table(method: str, cost: dict[str, Any]) -> Table:
    """The costs as people read them."""
    height, width = cost["size"]
    result = Table("", f"{method}", title=f"One image of {height} × {width}", title_justify="left")
    for label, key, divisor, unit in ROWS:
        if key in cost:
            result.add_row(label, f"{cost[key] / divisor:.3f} {unit}")
    for timed in cost["latency"]:
        height, width = timed["size"]
        first, third = timed["quartiles_ms"]
        result.add_row(
            f"latency {height} × {width}",
            f"{timed['median_ms']:.1f} ms (quartiles {first:.1f} to {third:.1f}, "
            f"{timed['repeats']} runs)",
        )
    if cost["latency"]:
        result.add_row("measured on", cost["latency"][0]["device"])
        form = "optimised" if cost["optimised"] else "as published"
        by = form if cost["engine"] == "torch" else f"by {cost['engine']}"
        result.add_row("network", f"{by}, {cost['precision']}")
    return result

"""Write a trained network as one file: spikerec export model=stir checkpoint=… output=stir.onnx."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from spikerec.apps._checks import check_is_set
from spikerec.apps._networks import trained_network
from spikerec.apps._printing import say
from spikerec.errors import ConfigError
from spikerec.inference.export import export


def run(config: DictConfig) -> None:
    """Export the network that the configuration describes, and say how well it was met."""
    console = Console()
    check_is_set(config, "output", example="NAME.pt2 or NAME.onnx")
    size = list(config.size)
    if len(size) != 2 or any(not isinstance(side, int) or side < 1 for side in size):
        raise ConfigError(f"size must be [height, width] in pixels, found {size}.")
    network = trained_network(config, config.checkpoint)
    path = Path(config.output)
    with console.status(f"exporting {path.name}"):
        difference = export(network, path, (size[0], size[1]), overwrite=config.overwrite)
    windows = f"windows of {network.window} × {size[0]} × {size[1]}"
    if difference is None:
        say(console, f"done before, this network is in {path}: {windows}")
        return
    say(console, f"{path}: {windows}, image within {difference:.1g} of the network's")

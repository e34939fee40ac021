"""Look at a stream in the browser: spikerec view car.dat."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from spikerec import spikes
from spikerec.errors import ConfigError
from spikerec.spikes import Geometry
from spikerec.streaming.viewer import Viewer, serve
from spikerec.weights.trained import load


def main(arguments: list[str]) -> None:
    """Run `spikerec view …` until it is interrupted."""
    parser = argparse.ArgumentParser(prog="spikerec view", description=__doc__)
    parser.add_argument("file", type=Path, help=".dat, .npy, .npz, .h5, or a folder of .dat files")
    parser.add_argument(
        "--method",
        action="append",
        help="a choice of conf/model, or NAME=CHECKPOINT; several times (default: tfp and fast)",
    )
    parser.add_argument("--height", type=int, help="of a .dat without a sidecar")
    parser.add_argument("--width", type=int)
    parser.add_argument("--rate-hz", type=float, help="readouts per second")
    parser.add_argument("--light-scale", type=float, help="firing rate of intensity 1")
    parser.add_argument(
        "--external", action="store_true", help="let an .h5 name other files that hold its values"
    )
    parser.add_argument("--port", type=int, default=0, help="default: any that is free")
    options = parser.parse_args(arguments)
    if (options.height is None) != (options.width is None):
        raise ConfigError("--height and --width go together: state both, or neither.")
    geometry = None if options.height is None else Geometry(options.height, options.width)
    stream = spikes.open(
        options.file,
        geometry=geometry,
        rate_hz=options.rate_hz,
        light_scale=options.light_scale,
        external=options.external,
    )
    named = [word.partition("=") for word in options.method or ("tfp", "fast")]
    networks = {name: load(name, checkpoint or None) for name, _, checkpoint in named}
    with serve(Viewer(stream, networks), options.port) as server:
        console = Console()
        console.print(f"http://127.0.0.1:{server.server_port}/ (Ctrl-C ends it)", soft_wrap=True)
        with suppress(KeyboardInterrupt):
            server.serve_forever()

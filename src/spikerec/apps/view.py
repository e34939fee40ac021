"""Look at a stream in the browser: spikerec view car.dat."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from spikerec.apps._arguments import (
    Parser,
    add_option,
    add_stream_options,
    check_stream,
    opening,
    stated,
)
from spikerec.apps._printing import pattern_taken, say
from spikerec.errors import ConfigError

MOST_PORT = 65535


def main(arguments: list[str]) -> None:
    """Run `spikerec view …` until it is interrupted."""
    parser = Parser(prog="spikerec view", description=__doc__)
    parser.add_argument(
        "file", type=Path, help=".dat, .npy, .npz, .h5, .mat, or a folder of .dat files"
    )
    parser.add_argument(
        "--method",
        action="append",
        help="a choice of conf/model, or NAME=CHECKPOINT; several times, or [tfp,fast] "
        "(default: tfp and fast)",
    )
    add_stream_options(parser)
    for key in ("ends", "estimate_pattern", "engine", "precision"):
        add_option(parser, "reconstruct", key)
    parser.add_argument("--port", type=int, default=0, help="default: any that is free")
    options = parser.parse_args(arguments)
    check_stream(options.file)
    methods = _methods(options.method or ["tfp", "fast"])
    if not 0 <= options.port <= MOST_PORT:
        raise ConfigError(f"port must be 0 to {MOST_PORT}, found {options.port}.")

    from rich.console import Console

    from spikerec import spikes

    stream = spikes.open(options.file, **opening(options.file, stated(options)))

    from spikerec.memory import share_freed_memory
    from spikerec.streaming.viewer import Viewer, serve
    from spikerec.weights.trained import load

    networks = {name: load(name, checkpoint or None) for name, checkpoint in methods}
    share_freed_memory()  # each request has a thread of its own
    viewer = Viewer(
        stream,
        networks,
        options.ends,
        estimate_pattern=options.estimate_pattern,
        engine=options.engine,
        precision=options.precision,
    )
    with serve(viewer, options.port) as server:
        console = Console()
        if options.engine == "auto":
            taken = (f"{name} by {engine}" for name, engine in viewer.engines.items())
            say(console, f"engine=auto takes {', '.join(taken)}")
        if viewer.spread:
            say(console, pattern_taken(viewer.spread))
        say(console, f"http://127.0.0.1:{server.server_port}/ (Ctrl-C ends it)")
        for concern in viewer.concerns:
            say(console, f"{stream.path.name}: {concern}", "yellow")
        with suppress(KeyboardInterrupt):
            server.serve_forever()


def _methods(words: list[str]) -> list[tuple[str, str]]:
    """Names of methods, each with a checkpoint or an empty text.

    Raises:
        ConfigError: no method of that name.
    """
    from spikerec.options import check_choice

    lists = [word[1:-1].split(",") if word[:1] + word[-1:] == "[]" else [word] for word in words]
    named = [word.strip().partition("=") for words in lists for word in words]
    for name, _, _ in named:
        check_choice("model", name)
    return [(name, checkpoint) for name, _, checkpoint in named]

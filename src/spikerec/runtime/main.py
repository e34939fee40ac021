"""Turn a stream into a video, a picture or an array by an exported network, without PyTorch.

spikerec-run car.dat network.onnx car.mp4 --height 250 --width 400
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from spikerec import __version__, spikes
from spikerec.apps._arguments import (
    Parser,
    add_option,
    add_stream_options,
    check_stream,
    opening,
    stated,
)
from spikerec.cli import end_in_one_line
from spikerec.runtime.exported import Engine, Exported, Precision
from spikerec.runtime.film import Film
from spikerec.streaming.key_readouts import choose_key_readouts
from spikerec.streaming.light import Tone
from spikerec.streaming.sinks.opening import check_output

PROGRAM = "spikerec-run"
#: Options of `conf/reconstruct.yaml` that the runtime has too.
READOUTS = ("stride", "start", "stop", "ends", "slow_motion", "fps", "at")
LOOK = ("exposure", "mask_defects")
TONE = ("curve", "gamma", "white")
WRITING = ("fps", "bits", "resume", "overwrite")


def main() -> None:
    """Entry point of the console script `spikerec-run`; it ends as `spikerec` does."""
    end_in_one_line(PROGRAM, run)


def run(words: Sequence[str]) -> None:
    """Reconstruct what the words of the command line ask for."""
    parser = _parser()
    options = parser.parse_args(words)
    check_stream(options.input)
    options.at = options.at and re.sub(r"^\[(.*)\]$", r"\1", options.at)  # as reconstruct takes it
    check_output(options.output, is_one=options.at is not None or options.stop is not None)
    stream = spikes.open(options.input, **opening(options.input, stated(options)))
    with stream:
        network = Exported(options.model, options.engine, options.precision)
        chosen = choose_key_readouts(stream, [network], **_values(options, READOUTS))
        film = Film(
            stream,
            network,
            chosen,
            tone=Tone(**_values(options, TONE)),
            **_values(options, LOOK),
        )
        made = film.save(options.output, on_image=_Progress(len(film)), **_values(options, WRITING))
    _report(film, options.output, made)


def _values(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names}


def _parser() -> Parser:
    about, example = (__doc__ or "").split("\n\n")
    parser = Parser(prog=PROGRAM, description=about, epilog=example)
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    parser.add_argument("input", type=Path, help="recording (.dat, .npy, .npz, .h5, .mat)")
    parser.add_argument("model", type=Path, help=".onnx that `spikerec export` wrote")
    parser.add_argument(
        "output", type=Path, help="NAME.mp4, .webm, .gif, .npy, .h5, .png, or a folder for PNGs"
    )
    keys = dict.fromkeys((*READOUTS, *LOOK, *(f"tone.{name}" for name in TONE), *WRITING))
    for key in keys:
        add_option(parser, "reconstruct", key)
    parser.add_argument(
        "--engine",
        choices=get_args(Engine),
        default="onnxruntime",
        help="program that computes the images",
    )
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="float32",
        help="numbers that it computes in; bf16 by OpenVINO, on processors that have it",
    )
    add_stream_options(parser)
    return parser


class _Progress:
    """Writes the number of images done to a terminal, in one line."""

    def __init__(self, total: int) -> None:
        self._total = total

    def __call__(self, done: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{done}/{self._total}" if done < self._total else "\r\033[K")
            sys.stderr.flush()


def _report(film: Film, output: Path, made: int) -> None:
    count = f"{len(film)} image{'' if len(film) == 1 else 's'} in {output}"
    if not made:
        sys.stdout.write(f"done before by the same settings: {count}\n")
        return
    network = film.network
    how = f"{network.name} (window {network.window}, weights {network.stated.weights[:12]})"
    engine = f"{network.engine} in {network.precision}"
    sys.stdout.write(f"{count}\nby {how}, {engine}; {film.exposure}\n")

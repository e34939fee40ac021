"""Measure quality at the ends of a stream: python -m benchmarks.ends [--models NAME …].

The picture of one readout is made again and again from the same simulated stream, cut ever nearer
to that readout: what the stream lacks is mirrored (`spikerec.spikes.ends`). Truth, scene and noise
are the same at each distance, so that the figures differ by the end alone. Both ends are cut, in
turn.
"""

from __future__ import annotations

import argparse

import torch
from rich.console import Console
from rich.table import Table

import spikerec
from benchmarks.figures.measuring import loaded, shipped
from benchmarks.figures.pages import table as markdown
from spikerec.metrics.psnr import PSNR
from spikerec.models.base import Network
from spikerec.simulation import Camera, RandomScene, SceneStyle, bundled_images
from spikerec.spikes import reflect

DISTANCES = (0, 1, 2, 3, 5, 8, 12, 16, 20, 25, 30)
SCENES = 8
SIDE = 160
#: Readouts simulated on either side of the one that is reconstructed: half of 61.
REACH = 30
LIGHT_SCALE = 0.6  # as of REDS
#: Pixels that a scene moves within 61 readouts, and its objects.
STYLE = SceneStyle(motion=(5, 40), object_motion=(5, 60), objects=(1, 3))


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ends", description=__doc__)
    parser.add_argument(
        "--models",
        nargs="+",
        default=["fast", "fast_wide", "tfp"],
        help="choices of conf/model, NAME=CHECKPOINT for weights of one's own",
    )
    parser.add_argument("--scenes", type=int, default=SCENES)
    options = parser.parse_args(arguments)
    table = Table(box=None, header_style="bold")
    scenes = [simulated(seed) for seed in range(options.scenes)]
    named = [word.partition("=") for word in options.models]
    networks = {name: spikerec.load(name, checkpoint or None) for name, _, checkpoint in named}
    figures = {name: measure(network.eval(), scenes) for name, network in networks.items()}
    table.add_column("readouts to the end", justify="right")
    for name in figures:
        table.add_column(f"{name}, PSNR dB", justify="right")
    for index, distance in enumerate(DISTANCES):
        table.add_row(str(distance), *(f"{row[index]:.2f}" for row in figures.values()))
    console = Console()
    console.print(table)
    moved = f"{STYLE.motion[0]:g} to {STYLE.motion[1]:g} pixels in 61 readouts"
    console.print(
        f"{options.scenes} scenes of {SIDE} × {SIDE}, light scale {LIGHT_SCALE}, {moved}."
    )


def figures() -> str:
    """The table of the networks that ship and of fixed filters, in Markdown."""
    names = (*reversed(shipped()), "hann", "tfp", "tfi")
    scenes = [simulated(seed) for seed in range(SCENES)]
    columns = [measure(loaded(name), scenes) for name in names]
    rows = [
        [str(distance), *(f"{column[index]:.2f}" for column in columns)]
        for index, distance in enumerate(DISTANCES)
    ]
    return markdown(["readouts to the end", *names], rows)


def simulated(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A stream (2·REACH + 1, SIDE, SIDE) uint8, and the truth (1, 1, SIDE, SIDE) at its middle."""
    photographs = [photograph.image for photograph in bundled_images()]
    scene = RandomScene(photographs, height=SIDE, width=SIDE, seed=seed, style=STYLE)
    intensity = scene.frames(0, 2 * REACH + 1)
    return Camera(LIGHT_SCALE).expose(intensity, seed=seed), intensity[REACH][None, None]


@torch.inference_mode()
def measure(network: Network, scenes: list[tuple[torch.Tensor, torch.Tensor]]) -> list[float]:
    """Mean PSNR at each of `DISTANCES`, over scenes and both ends."""
    before = REACH - network.key_readout
    window = torch.arange(before, before + network.window).numpy()
    means = []
    for distance in DISTANCES:
        values = []
        for spikes, truth in scenes:
            for stream in (spikes, spikes.flip(0)):
                cut = torch.from_numpy(reflect(window, REACH + 1 + distance))
                image = network.reconstruct(stream[cut][None], LIGHT_SCALE).image
                values.append(float(PSNR().measure(image.clamp(0, 1), truth)))
        means.append(sum(values) / len(values))
    return means


if __name__ == "__main__":
    main()

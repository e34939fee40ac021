"""Convolutions in 8 bits: a copy of a network that rounds their inputs and weights to 256 levels.

A convolution's weights are rounded by output channel, and its input by one range for all channels:
x ≈ scale · (q − zero), q in 0 to 255. The ranges are a fact of the weights. They are measured once
on simulated scenes (`measure_ranges`) and lie in a file beside the weights, with the digest of
these. An engine that multiplies bytes computes the copy in integers; PyTorch computes the same
levels in float32.

The convolutions that `Network.floating` names stay as they are.
"""

from __future__ import annotations

import copy
import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import as_file, files
from pathlib import Path

import torch
from torch import Tensor, nn

from spikerec.errors import ConfigError, DataError, WeightsError
from spikerec.models.base import Network
from spikerec.parsing import SMALL_DOCUMENT, read_json
from spikerec.simulation import Camera, RandomScene, bundled_images
from spikerec.simulation.style import VARIED_STYLE
from spikerec.spikes.files import atomic_path
from spikerec.weights.checkpoint import digest
from spikerec.weights.trained import weights_file

#: Convolution → least and largest value of its input.
Ranges = Mapping[str, Sequence[float]]

#: Convolutions that an error names before it counts alone.
MOST_NAMED = 5

#: Ending of the file of ranges, in place of that of the weights.
SUFFIX = ".ranges.json"
#: Levels of an input, 0 to 255, and of a weight, which is 0 at 0.
INPUT_LEVELS, WEIGHT_LEVELS = (0, 255), (-128, 127)
#: Bounds of the step between two levels, which is computed in float32.
FLOAT32 = torch.finfo(torch.float32)

#: The scenes that ranges are measured on, as varied as those that the shipped networks learnt from.
#: Every other one is as bright as a stream can be; a range from dim scenes would clip it.
WINDOWS, SIDE = 24, 160
LEAST_LIGHT_SCALE = 0.1


@dataclass(frozen=True)
class MeasuredRanges:
    """A file of ranges.

    Attributes:
        weights: digest of the weights that they are of.
        loss_db: loss of PSNR by 8 bits in dB, by which `precision=auto` decides; None: unknown.
        ranges: convolution → least and largest value of its input.
    """

    weights: str
    loss_db: float | None
    ranges: Ranges


class QuantisedConv2d(nn.Module):
    """A convolution whose input and weights are rounded to levels of 8 bits.

    Args:
        conv: the convolution, whose weights are shared.
        low: least value of the input, at most 0.
        high: largest value of the input, at least 0, and not `low`.
    """

    weight_scale: Tensor
    weight_zero: Tensor
    input_scale: Tensor
    input_zero: Tensor

    def __init__(self, conv: nn.Conv2d, low: float, high: float) -> None:
        super().__init__()
        self.conv = conv
        largest = conv.weight.detach().abs().amax((1, 2, 3)).clamp_min(1e-12)
        scale = (high - low) / INPUT_LEVELS[1]
        self.register_buffer("weight_scale", largest / WEIGHT_LEVELS[1])
        self.register_buffer("weight_zero", torch.zeros(len(largest), dtype=torch.int32))
        self.register_buffer("input_scale", torch.tensor(scale))
        self.register_buffer("input_zero", torch.tensor(round(-low / scale), dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        """As the convolution's."""
        x = torch.fake_quantize_per_tensor_affine(
            x, self.input_scale, self.input_zero, *INPUT_LEVELS
        )
        weight = torch.fake_quantize_per_channel_affine(
            self.conv.weight, self.weight_scale, self.weight_zero, 0, *WEIGHT_LEVELS
        )
        y: Tensor = self.conv._conv_forward(x, weight, self.conv.bias)
        return y


@torch.no_grad()
def quantised(network: Network, ranges: Ranges) -> Network:
    """Return a copy of a network, in eval mode, whose convolutions with a range are quantised."""
    made = copy.deepcopy(network).eval().requires_grad_(False)
    for name, (low, high) in ranges.items():
        conv = made.get_submodule(name)
        assert isinstance(conv, nn.Conv2d)
        made.set_submodule(name, QuantisedConv2d(conv, low, high))
    return made


def measure_ranges(network: Network) -> Ranges:
    """Measure the range of each convolution's input on simulated scenes, in seconds.

    Args:
        network: on the CPU, with its weights; left as it is.

    Returns:
        Convolution → least and largest input, four digits of each, 0 included.

    Raises:
        ConfigError: the network has not been tried in 8 bits.
    """
    network = copy.deepcopy(network).eval()
    ranges: dict[str, tuple[float, float]] = {}

    def look(name: str, x: Tensor) -> None:
        least, largest = (float(f"{float(value):.4g}") for value in torch.aminmax(x))
        low, high = ranges.get(name, (0.0, 0.0))
        ranges[name] = min(low, least), max(high, largest)

    for name, conv in _convolutions(network):
        conv.register_forward_pre_hook(lambda _, inputs, name=name: look(name, inputs[0]))
    with torch.inference_mode():
        for spikes in _simulated(network.window):
            network.reconstruct(spikes, 1.0)
    return ranges


def _convolutions(network: Network) -> Iterator[tuple[str, nn.Conv2d]]:
    """The convolutions of a network that may be quantised, with their names.

    Raises:
        ConfigError: it has not been tried.
    """
    if network.floating is None:
        raise ConfigError(
            f"precision=int8: {type(network).__name__} has not been tried in 8 bits; those that "
            f"have: {', '.join(shipped_in_8_bits())}. Set precision=auto."
        )
    for name, module in network.named_modules():
        is_kept = any(f"{name}.".startswith(f"{kept}.") for kept in network.floating)
        if isinstance(module, nn.Conv2d) and not is_kept:
            yield name, module


def _simulated(readouts: int) -> Iterator[Tensor]:
    """Windows (1, T, H, W) uint8 of moving photographs: bright ones and dim ones in turn."""
    images = [one.image for one in bundled_images()]
    for seed in range(WINDOWS):
        dim = LEAST_LIGHT_SCALE ** (seed / WINDOWS)
        light_scale = dim if seed % 2 else 1.0
        camera = (
            Camera(light_scale),
            Camera(light_scale, threshold=255.0, shot_noise=True),
            Camera(light_scale, stray_rate=0.007),
        )[seed % 3]
        scene = RandomScene(images, height=SIDE, width=SIDE, seed=seed, style=VARIED_STYLE)
        yield camera.expose(scene.frames(0, readouts), seed=seed)[None]


def shipped_in_8_bits() -> list[str]:
    """The models whose shipped weights have ranges."""
    with as_file(files("spikerec.weights").joinpath("shipped")) as folder:
        return sorted(path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}"))


def ranges_file(weights: Path) -> Path:
    """The file of ranges that belongs to a file of weights."""
    return weights.with_suffix(SUFFIX)


def write_ranges(
    network: Network, weights: Path, *, loss_db: float | None = None, overwrite: bool = False
) -> Path | None:
    """Measure the ranges of a network and write them beside its weights.

    Args:
        network: with the weights.
        weights: their file.
        loss_db: measured loss of PSNR by 8 bits in dB; by it `precision=auto` decides.
        overwrite: replace a file that is there.

    Returns:
        The file; None if it was there already for these weights, and was kept.

    Raises:
        ConfigError: the network has not been tried in 8 bits.
        WeightsError: the file is there for other weights, or is damaged, and `overwrite` is false;
            or a convolution has no range, because its input is always 0, or is not finite.
    """
    path, own = ranges_file(weights), digest(network.state_dict())
    if path.exists() and not overwrite:
        try:
            found = parse_ranges(path).weights
        except DataError as error:
            raise WeightsError(f"{error} Move it away, or ask to overwrite it.") from error
        if found == own:
            return None
        raise WeightsError(
            f"{path} exists already with the ranges of other weights: move it away, or ask to "
            "overwrite it."
        )
    ranges = {name: list(pair) for name, pair in measure_ranges(network).items()}
    for name, pair in ranges.items():
        if not _is_range(pair):
            raise WeightsError(
                f"{weights} cannot be computed in 8 bits: the input of {name} is {pair[0]:g} to "
                f"{pair[1]:g} on simulated scenes. Train the network further, or compute it in "
                "precision=bf16 or float32."
            )
    stated = asdict(MeasuredRanges(own, loss_db, ranges))
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(stated, indent=1) + "\n", encoding="utf-8")
    return path


def read_ranges(network: Network) -> MeasuredRanges:
    """Read the ranges of a network's weights from the file beside these.

    Raises:
        ConfigError: the network has not been tried in 8 bits, its weights are from no file, or
            there are no ranges of these weights.
        DataError: the file is damaged, or states ranges of other convolutions.
    """
    known = dict(_convolutions(network))
    weights = weights_file(network)
    if weights is None:
        raise ConfigError(
            "precision=int8 needs the ranges beside the file of a network's weights, but these "
            "weights were drawn, or changed since they were loaded: load them from a file, or set "
            "precision=auto."
        )
    path = ranges_file(weights)
    if not path.is_file():
        raise ConfigError(
            f"precision=int8 finds no ranges for {weights}: expected {path}. Make them by "
            f"`{_command(weights)}`, or set precision=auto."
        )
    measured = parse_ranges(path)
    again = f"make them again by `{_command(weights)} --overwrite`"
    if measured.weights != digest(network.state_dict()):
        raise ConfigError(f"{path} is of other weights than {weights} holds: {again}.")
    if measured.ranges.keys() != known.keys():
        lacking, others = (
            known.keys() - measured.ranges.keys(),
            measured.ranges.keys() - known.keys(),
        )
        named = ", ".join(sorted(lacking)[:MOST_NAMED]) or "none"
        raise DataError(
            f"{path} has not the convolutions of its network (of {len(known)} it lacks "
            f"{len(lacking)}: {named}; it names {len(others)} others): {again}."
        )
    return measured


def parse_ranges(path: Path) -> MeasuredRanges:
    """Read a file of ranges.

    Raises:
        DataError: it is damaged, or another kind of file.
    """
    stated = read_json(path, SMALL_DOCUMENT)
    if (
        not isinstance(stated, dict)
        or stated.keys() != MeasuredRanges.__dataclass_fields__.keys()
        or not isinstance(stated["weights"], str)
        or not (stated["loss_db"] is None or _is_number(stated["loss_db"]))
        or not isinstance(stated["ranges"], dict)
        or not all(map(_is_range, stated["ranges"].values()))
    ):
        raise DataError(f"{path} is no file of ranges: expected one of spikerec weights ranges.")
    return MeasuredRanges(**stated)


def _command(weights: Path) -> str:
    return f"spikerec weights ranges {shlex.quote(str(weights))}"


def _is_range(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 2 or not all(map(_is_number, value)):
        return False
    low, high = value
    step = (high - low) / INPUT_LEVELS[1]
    return bool(low <= 0 <= high and FLOAT32.tiny <= step <= FLOAT32.max)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

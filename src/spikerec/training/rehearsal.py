"""Rehearsal: a network and its loss run once, at a small size, before a training begins.

What is wrong with a network of one's own shows here in one line, before data are read and a folder
is written.
"""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from spikerec import errors
from spikerec.data import SpikeDataModule
from spikerec.errors import ConfigError, SpikerecError, about, errors_about
from spikerec.losses import Loss
from spikerec.models.base import Network, Reconstruction
from spikerec.models.carrying import hop_of
from spikerec.training.checkpoints import generator_states, restore_generators

#: Pixels of a side that is tried first; a training crop is tried where that is too small.
SMALL_SIDE = 32

#: Letters of a foreign message that are quoted.
QUOTED = 200

#: Folders whose code is not the user's.
LIBRARIES = tuple(
    str(Path(path).resolve())
    for path in (
        *(sysconfig.get_path("stdlib"), sysconfig.get_path("platlib")),
        *(Path(errors.__file__).parent, Path(torch.__file__).parent),
    )
)


def check_trainable(network: Network, data: SpikeDataModule) -> None:
    """Make sure that there is something to learn, and that crops fit the network.

    Training takes crops as they are: padding would change what the network learns.

    Raises:
        ConfigError: the network has no parameters, or a crop is no multiple of what it needs.
    """
    name = type(network).__name__
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ConfigError(
            f"{name} has no parameters: there is nothing to train. Run `spikerec evaluate` or "
            "`spikerec reconstruct` with it."
        )
    if network.window != data.window:
        raise ConfigError(
            f"window must be {name}'s, {network.window}, found {data.window}: make the data with "
            "window=network.window."
        )
    for side in (data.crop.height, data.crop.width):
        if side % network.multiple:
            told = (
                f"crop must be multiples of {network.multiple} for {name}, found "
                f"{data.crop.height} × {data.crop.width}."
            )
            raise about(data, ConfigError(told))


def check_carried(
    network: Network, data: SpikeDataModule, loss: Loss, detach_every: int | None
) -> None:
    """Make sure that the network carries the state that data and training speak of.

    Raises:
        ConfigError: it carries none, or at another hop; a loss that hides spikes, which the state
            would give away; or gradients that end in no sequence.
    """
    if detach_every is not None:
        if not isinstance(detach_every, int) or isinstance(detach_every, bool) or detach_every < 1:
            raise ConfigError(
                f"detach_every must be a number of windows above 0 or null, found {detach_every!r}."
            )
        if data.sequences is None:
            raise ConfigError(
                f"detach_every={detach_every} is for sequences: set sequence of the data, or leave "
                "it out."
            )
    if data.sequences is None and data.carry is None:
        return
    if hop_of(network) != data.hop:
        raise ConfigError(
            f"hop must be {type(network).__name__}'s, {network.hop}, found {data.hop}: make the "
            "data with hop=network.hop."
        )
    if loss.hides:
        raise ConfigError(
            "loss hides a part of the spikes from the network, which a carried state would give "
            "away: leave out sequence and carry, or choose another loss."
        )


def rehearse(
    network: Network,
    loss: Loss,
    crop: tuple[int, int],
    *,
    samples: int = 1,
    has_target: bool = True,
    carries: bool = False,
) -> None:
    """Run the network and every term of the loss once, as training will.

    The network sees a few random spikes at the smallest size that it takes, 32 pixels or the crop,
    on the device where it is. The terms see zeros in the shapes that follow for the whole crop, so
    that they find what no name in `needs` tells: more scales than the pyramid has levels, windows
    longer than the network's, crops too small for a metric. Weights, buffers and random generators
    are left as they were.

    Args:
        network: in the mode in which it will be trained.
        loss: of the training.
        crop: H, W of the training crops; multiples of what the network needs.
        samples: of a batch; at most two are used.
        has_target: the training data have true images.
        carries: the training carries a state: the network also sees two windows in a row.

    Raises:
        ConfigError: the network's own code fails, or does not return what a network returns. The
            message names the line of it. A term that does not return what a term returns.
        InputError: a term does not fit the shapes.
    """
    with errors_about(loss):
        loss.check(network, has_target=has_target)
    small = _small(crop, network.multiple)
    with _undone(network):
        try:
            if carries:  # first, as `forward` may be a step
                _run_on(network, small, min(samples, 2))
            given = _run(network, small, min(samples, 2))
        except Exception:
            if small == crop:
                raise
            if carries:
                _run_on(network, crop, min(samples, 2))
            small, given = crop, _run(network, crop, min(samples, 2))
    scale = (crop[0] // small[0], crop[1] // small[1])
    with torch.enable_grad():
        image, extras = tree_map(lambda one: _zeros(one, scale), (given.image, dict(given.extras)))
        spikes = torch.zeros(len(image), network.window, *crop, dtype=torch.uint8)
        target = image.detach().clone()
        batch = {"spikes": spikes, "light_scale": torch.ones(len(image)), "target": target}
        loss(Reconstruction(image, extras), loss.hide(batch))


def _small(crop: tuple[int, int], multiple: int) -> tuple[int, int]:
    """The size to try first: it divides the crop, so that shapes at the crop follow from it."""

    def side(whole: int) -> int:
        fitting = range(multiple, whole + 1, multiple)
        return next((one for one in fitting if one >= SMALL_SIDE and whole % one == 0), whole)

    return side(crop[0]), side(crop[1])


def _run(network: Network, size: tuple[int, int], samples: int) -> Reconstruction:
    """The reconstruction of random windows, checked for its form.

    Raises:
        ConfigError: see `rehearse`.
    """
    shape = (samples, network.window, *size)
    device = next(network.parameters()).device
    spikes = (torch.rand(shape, device=device) < 0.3).to(torch.uint8)
    try:
        given = network.reconstruct(spikes, 0.5, validate=False)
    except SpikerecError:
        raise
    except Exception as error:
        raise ConfigError(_told(network, error, shape)) from error
    _check_extras(network, given, "forward")
    return given


def _run_on(network: Network, size: tuple[int, int], samples: int) -> None:
    """Reconstruct two random windows in a row, the second from the state of the first.

    Raises:
        ConfigError: the network's own code fails, or does not return what `Network.step` does.
    """
    shape = (samples, network.window, *size)
    device = next(network.parameters()).device
    name = type(network).__name__
    try:
        spikes = (torch.rand(shape, device=device) < 0.3).to(network.dtype)
        state = network.initial_state(spikes)
        for _ in range(2):
            given, state = network.run_step(spikes, state)
            _check_extras(network, given, "step")
    except SpikerecError:
        raise
    except Exception as error:
        raise ConfigError(_told(network, error, shape)) from error
    kinds = {type(leaf).__name__ for leaf in tree_leaves(state) if leaf is not None}
    if not all(isinstance(leaf, Tensor) for leaf in tree_leaves(state) if leaf is not None):
        raise ConfigError(
            f"{name}.step must return a state of tensors in tuples, lists and mappings, found "
            f"{', '.join(sorted(kinds - {'Tensor'}))} in it."
        )
    if not kinds:
        raise ConfigError(
            f"{name}.step returned a state without any tensor: return what the next window needs, "
            "or set hop to None."
        )


def _check_extras(network: Network, given: Reconstruction, method: str) -> None:
    """Make sure that a method returned the extras that the network promises."""
    if missing := [extra for extra in network.provides if extra not in given.extras]:
        raise ConfigError(
            f"{type(network).__name__}.{method} must return the extras that `provides` names, "
            f"found no {missing[0]}: return it in training mode, or take it out of `provides`."
        )


def _told(network: Network, error: Exception, shape: tuple[int, ...]) -> str:
    """One sentence about a network whose code failed, with the line of its author's."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [one for one in frames if not _is_library(one.filename)] or list(frames)
    where = own[-1]
    text = " ".join(str(error).split())[:QUOTED]
    return (
        f"{type(network).__name__} fails on spikes {shape}, in {where.name} "
        f"({where.filename}, line {where.lineno}): {type(error).__name__}: {text}"
    )


def _is_library(filename: str) -> bool:
    if filename.startswith("<"):  # a prompt or a notebook's cell; Python's own are frozen
        return filename.startswith("<frozen")
    path = str(Path(filename).resolve())
    return path.startswith(LIBRARIES) or "site-packages" in path or "dist-packages" in path


@contextmanager
def _undone(network: Network) -> Iterator[None]:
    """Restore what running a network in training mode changes: buffers and random generators."""
    generators = generator_states()
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    try:
        yield
    finally:
        restore_generators(generators)
        for name, buffer in network.named_buffers():
            if name in buffers and buffers[name].shape == buffer.shape:
                buffer.data.copy_(buffers[name])


def _zeros(value: Any, scale: tuple[int, int]) -> Any:  # noqa: ANN401 (a leaf of the extras)
    """Zeros in the shape that a tensor has for the whole crop; anything else as it is.

    They have a gradient if they can, as what a network returns in training has.
    """
    if not isinstance(value, Tensor):
        return value
    shape = list(value.shape)
    if value.ndim == 4:
        shape[2:] = [shape[2] * scale[0], shape[3] * scale[1]]
    zeros = torch.zeros(shape, dtype=value.dtype)
    return zeros.requires_grad_().clone() if zeros.is_floating_point() else zeros

"""Networks with weights of ours: from a training run's checkpoint, or an imported file."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from spikerec.configs import build, config_names, load_config
from spikerec.describing import arguments as arguments_made_with
from spikerec.errors import (
    ConfigError,
    SpikerecError,
    WeightsError,
    WeightsNotFoundError,
    root_cause,
)
from spikerec.kinds import checked
from spikerec.weights.arguments import check_size
from spikerec.weights.checkpoint import (
    digest,
    read_arguments,
    read_metadata,
    read_state,
    read_target,
)
from spikerec.weights.classes import network_class
from spikerec.weights.named import entry_of, named_weights, weights_names
from spikerec.weights.shipped import shipped_weights
from spikerec.weights.states import load_weights

if TYPE_CHECKING:
    from spikerec.models.base import Network


#: Suffixes by which `load` recognises a file; other names are choices of `conf/model`.
SUFFIXES = (".ckpt", ".pth", ".pt", ".safetensors")


@checked
def load(
    name: str | Path,
    checkpoint: str | Path | None = None,
    *,
    weights: str | None = None,
    **arguments: Any,  # noqa: ANN401 (whatever the model's config takes)
) -> Network:
    """A method ready to use, in eval mode.

    Args:
        name: a choice of `conf/model`; or a run's `.ckpt` or an imported `.safetensors`, which say
            which network they are for.
        checkpoint: a file of weights, or weights by name as below; none for a classical method, or
            to use the weights that come with the package.
        weights: weights by name, `published` or `spikezoo`, which are downloaded on first use with
            consent (see `spikerec.weights.named`).
        **arguments: what differs from `conf/model/NAME.yaml`, or from what the file states.

    Example:
        >>> import torch, spikerec
        >>> spikes = torch.randint(2, (1, 31, 8, 8))
        >>> spikerec.load("tfp", window=31).reconstruct(spikes, light_scale=0.6).image.shape
        torch.Size([1, 1, 8, 8])

    Raises:
        ConfigError: no such method or weights, a checkpoint for a method without parameters, or
            weights beside a checkpoint.
        WeightsError: the checkpoint is not there, cannot be read, or is another network's.
        FetchError: the weights cannot be downloaded.
    """
    if weights is not None and checkpoint is not None:
        raise ConfigError(
            f"weights={weights} beside checkpoint={checkpoint}: expected one of them."
        )
    if checkpoint in weights_names() and not Path(str(checkpoint)).exists():
        weights, checkpoint = str(checkpoint), None
    if isinstance(name, Path) or str(name).partition("#")[0].endswith(SUFFIXES):
        if weights is not None or checkpoint is not None:
            raise ConfigError(f"{name} is a file of weights: expected no other beside it.")
        return load_checkpoint(name, **arguments)
    if weights is not None:
        arguments = arguments_of(name, weights, arguments)
        checkpoint = named_weights(name, weights)
    return load_trained(partial(build, "model", name, **arguments), checkpoint)


def arguments_of(name: str, weights: str, stated: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a network for weights by name, with those that were stated.

    Raises:
        ConfigError: no such weights; or an argument that contradicts them.
    """
    needed = entry_of(name, weights).arguments
    for key, value in needed.items():
        if key in stated and not _is_same(stated[key], value):
            raise ConfigError(
                f"{key}={stated[key]}: the weights {name}/{weights} were trained with {value}. "
                f"Leave {key} out."
            )
    return {**needed, **stated}


def load_checkpoint(
    checkpoint: str | Path,
    **arguments: Any,  # noqa: ANN401 (whatever the class takes)
) -> Network:
    """The network that a checkpoint says it is for, with its weights, in eval mode.

    The class is imported from where it is installed, and only if it is a `Network` (see
    `spikerec.weights.classes`); its arguments are plain values within bounds.

    Args:
        checkpoint: a run's `.ckpt`, or an imported or packed `.safetensors`.
        **arguments: what differs from what the file states.

    Raises:
        ConfigError: an argument that the network does not take.
        WeightsError: the file does not exist, cannot be read, or does not say which network it is
            for; or what it says is refused, or does not fit its weights.
    """
    target = read_target(checkpoint)
    if target is None:
        raise WeightsError(
            f"{checkpoint} does not say which network it is for, as files of others do not: name "
            f"it, as in spikerec.load('stir', '{checkpoint}') or model=stir "
            f"checkpoint={checkpoint}."
        )
    cls = network_class(target, checkpoint)
    stated = read_arguments(checkpoint)
    state = read_state(checkpoint)
    check_size(partial(cls, **stated), state, f"{checkpoint} states arguments of {cls.__name__}")
    return _fill(cls(**stated | arguments), state, checkpoint)


def load_trained(make: Callable[..., Network], checkpoint: str | Path | None) -> Network:
    """Make a network, fill it from a checkpoint and put it in eval mode.

    Without a checkpoint, the weights that come with the package are used, where they fit. The
    output scale belongs to the weights: where the checkpoint states one, the network is made with
    it. A checkpoint that states another class or other arguments is refused.

    Args:
        make: returns the network; takes `output_scale`, if the network has parameters.
        checkpoint: a run's `.ckpt` or an imported `.safetensors`; None for a method without
            parameters, or for the weights that come with the package.

    Raises:
        ConfigError: a checkpoint for a method without parameters.
        WeightsError: the checkpoint does not exist, cannot be read, or is another network's.
    """
    network = make()
    name = type(network).__name__
    if not any(True for _ in network.parameters()):
        if checkpoint is not None:
            raise ConfigError(f"{name} has no parameters: drop checkpoint={checkpoint}.")
        return network.eval()
    file = checkpoint or shipped_weights(network)
    if file is None:
        raise WeightsNotFoundError(
            f"{name} needs weights: name checkpoint=FILE, a run's best.ckpt (spikerec train) or an "
            "imported .safetensors (spikerec weights import), or weights=published or spikezoo "
            "(spikerec weights list). Weights of model=fast, fast_wide and fast_large come with "
            "the package."
        )
    stated = read_arguments(file)
    if checkpoint is not None:
        _check_agreement(network, stated, checkpoint)
    scale = stated.get("output_scale", network.output_scale)
    if network.output_scale != scale:
        try:
            network = make(output_scale=scale)
        except SpikerecError as error:  # the file's number: the user typed none
            raise WeightsError(
                f"{file} states an output scale that is none: {root_cause(error)}"
            ) from error
    return _fill(network, read_state(file), file)


def _check_agreement(network: Network, stated: Mapping[str, Any], checkpoint: str | Path) -> None:
    """Refuse a checkpoint of another class, or of a network that was made otherwise.

    Raises:
        WeightsError: it is one; the message says in what they differ.
    """
    cls = type(network)
    target = read_target(checkpoint)
    if target is not None and target.rpartition(".")[2] != cls.__name__:
        raise WeightsError(
            f"{checkpoint} holds weights of {target.rpartition('.')[2]}, and the network is "
            f"{cls.__name__}: choose its model, or leave the model out (the checkpoint knows it)."
        )
    own = arguments_made_with(network)
    differing = [
        f"{key}={value}, found {key}={own[key]}"
        for key, value in stated.items()
        if key in own and key not in cls.settled_by_weights and not _is_same(value, own[key])
    ]
    if differing:
        raise WeightsError(
            f"{checkpoint} was trained with {'; '.join(differing)}: leave the model out (the "
            "checkpoint knows it), or state what it was trained with."
        )


def _fill(network: Network, state: Mapping[str, Tensor], file: str | Path) -> Network:
    network.prepare_for(state)
    own, renamed = network.state_dict().keys(), type(network).from_published(state).keys()
    if state.keys() != own and renamed == own:
        raise WeightsError(
            f"{file} holds weights of {type(network).__name__} under the authors' names: turn it "
            f"into a file of ours first (spikerec weights import {shlex.quote(str(file))} --model "
            "NAME), which also settles the light scale, and use that file."
        )
    load_weights(network, state, str(file))
    _note_file(network, Path(file))
    return network.eval()


def _is_same(one: object, other: object) -> bool:
    """True if two plain values are equal, a tuple and a list of the same values included."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return one == other


def restore(network: Network, checkpoint: Path) -> Network:
    """Give a network the weights of a checkpoint of its own training; its mode stays.

    Raises:
        WeightsError: the checkpoint does not exist, cannot be read, or is another network's.
    """
    load_weights(network, read_state(checkpoint), str(checkpoint))
    _note_file(network, checkpoint)
    return network


def _note_file(network: Network, file: Path) -> None:
    """Remember what a network was filled from.

    Raises:
        WeightsError: the file states another digest than its weights have.
    """
    loaded = digest(network.state_dict())
    stated = read_metadata(file).get("digest") if file.suffix == ".safetensors" else None
    if stated not in (None, loaded):
        raise WeightsError(
            f"{file} states another digest than its weights have: it was changed after it was "
            "written. Get it again, or import it anew from its authors' file."
        )
    network.weights_file = (file, loaded)


def weights_file(network: Network) -> Path | None:
    """The file whose weights a network holds; None where they were drawn, or changed since."""
    if network.weights_file is None:
        return None
    file, loaded = network.weights_file
    return file if digest(network.state_dict()) == loaded else None


def model_of(network: Network) -> str:
    """The choice of `conf/model` that a network is; its class in small letters where it is none.

    Of several choices of one class, the one with the network's arguments, or else the plain one.
    """
    own = arguments_made_with(network)
    found: list[tuple[int, int, str]] = []
    for name in config_names("model"):
        config = load_config("model", name)
        if config.pop("_target_").rpartition(".")[2] == type(network).__name__:
            differing = [
                key
                for key, value in config.items()
                if key not in network.settled_by_weights and not _is_same(value, own.get(key))
            ]
            found.append((len(differing), len(name), name))
    return min(found)[2] if found else type(network).__name__.lower()

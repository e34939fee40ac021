"""Networks with weights of ours: from a training run's checkpoint, or an imported file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikerec.configs import build
from spikerec.errors import (
    ConfigError,
    SpikerecError,
    WeightsError,
    WeightsNotFoundError,
    root_cause,
)
from spikerec.weights.checkpoint import digest, load_weights, read_arguments, read_state
from spikerec.weights.shipped import shipped_weights

if TYPE_CHECKING:
    from spikerec.models.base import Network


def load(
    name: str,
    checkpoint: str | Path | None = None,
    **arguments: Any,  # noqa: ANN401 (whatever the model's config takes)
) -> Network:
    """A method ready to use, in eval mode.

    Args:
        name: a choice of `conf/model`.
        checkpoint: a run's `.ckpt` or an imported `.safetensors`; none for a classical method,
            or to use the weights that come with the package.
        **arguments: what differs from `conf/model/NAME.yaml`.

    Example:
        >>> import torch, spikerec
        >>> spikes = torch.randint(2, (1, 31, 8, 8))
        >>> spikerec.load("tfp", window=31).reconstruct(spikes, light_scale=0.6).image.shape
        torch.Size([1, 1, 8, 8])

    Raises:
        ConfigError: no such method, or a checkpoint for a method without parameters.
        WeightsError: the checkpoint is not there, cannot be read, or is another network's.
    """
    return load_trained(partial(build, "model", name, **arguments), checkpoint)


def load_trained(make: Callable[..., Network], checkpoint: str | Path | None) -> Network:
    """Make a network, fill it from a checkpoint and put it in eval mode.

    Without a checkpoint, the weights that come with the package are used, where they fit. The
    output scale belongs to the weights: where the checkpoint states one, the network is made with
    it.

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
    checkpoint = checkpoint or shipped_weights(network)
    if checkpoint is None:
        raise WeightsNotFoundError(
            f"{name} needs weights: name checkpoint=FILE, a run's best.ckpt (spikerec train) or an "
            "imported .safetensors (spikerec weights import). Weights of model=fast and "
            "model=fast_wide come with the package."
        )
    scale = read_arguments(checkpoint).get("output_scale", network.output_scale)
    if network.output_scale != scale:
        try:
            network = make(output_scale=scale)
        except SpikerecError as error:  # the file's number: the user typed none
            raise WeightsError(
                f"{checkpoint} states an output scale that is none: {root_cause(error)}"
            ) from error
    state = read_state(checkpoint)
    network.prepare_for(state)
    load_weights(network, state, str(checkpoint))
    _note_file(network, Path(checkpoint))
    return network.eval()


def restore(network: Network, checkpoint: Path) -> Network:
    """Give a network the weights of a checkpoint of its own training, and put it in eval mode.

    Raises:
        WeightsError: the checkpoint does not exist, cannot be read, or is another network's.
    """
    load_weights(network, read_state(checkpoint), str(checkpoint))
    _note_file(network, checkpoint)
    return network.eval()


def _note_file(network: Network, file: Path) -> None:
    network.weights_file = (file, digest(network.state_dict()))


def weights_file(network: Network) -> Path | None:
    """The file whose weights a network holds; None where they were drawn, or changed since."""
    if network.weights_file is None:
        return None
    file, loaded = network.weights_file
    return file if digest(network.state_dict()) == loaded else None

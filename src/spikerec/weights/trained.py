"""Networks with weights of ours: from a training run's checkpoint, or an imported file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikerec.configs import build
from spikerec.errors import ConfigError, WeightsNotFoundError
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
    network: Network = build("model", name, **arguments)
    load_trained(network, checkpoint)
    return network


def load_trained(network: Network, checkpoint: str | Path | None) -> str | None:
    """Fill a network from a checkpoint and put it in eval mode.

    Without a checkpoint, the weights that come with the package serve, where they fit. The light
    scale at which the network's images are intensity belongs to its weights: where the
    checkpoint states one, the network takes it.

    Returns:
        The weights' digest; None for a method without parameters.

    Raises:
        ConfigError: a checkpoint for a method without parameters.
        WeightsError: the checkpoint is not there, cannot be read, or is another network's.
    """
    name = type(network).__name__
    network.eval()
    if not any(True for _ in network.parameters()):
        if checkpoint is not None:
            raise ConfigError(f"{name} has no parameters: drop checkpoint={checkpoint}.")
        return None
    checkpoint = checkpoint or shipped_weights(network)
    if checkpoint is None:
        raise WeightsNotFoundError(
            f"{name} needs weights: name checkpoint=FILE, a run's best.ckpt (spikerec train) or an "
            "imported .safetensors (spikerec weights import). Weights of model=fast and "
            "model=fast_wide come with the package."
        )
    load_weights(network, read_state(checkpoint), str(checkpoint))
    network.light_scale = read_arguments(checkpoint).get("light_scale", network.light_scale)
    return digest(network.state_dict())

"""Weights that come with the package: used where a network of their kind names no checkpoint.

`spikerec/weights/shipped/` holds them, with their card (README.md). A file states the choice of
`conf/model` it belongs to; it fits a network of the same names and shapes, and no other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from torch import Tensor

from spikerec.weights.arguments import build_stated
from spikerec.weights.checkpoint import digest, read_arguments, read_state
from spikerec.weights.states import load_weights
from spikerec.weights.writing import save_state

if TYPE_CHECKING:
    from spikerec.models.base import Network

#: The model that `spikerec reconstruct` uses by default; `conf/reconstruct.yaml` says the same.
DEFAULT_MODEL = "fast_wide"


def shipped_weights(network: Network) -> Path | None:
    """The file that comes with the package for this very network; None where there is none."""
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    with as_file(files("spikerec.weights").joinpath("shipped")) as folder:
        for path in sorted(folder.glob("*.safetensors")):
            if own and _shapes(path) == own:
                return path
    return None


def pack_weights(
    checkpoint: str | Path,
    name: str,
    output: str | Path,
    *,
    training: Mapping[str, Any] | None = None,
    precision_loss_db: Mapping[str, float] | None = None,
    half: bool = False,
    overwrite: bool = False,
) -> dict[str, str]:
    """Turn a run's checkpoint into a safetensors file of the network's weights alone.

    Args:
        checkpoint: a `.ckpt` of `spikerec train`.
        name: the choice of `conf/model` it was trained as.
        output: the `.safetensors` file to write.
        training: the run's budget, for the file's metadata.
        precision_loss_db: precision → measured loss of PSNR in dB, for the file's metadata; by it
            `precision=auto` decides.
        half: keep floats in 16 bits.
        overwrite: replace a file that is there.

    Returns:
        The metadata written beside the tensors, as those of `import_weights`; `digest` is that of
        the network once it has loaded the file.

    Raises:
        ConfigError: no such model.
        WeightsError: the checkpoint cannot be read or does not fit, or `output` is there already.
    """
    arguments = read_arguments(checkpoint)
    trained = read_state(checkpoint)
    network = build_stated(name, arguments, trained, checkpoint)
    network.prepare_for(trained)
    load_weights(network, trained, str(checkpoint))
    state = {key: _halved(value) if half else value for key, value in network.state_dict().items()}
    load_weights(network, state, name)  # as readers do: halves have zeros with a sign
    metadata = {
        "model": name,
        "arguments": json.dumps(arguments, sort_keys=True),
        "source": Path(checkpoint).resolve().parent.parent.name,
        "training": json.dumps(training or {}),
        "precision_loss_db": json.dumps(dict(precision_loss_db or {})),
        "digest": digest(network.state_dict()),
    }
    save_state(output, state, metadata, overwrite=overwrite)
    return metadata


def _halved(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float16) if tensor.is_floating_point() else tensor


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a safetensors file, from its header alone."""
    with safe_open(path, framework="pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118

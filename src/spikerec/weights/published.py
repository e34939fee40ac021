"""Weights that authors published, under our names: loaded as they are, or imported to a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from spikerec.configs import build, load_config
from spikerec.kinds import checked
from spikerec.weights.checkpoint import digest, read_state
from spikerec.weights.states import load_weights, strip_wrappers
from spikerec.weights.writing import save_state

if TYPE_CHECKING:
    from spikerec.models.base import Network


@checked
def load_published(
    name: str,
    state_dict: Mapping[str, Tensor],
    *,
    source: str | None = None,
    **arguments: Any,  # noqa: ANN401 - whatever the model's config takes
) -> Network:
    """A network with published weights, in eval mode.

    Its output scale is that of the published weights, unless an argument states another.

    Args:
        name: a choice of `conf/model`.
        state_dict: the authors' tensors under the authors' names, with or without `module.`.
        source: what an error calls the weights, a file name say.
        **arguments: what differs from `conf/model/NAME.yaml`.

    Raises:
        ConfigError: no such model, or an argument it does not take.
        WeightsError: names are missing, left over, or of another shape.
    """
    network: Network = build("model", name, **arguments)
    scale = arguments.get("output_scale", network.published_output_scale)
    if network.output_scale != scale:
        network = build("model", name, **arguments | {"output_scale": scale})
    renamed = network.from_published(strip_wrappers(state_dict))
    network.prepare_for(renamed)
    load_weights(network, renamed, source or f"The published state dict for model={name}")
    return network.eval()


@checked
def import_weights(
    path: str | Path,
    name: str,
    output: str | Path,
    *,
    overwrite: bool = False,
    about: Mapping[str, str] | None = None,
    **arguments: Any,  # noqa: ANN401 - whatever the model's config takes
) -> dict[str, str]:
    """Turn an authors' checkpoint into a safetensors file under our names.

    Args:
        path: the authors' file, in any form that `read_state` reads.
        name: a choice of `conf/model`.
        output: the `.safetensors` file to write.
        overwrite: replace a file that is there.
        about: further facts to write beside the tensors, such as the licence.
        **arguments: what differs from `conf/model/NAME.yaml`.

    Returns:
        The metadata written beside the tensors: `model`, `arguments` (JSON: all that the network
        was built with), `source` (the authors' file name) and `digest` (of the tensors written).

    Raises:
        ConfigError: no such model, or an argument it does not take.
        WeightsError: the file cannot be read or does not fit, or `output` is there already.
    """
    network = load_published(name, read_state(path), source=str(path), **arguments)
    state = network.state_dict()
    config = load_config("model", name, **arguments)
    config.pop("_target_")
    config["output_scale"] = network.output_scale
    metadata = {
        "model": name,
        "arguments": json.dumps(config, sort_keys=True),
        "source": Path(path).name,
        "digest": digest(state),
        **(about or {}),
    }
    save_state(output, state, metadata, overwrite=overwrite)
    return metadata

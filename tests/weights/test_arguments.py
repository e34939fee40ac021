"""A file's arguments never cost more than the file, and what is wrong with them is one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from spikerec.configs import build, config_names, load_config
from spikerec.errors import WeightsError
from spikerec.weights.arguments import build_stated
from spikerec.weights.checkpoint import read_arguments
from spikerec.weights.shipped import pack_weights
from spikerec.weights.trained import load
from tests.hangs import no_hang

ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)

#: Values that a file may not state, whatever argument they are for.
REFUSED = {
    "number": 10**30,
    "large number": -(10**7),
    "NaN": float("nan"),
    "infinity": float("inf"),
    "long text": "x" * 1_000,
    "long list": [1] * 100_000,
    "deep": [[[[[[[[1]]]]]]]],
    "endless": ENDLESS,
    "bytes": b"41",
    "tensor": torch.zeros(1),
}


def checkpoint(folder: Path, arguments: object, name: str = "fast") -> Path:
    """A run's checkpoint of the network whose description says something else."""
    path = folder / "run" / "checkpoints" / "best.ckpt"
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {f"network.{key}": value for key, value in build("model", name).state_dict().items()}
    about = {"model": arguments}
    torch.save({"pytorch-lightning_version": "2", "state_dict": state, "spikerec": about}, path)
    return path


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_value_beyond_its_bound_is_refused_before_anything_is_built(
    value: object, tmp_path: Path
) -> None:
    path = checkpoint(tmp_path, {"window": value})
    with no_hang(), pytest.raises(WeightsError, match=r"best\.ckpt states .* refused"):
        read_arguments(path)
    with no_hang(), pytest.raises(WeightsError, match=r"best\.ckpt states"):
        pack_weights(path, "fast", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": [100_000, 100_000]}, "make a network of more than .* numbers"),
        ({"filters": 1_000_000}, "make a network of more than .* numbers"),
        ({"windows": 3}, "cannot be built.*'windows'"),
        ({"channels": 7}, "cannot be built"),
        ({"window": "41"}, "cannot be built"),
        ({"window": {"a": [1]}}, "cannot be built"),
        ({"blocks": [-3, None]}, "cannot be built"),
        ({"output_scale": 3}, "cannot be built.*output_scale"),
    ],
)
def test_arguments_that_make_no_network_of_the_files_size(
    arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    stated = f"best.ckpt states arguments of model=fast.*{message}"
    with no_hang(), pytest.raises(WeightsError, match=stated):
        pack_weights(checkpoint(tmp_path, arguments), "fast", tmp_path / "out.safetensors")


@pytest.mark.parametrize("scale", ["x", 3, -0.5, [0.5]])
def test_output_scale_that_is_none_names_the_file(scale: object, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"best\.ckpt states an output scale that is none"):
        load("fast", checkpoint=checkpoint(tmp_path, {"output_scale": scale}))


@pytest.mark.parametrize("name", config_names("model"))
def test_every_network_is_built_by_its_own_arguments(name: str) -> None:
    arguments = {key: value for key, value in load_config("model", name).items() if key[0] != "_"}
    state = {key: tensor.to("meta") for key, tensor in build("model", name).state_dict().items()}
    network = build_stated(name, arguments, state, "a.ckpt")
    assert network.state_dict().keys() == state.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", config_names("model"))
def test_no_number_makes_a_network_of_a_small_file_large(name: str) -> None:
    known = {key: value for key, value in load_config("model", name).items() if key[0] != "_"}
    for key in known:
        for value in (1_000_000, 999_999, 0, -1, [1_000_000] * 3, "x", None):
            with no_hang():
                try:
                    build_stated(name, {key: value}, {"a": torch.zeros(10)}, "a.ckpt")
                except WeightsError as error:
                    assert "a.ckpt states" in str(error)  # noqa: PT017 (others are let out)

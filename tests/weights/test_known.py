"""Checkpoints that know themselves, and weights under the keys where training code keeps them."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import spikerec
from spikerec.describing import describe
from spikerec.errors import ConfigError, WeightsError
from spikerec.models import STIR, Fast
from spikerec.models.base import Network
from spikerec.weights import digest, read_state, save_state
from spikerec.weights.trained import load_checkpoint, load_trained, model_of

SMALL: dict[str, Any] = {"window": 21, "filters": 4, "channels": [8], "blocks": [1]}

OWN = """
from pathlib import Path
from torch import nn
from spikerec.models.base import Network, Reconstruction

Path(__file__).with_name("was_run").touch()

class Plain(Network):
    def __init__(self, window=5, output_scale=1.0):
        super().__init__(window, output_scale)
        self.last = nn.Conv2d(window, 1, 1)

    def forward(self, spikes):
        return Reconstruction(self.last(spikes))

class Wider(Plain):
    pass

class Alone:
    def __init__(self, **arguments):
        Path(__file__).with_name("was_made").touch()
"""


def save_run(path: Path, state: dict[str, Tensor], description: object) -> Path:
    """A checkpoint as our training runs write it."""
    torch.save(
        {
            "pytorch-lightning_version": "2.6",
            "state_dict": {f"network.{name}": tensor for name, tensor in state.items()},
            "spikerec": {"model": description},
        },
        path,
    )
    return path


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of the user's own code, where Python finds modules."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "own_network.py").write_text(OWN)
    (folder / "own_package").mkdir()
    (folder / "own_package" / "__init__.py").write_text("from .deep import Deep as Shown\n")
    deep = "from own_network import Wider\nclass Deep(Wider):\n    pass\n"
    (folder / "own_package" / "deep.py").write_text(deep)
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name in [one for one in sys.modules if one.startswith("own_")]:
        del sys.modules[name]


@pytest.mark.parametrize("suffix", ["best.ckpt", "packed.safetensors"])
def test_checkpoint_alone_rebuilds_its_network(tmp_path: Path, suffix: str) -> None:
    network = Fast(**SMALL, output_scale=0.6)
    path = save_run(tmp_path / "best.ckpt", network.state_dict(), describe(network, "model"))
    if suffix != "best.ckpt":
        from spikerec.weights.shipped import pack_weights

        pack_weights(path, "fast", tmp_path / suffix)
    for given in (tmp_path / suffix, str(tmp_path / suffix)):
        loaded = spikerec.load(given)
        assert isinstance(loaded, Fast)
        assert (loaded.window, loaded.output_scale, loaded.training) == (21, 0.6, False)
        assert digest(loaded.state_dict()) == digest(network.state_dict())
        assert model_of(loaded) == "fast"


def test_weights_that_are_not_those_of_their_digest_are_refused(tmp_path: Path) -> None:
    network = Fast(**SMALL)
    state = network.state_dict()
    about = {"model": "fast", "arguments": json.dumps(SMALL), "digest": "0" * 64}
    save_state(tmp_path / "a.safetensors", state, about)
    with pytest.raises(WeightsError, match="states another digest than its weights have"):
        spikerec.load(tmp_path / "a.safetensors")
    save_state(tmp_path / "b.safetensors", state, about | {"digest": digest(state)})
    assert spikerec.load(tmp_path / "b.safetensors").window == SMALL["window"]


def test_checkpoint_that_disagrees_with_the_model_is_refused(tmp_path: Path) -> None:
    network = Fast(**SMALL)
    path = save_run(tmp_path / "best.ckpt", network.state_dict(), describe(network, "model"))
    with pytest.raises(WeightsError, match=r"weights of Fast, and the network is STIR: choose"):
        spikerec.load("stir", path)
    with pytest.raises(WeightsError, match=r"trained with window=21, found window=61; filters=4"):
        spikerec.load("fast", path)
    assert spikerec.load("fast", path, **SMALL, choice=False).window == 21
    with pytest.raises(ConfigError, match="no other beside it"):
        spikerec.load(path, path)


def test_class_of_ones_own_is_found_where_python_finds_it(own: Path, tmp_path: Path) -> None:
    state = {"last.weight": torch.ones(1, 5, 1, 1), "last.bias": torch.zeros(1)}
    for name in ("own_network.Plain", "own_network.Wider", "own_package.Shown"):
        path = save_run(tmp_path / "own.ckpt", state, {"_target_": name, "window": 5})
        loaded = load_checkpoint(path)
        assert isinstance(loaded, Network)
        assert digest(loaded.state_dict()) == digest(state)
    assert model_of(loaded) == "deep"
    assert own.is_dir()


@pytest.mark.parametrize(
    "name",
    [
        *("os.system", "subprocess.Popen", "builtins.eval", "torch.nn.Linear", "torch.load"),
        *("own_network.Alone", "own_network.nothing", "own_network", "__main__.Net", "a b.C"),
        *("spikerec.fetch.Downloader", "antigravity.x", "no_such_module.Net", "../evil.Net"),
    ],
)
def test_name_of_anything_else_runs_nothing(own: Path, tmp_path: Path, name: str) -> None:
    path = save_run(tmp_path / "evil.ckpt", {"a": torch.ones(1)}, {"_target_": name, "args": "ls"})
    with pytest.raises(WeightsError, match=r"evil\.ckpt was trained with"):
        spikerec.load(path)
    assert sorted(one.name for one in own.iterdir()) == ["own_network.py", "own_package"]


def test_arguments_are_plain_values_that_fit_the_file(tmp_path: Path) -> None:
    state = Fast(**SMALL).state_dict()
    target = {"_target_": "spikerec.models.fast.Fast"}
    for wrong, message in (
        ({"filters": {"_target_": "os.system"}}, "names code to run"),
        ({"filters": 10**9}, "1000000000"),
        ({"channels": [4096]}, "more than"),
        ({"nonesuch": 1}, "cannot be built"),
        ({"window": "${oc.env:HOME}"}, "value of this machine"),
    ):
        path = save_run(tmp_path / "evil.ckpt", state, target | SMALL | wrong)
        with pytest.raises(WeightsError, match=message):
            spikerec.load(path)


def test_file_that_does_not_know_itself_says_how_to_name_it(tmp_path: Path) -> None:
    torch.save(Fast(**SMALL).state_dict(), tmp_path / "plain.pth")
    with pytest.raises(WeightsError, match=r"does not say which network.*model=stir"):
        spikerec.load(tmp_path / "plain.pth")
    path = save_run(tmp_path / "odd.ckpt", {"a": torch.ones(1)}, {"_target_": [1]})
    with pytest.raises(WeightsError, match="states its network's class as a list"):
        spikerec.load(path)


STATE = {"a.weight": torch.ones(2), "b": torch.zeros(3)}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        *(
            lambda state, key=key: {"epoch": 3, key: state, "optimizer": {"state": {0: {"m": 1}}}}
            for key in ("state_dict", "model_state_dict", "model", "params", "params_ema", "net")
        ),
        lambda state: {"model": {"state_dict": state}},
        lambda state: {"ema": {"decay": 0.9, "shadow": state}},
        lambda state: {"state_dict": state, "rng": {"torch": torch.ones(1)}},
        lambda state: {"odd_name": state},
        lambda state: {f"module.{name}": one for name, one in state.items()},
        lambda state: (
            {"n_averaged": torch.tensor(3)} | {f"module.{name}": one for name, one in state.items()}
        ),
    ],
)
def test_weights_are_found_under_the_usual_keys(
    tmp_path: Path, wrap: Callable[[dict[str, Tensor]], object]
) -> None:
    torch.save(wrap(STATE), tmp_path / "theirs.pth")
    found = read_state(tmp_path / "theirs.pth")
    assert digest(found) == digest(STATE)


def test_average_of_weights_is_taken_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "theirs.pth"
    other = {name: tensor + 1 for name, tensor in STATE.items()}
    torch.save({"params": STATE, "params_ema": other}, path)
    with caplog.at_level(logging.WARNING):
        assert digest(read_state(path)) == digest(other)
    assert "under params and params_ema: params_ema, the average over training" in caplog.text
    assert f"{path}#params names the other" in caplog.text
    assert digest(read_state(f"{path}#params")) == digest(STATE)


def test_of_several_others_one_must_be_named(tmp_path: Path) -> None:
    path = tmp_path / "theirs.pth"
    torch.save({"generator": STATE, "net": {"c": torch.ones(1)}}, path)
    with pytest.raises(
        WeightsError, match=r"under generator, net: name the one to use, as in .*#generator"
    ):
        read_state(path)
    assert list(read_state(f"{path}#net")) == ["c"]
    with pytest.raises(WeightsError, match="no weights under nonesuch: expected one of generator"):
        read_state(f"{path}#nonesuch")


def test_form_of_shipped_weights_is_settled_by_them() -> None:
    assert spikerec.load("fast_wide").window == 61
    assert model_of(STIR()) == "stir"


class Renamed(Fast):
    """A network whose authors put `their_` before each name."""

    published_names = (("^their_", ""),)


def test_weights_under_the_authors_names_are_to_be_imported(tmp_path: Path) -> None:
    state = {f"their_{name}": value for name, value in Fast(**SMALL).state_dict().items()}
    torch.save(state, tmp_path / "authors' own.pth")
    with pytest.raises(WeightsError, match=r"under the authors' names.*weights import .*own.pth"):
        load_trained(partial(Renamed, **SMALL), tmp_path / "authors' own.pth")
    torch.save(dict(list(state.items())[1:]), tmp_path / "part.pth")
    with pytest.raises(WeightsError, match="does not fit Renamed"):
        load_trained(partial(Renamed, **SMALL), tmp_path / "part.pth")

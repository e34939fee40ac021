"""Files and configurations of strangers run nothing, wherever they name it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py  # noqa: F401 (its first import starts a process, which the tests would count)
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from spikerec.configs import build, config_dir
from spikerec.errors import ConfigError, WeightsError
from spikerec.models.base import Network
from spikerec.targets import BASES, check_hydra, make, refuse_targets
from spikerec.weights import load_weights
from spikerec.weights.checkpoint import read_arguments
from spikerec.weights.shipped import pack_weights

HOSTILE = [
    *("os.system", "os.popen", "os.execv", "os.remove", "posix.system", "nt.system", "_io.open"),
    *("builtins.eval", "builtins.exec", "builtins.open", "builtins.compile"),
    *("builtins.__import__", "builtins.getattr", "subprocess.run", "subprocess.Popen"),
    *("subprocess.check_output", "pathlib.Path", "pathlib.Path.write_text", "shutil.rmtree"),
    *("shutil.move", "functools.partial", "functools.reduce", "operator.methodcaller"),
    *("operator.attrgetter", "importlib.import_module", "importlib.util.find_spec"),
    *("runpy.run_path", "code.interact", "pickle.loads", "pickle.Unpickler", "marshal.loads"),
    *("ctypes.CDLL", "webbrowser.open", "antigravity.geohash", "socket.socket"),
    *("urllib.request.urlopen", "multiprocessing.Process", "threading.Thread"),
    *("tempfile.NamedTemporaryFile", "logging.FileHandler", "logging.config.dictConfig"),
    *("types.FunctionType", "atexit.register", "hydra.utils.get_method", "hydra.utils.get_class"),
    *("hydra.utils.instantiate", "hydra.utils.call", "hydra.utils.get_object"),
    *("hydra._internal.utils._locate", "omegaconf.OmegaConf.load", "yaml.unsafe_load"),
    *("yaml.load", "numpy.load", "numpy.fromfile", "numpy.memmap", "numpy.save"),
    *("numpy.os.system", "numpy.loadtxt", "numpy.f2py.compile", "pandas.read_pickle"),
    *("pandas.eval", "joblib.load", "cloudpickle.loads", "dill.loads", "PIL.Image.open"),
    *("h5py.File", "av.open", "torch.load", "torch.save", "torch.hub.load"),
    *("torch.hub.download_url_to_file", "torch.hub.load_state_dict_from_url", "torch.jit.load"),
    *("torch.package.PackageImporter", "torch.ops.load_library", "torch.classes.load_library"),
    *("torch.utils.cpp_extension.load", "torch.utils.cpp_extension.load_inline"),
    *("torch.utils.data.DataLoader", "torch.utils.tensorboard.SummaryWriter"),
    *("torch.multiprocessing.spawn", "torch.distributed.run.main", "torch.os.system"),
    *("torch.nn.Module.__init__", "torch.nn.Module.__init_subclass__", "torch.__builtins__.eval"),
    *("torch.fx.Interpreter", "torch.onnx.export", "torch.compile"),
    *("lightning.pytorch.trainer.trainer.os.system", "lightning.fabric.utilities.cloud_io._load"),
    *("lightning.fabric.utilities.seed.seed_everything"),
    *("lightning.pytorch.core.saving.load_hparams_from_yaml", "torchmetrics.functional.psnr"),
    *("pyiqa.create_metric", "pyiqa.utils.download_util.load_file_from_url", "lpips.load_image"),
    *("lpips.im2tensor", "spikerec.cli.main", "spikerec.cli.importlib", "spikerec.open"),
    *("spikerec.load", "spikerec.reconstruct", "spikerec.spikes.save"),
    *("spikerec.spikes.DatWriter", "spikerec.spikes.files.atomic_path"),
    *("spikerec.spikes.files.Unfinished", "spikerec.spikes.files.lock_folder"),
    *("spikerec.streaming.sinks.videos.VideoFile", "spikerec.streaming.viewer.serve"),
    *("spikerec.fetch.write_atomically", "spikerec.weights.read_state"),
    *("spikerec.weights.import_weights", "spikerec.results.Store", "spikerec.training.Run"),
    *("spikerec.targets.make", "spikerec.configs.build"),
]

NO_NAMES: list[Any] = [
    *("", "os", ".os.system", "os..system", "os.system ", "os.system\n", "eval", "os/system"),
    *("a b.c", "torch.nn.Linear()", "__import__('os').system"),
    *(None, 1, True, ["os.system"], {"a": "os.system"}),
]

#: Events of the interpreter that none of these may cause.
DEEDS = {
    *("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen"),
    *("shutil.move", "webbrowser.open", "socket.connect", "urllib.Request"),
}

_done: list[str] | None = None


def _watch(event: str, _: object) -> None:
    if _done is not None and event in DEEDS:
        _done.append(event)


sys.addaudithook(_watch)


@pytest.fixture(autouse=True)
def _nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Watch the interpreter for commands, removals, connections and unpickled classes."""
    done: list[str] = []
    monkeypatch.setattr(sys.modules[__name__], "_done", done)
    yield
    assert done == []


def built(node: object, kind: type | None = None) -> object:
    return make(node, kind, "model", config_dir())


def test_the_table_is_long() -> None:
    assert len(set(HOSTILE)) > 100


# Modules of PyTorch's that import distutils.
@pytest.mark.filterwarnings("ignore:The distutils package is deprecated")
@pytest.mark.filterwarnings("ignore:Distutils was imported before Setuptools")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_target_in_a_configuration(name: str) -> None:
    refusal = r"may not be named|cannot be imported|must be the full name"
    hostile = {"_target_": name}
    tfp = {"_target_": "spikerec.models.tfp.TFP"}
    for node in (
        hostile,
        hostile | {"_partial_": True},
        tfp | {"window": hostile},
        tfp | {"window": hostile | {"_partial_": True}},
        tfp | {"window": [1, {"a": [hostile]}]},
    ):
        with pytest.raises(ConfigError, match=refusal):
            built(node)


@pytest.mark.parametrize("name", NO_NAMES)
def test_target_that_is_no_name(name: object) -> None:
    with pytest.raises(ConfigError, match=r"model\._target_(=.*may not| must be the full name)"):
        built({"_target_": name})


@pytest.mark.parametrize(
    "trick",
    [
        {"_args_": ["id"]},
        {"_recursive_": False},
        {"_convert_": "object"},
        {"_partial_": "yes", "_call_": 1},
    ],
)
def test_marks_of_hydra_are_no_arguments(trick: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="by its arguments alone"):
        built({"_target_": "torch.nn.Identity"} | trick)


def test_class_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"must be a Network, found lightning\.Trainer"):
        built({"_target_": "lightning.Trainer"}, Network)


def test_classes_that_people_name_are_built() -> None:
    linear = built({"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3})
    assert isinstance(linear, nn.Linear)
    later: Any = built({"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.5})
    assert later(linear.parameters()).defaults["lr"] == 0.5
    callback = built({"_target_": "lightning.pytorch.callbacks.Timer", "duration": "00:01:00:00"})
    assert type(callback).__name__ == "Timer"


def test_subclass_of_ours_in_another_package_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs.py").write_text(
        "from spikerec.models.tfp import TFP\n"
        "class Mine(TFP):\n    pass\n"
        "class Other:\n    pass\n"
        "def function():\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert isinstance(built({"_target_": "theirs.Mine", "window": 3}, Network), Network)
    for name in ("theirs.Other", "theirs.function"):
        with pytest.raises(ConfigError, match="may not be named"):
            built({"_target_": name})


def test_bases_are_where_they_are_said_to_be() -> None:
    for name in BASES:
        module, _, last = name.rpartition(".")
        found = getattr(__import__(module, fromlist=[last]), last)
        assert f"{found.__module__}.{found.__qualname__}" == name


@pytest.mark.parametrize("part", ["sweeper", "launcher", "callbacks"])
@pytest.mark.parametrize("name", ["os.system", "torch.hub.load", "functools.partial"])
def test_hostile_target_in_what_hydra_builds(part: str, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"hydra\.{part}\.a\.b\._target_={name} may not"):
        check_hydra({part: {"a": {"b": {"_target_": name}}}}, config_dir())


@pytest.mark.parametrize(
    "handler",
    [
        {"()": "os.system", "command": "id"},
        {"class": "subprocess.Popen", "args": "id"},
        {"class": "logging.os.system"},
        {"class": "logging.StreamHandler", "stream": "ext://os.environ"},
    ],
)
def test_hostile_logging(handler: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"hydra\.job_logging\.handlers\.a\..* must be"):
        check_hydra({"job_logging": {"handlers": {"a": handler}}}, config_dir())


HOSTILE_VALUES = [
    *({"_target_": name, "command": "id"} for name in HOSTILE),
    {"_partial_": True},
    {"_args_": ["id"]},
    "${oc.env:HOME}",
    "a ${oc.env:HOME} b",
    "${oc.decode:'[1]'}",
    "${hydra:runtime.cwd}",
]


def placed(value: object) -> list[Any]:
    """A value wherever a description may hold one."""
    return [{"window": value}, {"window": [1, [value]]}, {"a": {"b": {"c": value}}}]


@pytest.mark.parametrize("value", HOSTILE_VALUES, ids=str)
def test_hostile_value_in_a_file_that_travels(value: object) -> None:
    for content in placed(value):
        with pytest.raises(ConfigError, match=r"^x\.ckpt (names code|asks for a value)"):
            refuse_targets(content, "x.ckpt")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Any:
    """Write the shipped network's weights as a run's checkpoint that describes itself so."""
    path = tmp_path / "run" / "checkpoints" / "best.ckpt"
    path.parent.mkdir(parents=True)
    state = build("model", "fast").state_dict()

    def write(description: object) -> Path:
        content = {
            "pytorch-lightning_version": "2.6",
            "state_dict": {f"network.{name}": tensor for name, tensor in state.items()},
            "spikerec": {"model": description},
        }
        torch.save(content, path)
        return path

    return write


VALUES_OF_ALL_KINDS = ["os.system", "torch.hub.load", "functools.partial"]


@pytest.mark.parametrize("name", VALUES_OF_ALL_KINDS)
def test_hostile_checkpoint_is_not_packed(name: str, checkpoint: Any, tmp_path: Path) -> None:
    for description in placed({"_target_": name, "command": "id"}):
        path = checkpoint({"_target_": "spikerec.models.fast.Fast"} | description)
        with pytest.raises(WeightsError, match="names code to run"):
            pack_weights(path, "fast", tmp_path / "out.safetensors")
        assert not (tmp_path / "out.safetensors").exists()


def test_class_in_a_checkpoint_is_not_looked_at(checkpoint: Any, tmp_path: Path) -> None:
    pack_weights(checkpoint({"_target_": "os.system"}), "fast", tmp_path / "out.safetensors")


@pytest.mark.parametrize("name", VALUES_OF_ALL_KINDS)
def test_hostile_safetensors(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for description in placed({"_target_": name, "command": "id"}):
        save_file({"a": torch.zeros(1)}, path, {"arguments": json.dumps(description)})
        with pytest.raises(WeightsError, match="names code to run"):
            read_arguments(path)


@pytest.mark.parametrize("text", ["{", "[]", "3", "[" * 100_000])
def test_arguments_of_safetensors_that_are_none(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(1)}, path, {"arguments": text})
    with pytest.raises(WeightsError, match=r"x\.safetensors"):
        read_arguments(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    network = build("model", "fast")
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    name = next(iter(state))
    state[name].view(-1)[0] = value
    with pytest.raises(WeightsError, match=rf"best\.ckpt holds values .* not finite.*\({name}\)"):
        load_weights(network, state, "best.ckpt")

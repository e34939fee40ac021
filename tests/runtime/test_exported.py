from __future__ import annotations

import json
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch

from spikerec.errors import ConfigError, DataError, DataNotFoundError
from spikerec.inference.statement import STATEMENT
from spikerec.models.base import Network
from spikerec.runtime.exported import Exported, _threads
from tests.fakes import fake_spikes
from tests.runtime.conftest import SIZE

Pair = tuple[Network, Path]


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_its_image_is_the_networks(small: Pair, engine: str) -> None:
    pytest.importorskip(engine)
    network, path = small
    window = fake_spikes(9, *SIZE)
    with torch.no_grad():
        expected = network.reconstruct(torch.from_numpy(window)[None], network.output_scale or 1.0)
    found = Exported(path, engine)  # type: ignore[arg-type]
    assert (found.window, found.key_readout, found.name) == (9, 4, "Fast")
    assert found.output_scale == network.output_scale
    np.testing.assert_allclose(found.image(window), expected.image[0, 0], atol=1e-5)


def test_what_it_cannot_do_is_said(small: Pair, tmp_path: Path) -> None:
    _, path = small
    with pytest.raises(ConfigError, match="engine must be onnxruntime or openvino, found"):
        Exported(path, "torch")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"precision=bf16 .* float32, or engine=openvino"):
        Exported(path, precision="bf16")
    with pytest.raises(DataNotFoundError, match=r"none.onnx does not exist: expected the .onnx"):
        Exported(tmp_path / "none.onnx")
    (tmp_path / "a.pt2").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"expected the .onnx of spikerec export"):
        Exported(tmp_path / "a.pt2")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("content", [b"", b"abc", b"\x08\x07" * 40])
def test_what_is_no_onnx_file_is_refused(content: bytes, engine: str, tmp_path: Path) -> None:
    pytest.importorskip(engine)
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(DataError, match=r"a.onnx cannot be read as ONNX"):
        Exported(tmp_path / "a.onnx", engine)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"window": 9', '"window": 10'),
        ('"window": 9', '"window": "9"'),
        ('"key_readout": 4, ', ""),
        ('"key_readout": 4', '"key_readout": 9'),
        ('"size": [13, 18]', '"size": [18, 13]'),
        ('"size": [13, 18]', '"size": [13]'),
        ('"size": [13, 18]', '"size": [100000, 100000]'),
        ('"window": 9', '"window": 1000000000'),
        (".Fast", ".\\u001b[31mFast"),
        ('"weights": "', '"weights": "\\u0007'),
        ('"weights"', '"weight"'),
        ("{", "["),
    ],
)
def test_a_statement_that_cannot_be_is_refused(
    small: Pair, old: str, new: str, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(small[1]))
    (prop,) = [one for one in model.metadata_props if one.key == STATEMENT]
    assert old in prop.value
    prop.value = new.join(prop.value.rsplit(old, 1))  # arguments state the window too
    onnx.save(model, str(tmp_path / "a.onnx"))
    with pytest.raises(DataError, match=r"a.onnx"):
        Exported(tmp_path / "a.onnx")


def test_a_file_of_another_program_is_refused(small: Pair, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(small[1]))
    del model.metadata_props[:]
    onnx.save(model, str(tmp_path / "a.onnx"))
    with pytest.raises(DataError, match="does not state its network as this spikerec's export"):
        Exported(tmp_path / "a.onnx")


def one_node(path: Path, operation: str, weight: float) -> None:
    """Write a file of one operation on windows of 3 × 4 × 5, and what export would state of it."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    held = onnx.numpy_helper.from_array(np.full((1, 3, 1, 1), weight, np.float32), "w")
    names = ["x", "w"] if operation == "Conv" else ["x"]
    graph = helper.make_graph(
        [helper.make_node(operation, names, ["y"])],
        "g",
        [helper.make_tensor_value_info("x", kind, [1, 3, 4, 5])],
        [helper.make_tensor_value_info("y", kind, None)],
        [held] if operation == "Conv" else [],
    )
    versions = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=versions, ir_version=8)
    facts = {"network": "a.B", "arguments": None, "weights": "0" * 64, "window": 3}
    facts |= {"key_readout": 1, "output_scale": None, "size": [4, 5]}
    model.metadata_props.add(key=STATEMENT, value=json.dumps(facts))
    onnx.save(model, str(path))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    ("operation", "weight", "message"),
    [
        ("Conv", np.nan, "not made of finite numbers: the weights"),
        ("Identity", 1.0, "computes no image of 4 × 5"),
    ],
)
def test_what_is_no_image_is_refused(
    operation: str, weight: float, message: str, engine: str, tmp_path: Path
) -> None:
    pytest.importorskip(engine)
    one_node(tmp_path / "a.onnx", operation, weight)
    with pytest.raises(DataError, match=message):
        Exported(tmp_path / "a.onnx", engine).image(fake_spikes(3, 4, 5))  # type: ignore[arg-type]


def test_an_engine_that_fails_is_named(small: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_window: object) -> NoReturn:
        raise RuntimeError("Non-zero status code returned while running a node")

    network = Exported(small[1])
    monkeypatch.setattr(network, "_run", fail)
    with pytest.raises(DataError, match=r"cannot be computed by onnxruntime \(RuntimeError\)"):
        network.image(fake_spikes(9, *SIZE))


def test_the_environment_may_ask_for_fewer_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert _threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert _threads() >= 1

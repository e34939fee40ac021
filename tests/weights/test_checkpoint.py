"""Checkpoints are read without running them, whatever their form."""

from __future__ import annotations

import os
import pickle  # noqa: TID251 - builds the hostile files that must not run
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from spikerec.errors import WeightsError, WeightsNotFoundError
from spikerec.weights.checkpoint import digest, read_arguments, read_metadata, read_state
from spikerec.weights.pickles import OWN_KEY, StandIn
from spikerec.weights.states import _walk, load_weights
from spikerec.weights.writing import save_state
from tests.hangs import no_hang


@pytest.fixture
def state() -> dict[str, Tensor]:
    return {
        "conv.weight": torch.randn(3, 2, 3, 3),
        "conv.bias": torch.randn(3),
        "norm.num_batches_tracked": torch.tensor(7),
    }


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


def wrapped(state: dict[str, Tensor]) -> OrderedDict[str, Tensor]:
    return OrderedDict((f"module.{name}", tensor) for name, tensor in state.items())


class Program:
    """A pickle of it runs a shell command in any reader that obeys pickles."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.fixture
def authors(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the authors' own code, importable only until the test takes it away."""
    module = ModuleType("authors_code")

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.ReLU())
            self.tail = nn.ModuleList([nn.Conv1d(1, 1, 3)])
            self.register_buffer("filter", torch.randn(1, 1, 4))
            self.register_buffer("scratch", torch.zeros(9), persistent=False)

    class Config:
        def __init__(self) -> None:
            self.save_dir = Path("somewhere")
            self.values = OrderedDict(lr=1e-4, names={"a", "b"})

    for cls in (Net, Config):
        cls.__module__ = "authors_code"
        cls.__qualname__ = cls.__name__
        setattr(module, cls.__name__, cls)
    monkeypatch.setitem(sys.modules, "authors_code", module)
    return module


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("form", ["bare", "wrapped", "under state_dict"])
def test_state_dicts_are_read_in_every_published_form(
    tmp_path: Path, state: dict[str, Tensor], form: str, legacy: bool
) -> None:
    content = {"bare": state, "wrapped": wrapped(state)}.get(
        form, {"epoch": 3, "state_dict": wrapped(state)}
    )
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    assert_same(read_state(tmp_path / "a.pth"), state)


def test_prefix_that_only_some_names_have_is_kept(tmp_path: Path, state: dict[str, Tensor]) -> None:
    mixed = {"module.gain": torch.ones(2), **state}
    torch.save(mixed, tmp_path / "a.pth")
    assert_same(read_state(tmp_path / "a.pth"), mixed)


def test_safetensors_round_trip_keeps_tensors_and_metadata(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    save_state(tmp_path / "new" / "a.safetensors", state, {"model": "stir"})
    found = read_state(tmp_path / "new" / "a.safetensors")
    assert_same({name: found[name] for name in state}, state)
    assert len(found) == len(state)
    assert read_metadata(tmp_path / "new" / "a.safetensors") == {"model": "stir"}


def test_written_weights_are_as_readable_as_any_file_of_their_owner(tmp_path: Path) -> None:
    save_state(tmp_path / "a.safetensors", {"a": torch.zeros(3)}, {"model": "stir"})
    (tmp_path / "plain").touch()
    plain = (tmp_path / "plain").stat().st_mode
    assert (tmp_path / "a.safetensors").stat().st_mode == plain


def test_lightning_checkpoint_gives_the_network_alone(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    content = {
        "pytorch-lightning_version": "2.6.0",
        "epoch": 4,
        "spikerec": {"model": {"_target_": "x", "window": 61}},
        "state_dict": {f"network.{name}": tensor for name, tensor in state.items()}
        | {"loss.trunk.weight": torch.ones(3)},
    }
    torch.save(content, tmp_path / "last.ckpt")
    assert_same(read_state(tmp_path / "last.ckpt"), state)


def test_pickled_module_is_read_without_its_code(
    tmp_path: Path, authors: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = nn.DataParallel(authors.Net())
    torch.save(network, tmp_path / "model_best.pt")
    monkeypatch.delitem(sys.modules, "authors_code")
    assert_same(read_state(tmp_path / "model_best.pt"), network.module.state_dict())


def test_config_object_beside_the_weights_is_skipped(
    tmp_path: Path, authors: ModuleType, monkeypatch: pytest.MonkeyPatch, state: dict[str, Tensor]
) -> None:
    content = {"arch": "ETNet", "state_dict": state, "config": authors.Config()}
    torch.save(content, tmp_path / "a.pth.tar")
    monkeypatch.delitem(sys.modules, "authors_code")
    assert_same(read_state(tmp_path / "a.pth.tar"), state)


@pytest.mark.parametrize("place", ["alone", "beside weights", "raw pickle"])
def test_program_in_a_pickle_is_refused_and_never_runs(
    tmp_path: Path, state: dict[str, Tensor], place: str
) -> None:
    trace = tmp_path / "it_ran"
    program = Program(f"touch {trace}")
    path = tmp_path / "evil.pth"
    if place == "raw pickle":
        path.write_bytes(pickle.dumps(program, protocol=2))
    else:
        torch.save(program if place == "alone" else {"x": program, "state_dict": state}, path)
    with pytest.raises(WeightsError, match=r"evil\.pth") as caught:
        read_state(path)
    assert "\n" not in str(caught.value)
    assert not trace.exists()


def test_function_of_an_importable_package_is_never_called(
    tmp_path: Path, authors: ModuleType, monkeypatch: pytest.MonkeyPatch, state: dict[str, Tensor]
) -> None:
    def run(path: str) -> None:
        Path(path).touch()

    run.__module__, run.__qualname__ = "authors_code", "run"
    monkeypatch.setattr(authors, "run", run, raising=False)

    class Caller:
        def __reduce__(self) -> tuple[Any, ...]:
            return run, (str(tmp_path / "it_ran"),)

    torch.save({"state_dict": state, "config": Caller()}, tmp_path / "a.pth")
    assert_same(read_state(tmp_path / "a.pth"), state)
    assert not (tmp_path / "it_ran").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "flipped"])
def test_damaged_file_is_one_line_that_names_it(
    tmp_path: Path, state: dict[str, Tensor], suffix: str, damage: str
) -> None:
    path = tmp_path / f"damaged{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    content = path.read_bytes()
    path.write_bytes(
        {
            "truncated": content[: len(content) // 2],
            "empty": b"",
            "text": b"no checkpoint at all\n" * 9,
            "flipped": bytes(255 - byte for byte in content[:64]) + content[64:],
        }[damage]
    )
    with pytest.raises(WeightsError, match=f"damaged{suffix} is not a readable") as caught:
        read_state(path)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_flipped_bit_of_a_checkpoint_of_ours_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"
    torch.save({"state_dict": {"network.a": torch.ones(4096)}, OWN_KEY: {"model": {}}}, path)
    assert read_state(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"best\.ckpt is damaged: its bytes are not those"):
        read_state(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([1, 2], "found a list"),
        ({}, "found a dict of 0 entries"),
        (torch.ones(3), "found a Tensor"),
        ({"lr": 0.1}, "found a float at 'lr'"),
        ({"state_dict": {3: torch.ones(3)}}, "found a Tensor at 3"),
    ],
)
def test_file_without_a_state_dict_says_what_it_holds(
    tmp_path: Path, content: Any, found: str
) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=found):
        read_state(tmp_path / "a.pt")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match=r"nowhere\.pth"):
        read_state(tmp_path / "nowhere.pth")


def test_saving_replaces_a_file_only_when_asked(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "a.safetensors"
    save_state(path, state, {"version": "1"})
    with pytest.raises(WeightsError, match="exists already"):
        save_state(path, state, {"version": "2"})
    assert read_metadata(path) == {"version": "1"}
    save_state(path, state, {"version": "2"}, overwrite=True)
    assert read_metadata(path) == {"version": "2"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_saving_takes_strided_and_shared_tensors(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    save_state(tmp_path / "a.safetensors", {"a": base, "b": base.T}, {})
    assert_same(read_state(tmp_path / "a.safetensors"), {"a": base, "b": base.T})


def test_digest_is_that_of_the_tensors_in_any_format_and_order(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    torch.save({"state_dict": wrapped(state)}, tmp_path / "a.pth")
    save_state(tmp_path / "a.safetensors", state, {"note": "any"})
    reordered = dict(reversed(state.items()))
    found = {digest(s) for s in (state, reordered, tmp_path / "a.pth", tmp_path / "a.safetensors")}
    assert len(found) == 1


def test_digest_tells_values_names_types_and_shapes_apart(state: dict[str, Tensor]) -> None:
    bias = state["conv.bias"]
    variants = [
        state,
        {**state, "conv.bias": torch.nextafter(bias, bias + 1)},
        {**state, "conv.bias": bias[None]},
        {**state, "conv.bias": bias.view(torch.int32)},
        {name.replace("bias", "shift"): tensor for name, tensor in state.items()},
    ]
    assert len({digest(variant) for variant in variants}) == len(variants)


def test_weights_that_do_not_fit_are_all_listed() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 1, 3))
    state = network.state_dict()
    state["0.weight"] = torch.zeros(2, 5, 3, 3)
    del state["1.bias"]
    state["2.gain"] = torch.zeros(1)
    before = network[1].weight.clone()
    with pytest.raises(WeightsError) as caught:
        load_weights(network, state, "a.safetensors")
    message = str(caught.value)
    assert "a.safetensors does not fit Sequential" in message
    assert "1 missing (1.bias)" in message
    assert "1 left over (2.gain)" in message
    assert "0.weight (2, 5, 3, 3), expected (2, 1, 3, 3)" in message
    assert torch.equal(network[1].weight, before)


def test_published_ssir_file_is_read(shared: Path) -> None:
    path = shared / "weights" / "SSIR_e80.pth"
    if not path.is_file():
        pytest.skip("the published SSIR weights are not here")
    state = read_state(path)
    assert all(not name.startswith("module.") for name in state)
    assert sum(tensor.numel() for tensor in state.values()) > 300_000


def test_denormal_weights_load_as_zero() -> None:
    network = nn.Conv2d(1, 1, 1)
    state = {"weight": torch.full((1, 1, 1, 1), 1e-40), "bias": torch.tensor([0.5])}
    load_weights(network, state, "state")
    assert network.weight.item() == 0
    assert network.bias is not None
    assert network.bias.item() == 0.5


def test_the_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    state = {"b": torch.arange(3.0), "a": torch.ones(2, 2)}
    metadata = {name: name * 5 for name in ["model", "arguments", "source", "digest", "ä"]}
    contents = set()
    for index in range(5):
        save_state(tmp_path / f"{index}.safetensors", state, metadata)
        contents.add((tmp_path / f"{index}.safetensors").read_bytes())
    assert len(contents) == 1
    assert read_metadata(tmp_path / "0.safetensors") == metadata
    assert torch.equal(read_state(tmp_path / "0.safetensors")["b"], state["b"])


def test_weights_that_are_there_already_are_done_or_named(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    state, metadata = {"a": torch.ones(2)}, {"model": "fast", "source": "x.pth"}
    assert save_state(path, state, metadata)
    assert not save_state(path, state, metadata)
    with pytest.raises(WeightsError, match="exists already with other source: name another"):
        save_state(path, state, metadata | {"source": "y.pth"})
    with pytest.raises(WeightsError, match="exists already with other weights: name another"):
        save_state(path, {"a": torch.zeros(2)}, metadata)
    path.write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="exists already with other content"):
        save_state(path, state, metadata)


def test_a_tensor_states_no_more_values_than_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"w": torch.zeros(1).expand(10**6, 10**6)}, path)
    with pytest.raises(WeightsError, match=r"a\.pth holds a tensor of 1,000,000,000,000 values"):
        read_state(path)
    torch.save({"w": torch.ones(2, 2).to_sparse()}, path)
    with pytest.raises(WeightsError, match=r"a\.pth (holds a tensor|is not a readable)"):
        read_state(path)
    torch.save({"w": torch.arange(6.0).view(2, 3).T, "tied": torch.ones(3)[1:]}, path)
    assert read_state(path)["w"].shape == (3, 2)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_tensor_has_no_more_axes_than_a_layer(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    state = {"w": torch.ones([1] * 17), "b": torch.ones([1] * 16)}
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    with pytest.raises(WeightsError, match="a tensor of 17 axes at 'w', expected at most 16"):
        read_state(path)


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1 << 20)}, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as plain,
        zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for member in plain.namelist():
            packed.writestr(member, plain.read(member))
    with pytest.raises(WeightsError, match=r"b\.pth is compressed, or states more than it holds"):
        read_state(tmp_path / "b.pth")


def test_a_module_that_holds_itself_is_refused() -> None:
    loop = StandIn()
    loop.state = {"_modules": {"a": loop, "b": loop}}
    with pytest.raises(WeightsError, match="more than 10,000 modules"):
        list(_walk(loop.state))


@pytest.mark.parametrize("arguments", ["[" * 99_999, "{", "[]", '{"a": NaN}', "x" * 70_000])
def test_arguments_of_a_file_are_bounded(
    tmp_path: Path, state: dict[str, Tensor], arguments: str
) -> None:
    save_state(tmp_path / "a.safetensors", state, {"arguments": arguments})
    with pytest.raises(WeightsError, match=r"a\.safetensors"):
        read_arguments(tmp_path / "a.safetensors")


def pickled(path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", "3\n")
    return path


def called(name: bytes, size: int) -> bytes:
    """A pickle of {"w": name(size)}."""
    number = b"\x8a\x08" + size.to_bytes(8, "little")
    return b"\x80\x02}X\x01\x00\x00\x00wc" + name + b"\n" + number + b"\x85Rs."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02" + b"]" * 600_000 + b"a" * 599_999 + b".", "more than tensors"),
        (called(b"builtins\nbytearray", 1 << 31), "more than tensors"),
        (called(b"torch\nByteTensor", 1 << 30), "states tensors of 1,073,741,824 bytes"),
        (called(b"torch\nTensor", 1 << 20), "states tensors of 4,194,304 bytes"),
    ],
)
def test_a_pickle_that_states_more_than_it_holds_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with no_hang(), pytest.raises(WeightsError, match=message):
        read_state(pickled(tmp_path / "a.pth", content))


def test_many_names_of_one_tensor_are_refused(tmp_path: Path) -> None:
    one = torch.zeros(1000)
    torch.save({f"w{index}": one for index in range(1000)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="states tensors of 4,000,000 bytes"):
        read_state(tmp_path / "a.pth")


def test_more_state_dicts_than_training_keeps_are_refused(tmp_path: Path) -> None:
    states = {str(i): {str(j): {"w": torch.zeros(1)} for j in range(40)} for i in range(40)}
    torch.save(states, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="and 1595 more") as caught:
        read_state(tmp_path / "a.pth")
    assert len(str(caught.value)) < 500
    inner = {str(j): {"w": torch.zeros(1)} for j in range(400)}
    torch.save({str(i): inner for i in range(400)}, tmp_path / "b.pth")
    with pytest.raises(WeightsError, match="more than 200,000 entries"):
        read_state(tmp_path / "b.pth")


def test_a_value_beyond_the_networks_numbers_is_refused() -> None:
    network = nn.Linear(2, 2)
    state = {name: tensor.double() for name, tensor in network.state_dict().items()}
    load_weights(network, state, "a.pth")
    state["bias"][0] = 1e300
    with pytest.raises(WeightsError, match=r"not finite in 1 of 2 tensors \(bias\)"):
        load_weights(network, state, "a.pth")

"""Weights on disk, read without running them: tensors, and what a file states beside them.

A `.pth`, `.pt` or `.ckpt` file is a pickle (`spikerec.weights.pickles`), from which the weights are
picked by where training code keeps them (`spikerec.weights.states`); a safetensors file has a
header of JSON. Files are written by `spikerec.weights.writing`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from spikerec.configs import RENAMED, load_config
from spikerec.errors import DataError, WeightsError, WeightsNotFoundError
from spikerec.kinds import checked
from spikerec.parsing import Bounds, PlainBounds, check_plain, parse_json, parsing
from spikerec.targets import refuse_targets
from spikerec.weights.pickles import OWN_KEY, check_memory, described, read_pickle, unreadable
from spikerec.weights.states import check_axes, find_state, strip_wrappers

#: Bounds of what a file states beside its tensors: an entry of JSON, and the arguments of its
#: network (a window of a million readouts is 50 seconds).
ENTRY_BOUNDS = Bounds(bytes=1 << 16, depth=12, nodes=2_000)
ARGUMENT_BOUNDS = PlainBounds(number=1_000_000, letters=200, depth=6, nodes=1_000)


@checked
def read_state(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, on the CPU, without running anything in it.

    Reads safetensors; state dicts saved by PyTorch, bare or under one of the usual keys
    (`WRAPPER_KEYS`); Lightning checkpoints of ours (the names under `network.`); and whole pickled
    modules. Of weights and their average over training (EMA), the average is taken, and a warning
    says so. The prefixes that DataParallel and `torch.compile` put before every name are dropped.

    Args:
        path: the file, or `FILE#KEY` for the weights under a key; `.safetensors` is read as such,
            any other suffix as PyTorch's format.

    Returns:
        name → tensor, in the file's order.

    Raises:
        WeightsNotFoundError: no such file.
        WeightsError: the file is truncated, is no checkpoint, or names code that could do harm.
    """
    path, key = _existing(path), _key(path)
    if path.suffix == ".safetensors":
        try:
            loaded = load_file(path)
        except Exception as error:  # as for pickles below
            raise unreadable(path, error) from error
        check_axes(loaded, path)
        return loaded
    content = read_pickle(path)
    with parsing(path, "a checkpoint", WeightsError):
        state = find_state(content, path, key)
        check_axes(state, path)
        check_memory(state, path)
    return strip_wrappers({name: tensor.detach() for name, tensor in state.items()})


def read_tensors(path: str | Path, count: int) -> list[Tensor]:
    """The tensors of a file that PyTorch wrote as a plain list or tuple of so many.

    Raises:
        WeightsNotFoundError: no such file.
        WeightsError: it holds something else.
    """
    path = _existing(path)
    content = read_pickle(path)
    if not isinstance(content, list | tuple) or len(content) != count:
        raise WeightsError(f"{path}: expected {count} tensors, found {described(content)}.")
    for value in content:
        if not isinstance(value, Tensor):
            raise WeightsError(f"{path}: expected {count} tensors, found {described(value)}.")
    check_memory({str(index): value for index, value in enumerate(content)}, path)
    return [value.detach() for value in content]


@checked
def read_metadata(path: str | Path) -> dict[str, str]:
    """Read what `save_state` wrote beside the tensors of a safetensors file.

    Raises:
        WeightsNotFoundError: no such file.
        WeightsError: it is not a safetensors file.
    """
    path = _existing(path)
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except Exception as error:
        raise unreadable(path, error) from error


def read_arguments(path: str | Path) -> dict[str, Any]:
    """The arguments that a checkpoint says its network was built with; empty where it says none.

    Files of `import_weights` and checkpoints of our training runs do. Arguments that an older
    version wrote under another name have their present one. The class is not among them: whoever
    reads the file says which one it is for.

    Raises:
        WeightsNotFoundError: no such file.
        WeightsError: the file cannot be read, or states more than plain values within
            `ARGUMENT_BOUNDS`.
    """
    path = _existing(path)
    arguments: object
    if path.suffix == ".safetensors":
        arguments = read_entry(path, "arguments")
    else:
        arguments = _own_entries(path).get("model", {})
    if not isinstance(arguments, Mapping):
        raise WeightsError(f"{path} states its network's arguments as {described(arguments)}.")
    check_plain(arguments, str(path), WeightsError, ARGUMENT_BOUNDS)
    plain = {
        RENAMED.get(f"model.{name}", str(name)).removeprefix("model."): value
        for name, value in arguments.items()
        if name != "_target_"
    }
    refuse_targets(plain, str(path), WeightsError)
    return plain


def read_target(path: str | Path) -> str | None:
    """The full name of the class that a checkpoint says its network is of; None where it says none.

    A file of `import_weights` says it by a choice of `conf/model`. The name is data: whoever uses
    it decides whether it may be imported (`spikerec.weights.trained`).

    Raises:
        WeightsNotFoundError: no such file.
        WeightsError: the file cannot be read, or states something else than a name.
    """
    path = _existing(path)
    target: object
    if path.suffix == ".safetensors":
        model = read_metadata(path).get("model")
        target = model and load_config("model", model)["_target_"]
    else:
        stated = _own_entries(path).get("model", {})
        target = stated.get("_target_") if isinstance(stated, Mapping) else None
    if target is not None and not isinstance(target, str):
        raise WeightsError(f"{path} states its network's class as {described(target)}.")
    return target


def read_data(path: str | Path) -> dict[str, str]:
    """Data set → fingerprint of the clips that weights were trained with, as their file states it.

    Empty where it states none, as files of others do.

    Raises:
        WeightsNotFoundError: no such file.
        WeightsError: the file cannot be read.
    """
    path = _existing(path)
    is_packed = path.suffix == ".safetensors"
    data = (read_entry(path, "training") if is_packed else _own_entries(path)).get("data")
    known = data.items() if isinstance(data, Mapping) else ()
    return {str(name): of for name, of in known if isinstance(of, str)}


def _own_entries(path: Path) -> Mapping[str, Any]:
    """The part of a pickled checkpoint that our training adds; empty where there is none."""
    content = read_pickle(path)
    about = content.get(OWN_KEY) if isinstance(content, Mapping) else None
    return about if isinstance(about, Mapping) else {}


def read_entry(path: str | Path, name: str) -> dict[str, Any]:
    """An entry of a safetensors file's metadata that holds a JSON mapping; empty where absent.

    Raises:
        WeightsNotFoundError: no such file.
        WeightsError: the file cannot be read, or the entry is no mapping, or beyond its bounds.
    """
    try:
        entry = parse_json(read_metadata(path).get(name, "{}"), path, ENTRY_BOUNDS)
    except DataError as error:
        raise WeightsError(str(error)) from error
    if not isinstance(entry, dict):
        raise WeightsError(f"{path} states {name} as {described(entry)}, expected a mapping.")
    return entry


@checked
def digest(weights: Mapping[str, Tensor] | str | Path) -> str:
    """SHA-256 of names, types, shapes and values: the same in every file format and order.

    Args:
        weights: a state dict, or a file that `read_state` reads.
    """
    state = read_state(weights) if isinstance(weights, str | Path) else weights
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        header = [name, str(tensor.dtype), list(tensor.shape)]
        total.update(json.dumps(header).encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _key(path: str | Path) -> str | None:
    """The key in `FILE#KEY`; None where the file is named alone."""
    _, sign, key = str(path).rpartition("#")
    return key if sign and not Path(path).is_file() else None


def _existing(path: str | Path) -> Path:
    """The file of `FILE` or `FILE#KEY`.

    Raises:
        WeightsNotFoundError: there is none.
    """
    if (key := _key(path)) is not None:
        path = str(path).removesuffix(f"#{key}")
    path = Path(path)
    if not path.is_file():
        raise WeightsNotFoundError(f"{path}: no such checkpoint file.")
    return path

"""Weights written as safetensors: whole or not at all, and the same bytes each time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from spikerec.errors import WeightsError
from spikerec.kinds import checked
from spikerec.parsing import Bounds, parse_json
from spikerec.spikes.files import atomic_path
from spikerec.weights.checkpoint import digest, read_metadata

#: Bounds of a safetensors file's header: the format's own.
HEADER_BOUNDS = Bounds(bytes=100_000_000, depth=12, nodes=10_000_000)


@checked
def save_state(
    path: str | Path,
    state: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    *,
    overwrite: bool = False,
) -> bool:
    """Write tensors as safetensors: whole or not at all, and the same bytes each time.

    Args:
        path: the file to write; its folder is made where absent.
        state: name → tensor. Tensors that share memory are written once each.
        metadata: strings that travel with them.
        overwrite: replace a file that is there.

    Returns:
        False if the file was there already with the same tensors and metadata.

    Raises:
        WeightsError: the file is there, with something else, and `overwrite` is false; or the
            suffix is another.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise WeightsError(f"{path}: weights are written as .safetensors, found '{path.suffix}'.")
    if path.exists() and not overwrite:
        differing = _differing(path, state, metadata)
        if not differing:
            return False
        raise WeightsError(
            f"{path} exists already with other {', '.join(differing)}: name another file, or "
            "ask to overwrite it."
        )
    # safetensors refuses strided tensors and tensors that share memory: each gets its own.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in state.items()
    }
    with atomic_path(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file(tensors, temporary, dict(metadata))
        temporary.chmod(mode)  # safetensors' own is readable by its owner alone
        _sort_metadata(temporary)
    return True


def _differing(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> list[str]:
    """The parts in which a file is not what would be written; all of them if it is damaged."""
    try:
        found = read_metadata(path)
        same_tensors = digest(path) == digest(state)
    except WeightsError:
        return ["content"]
    keys = sorted(key for key in found.keys() | metadata if found.get(key) != metadata.get(key))
    return keys if same_tensors else ["weights", *keys]


def _sort_metadata(path: Path) -> None:
    """Put the metadata of a safetensors file in order, where the library draws one at random."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = parse_json(file.read(length), path, HEADER_BOUNDS)
        if "__metadata__" in header:
            header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        content = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        assert len(content) <= length
        file.seek(8)
        file.write(content.ljust(length))

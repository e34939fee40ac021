"""Weights on disk: read from any checkpoint without running it, written as safetensors.

A `.pth`, `.pt` or `.ckpt` file is a pickle, and a pickle is a program. PyTorch's restricted reader
(`weights_only=True`) rebuilds tensors and refuses everything else, which also refuses files that
authors did publish: whole pickled modules (WGSE) and state dicts beside a pickled config object
(ET-Net, HyperE2VID). `read_state` reads those too: each class that the file names and PyTorch does
not know is replaced by `_Record`, which keeps the state and runs nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from spikerec.configs import RENAMED, load_config
from spikerec.errors import DataError, WeightsError, WeightsNotFoundError
from spikerec.kernels.devices import has_arrays
from spikerec.parsing import Bounds, PlainBounds, check_plain, parse_json, parsing, shown
from spikerec.spikes.files import atomic_path
from spikerec.targets import refuse_targets

#: Modules of the standard library whose classes configs and modules hold. A file that names
#: anything else of the standard library (`os.system`, `builtins.eval`) is refused outright.
HARMLESS_MODULES = {"argparse", "collections", "datetime", "enum", "logging", "pathlib", "types"}

#: Keys under which files of training code keep the weights, beside an optimizer and an epoch.
WRAPPER_KEYS = (
    *("state_dict", "model_state_dict", "model", "params", "net", "network", "weights", "module"),
    *("params_ema", "ema", "model_ema", "ema_state_dict", "state_dict_ema", "ema_model"),
    *("generator", "net_g", "netG"),
)

#: Keys that are followed into one another, as in `ema.shadow`.
DEEPEST_KEY = 2

#: Prefixes of the names of a network saved from inside a DataParallel module or a compiled one.
WRAPPERS = ("module.", "_orig_mod.")

#: Prefix of the network's names in our LightningModule.
LIGHTNING_PREFIX = "network."

#: Bounds of what is built of a checkpoint: modules in a pickled one, an entry of JSON beside the
#: tensors, and the arguments of its network (a window of a million readouts is 50 seconds).
MAX_MODULES = 10_000
ENTRY_BOUNDS = Bounds(bytes=1 << 16, depth=12, nodes=2_000)
HEADER_BOUNDS = Bounds(bytes=100_000_000, depth=12, nodes=10_000_000)  # safetensors' own
ARGUMENT_BOUNDS = PlainBounds(number=1_000_000, letters=200, depth=6, nodes=1_000)

#: Names that an error spells out before it counts the rest.
NAMES_SHOWN = 5

_log = logging.getLogger(__name__)


class _Record:
    """Stands in for a class that a checkpoint names: keeps its state, runs nothing."""

    state: object = None

    def __new__(cls, *_arguments: object) -> _Record:
        return super().__new__(cls)

    def __init__(self, *_arguments: object) -> None:
        """Arguments of the pickled call are dropped."""

    def __setstate__(self, state: object) -> None:
        self.state = state


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
            return load_file(path)
        except Exception as error:  # as for pickles below
            raise _unreadable(path, error) from error
    content = _read_pickle(path)
    with parsing(path, "a checkpoint", WeightsError):
        state = _find_state(content, path, key)
        _check_memory(state, path)
    return strip_wrappers({name: tensor.detach() for name, tensor in state.items()})


def read_tensors(path: str | Path, count: int) -> list[Tensor]:
    """The tensors of a file that PyTorch wrote as a plain list or tuple of so many.

    Raises:
        WeightsNotFoundError: no such file.
        WeightsError: it holds something else.
    """
    path = _existing(path)
    content = _read_pickle(path)
    if not isinstance(content, list | tuple) or len(content) != count:
        raise WeightsError(f"{path}: expected {count} tensors, found {_described(content)}.")
    for value in content:
        if not isinstance(value, Tensor):
            raise WeightsError(f"{path}: expected {count} tensors, found {_described(value)}.")
    _check_memory({str(index): value for index, value in enumerate(content)}, path)
    return [value.detach() for value in content]


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
        raise _unreadable(path, error) from error


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
        content = _read_pickle(path)
        about = content.get("spikerec", {}) if isinstance(content, Mapping) else {}
        arguments = about.get("model", {}) if isinstance(about, Mapping) else {}
    if not isinstance(arguments, Mapping):
        raise WeightsError(f"{path} states its network's arguments as {_described(arguments)}.")
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
        content = _read_pickle(path)
        about = content.get("spikerec", {}) if isinstance(content, Mapping) else {}
        stated = about.get("model", {}) if isinstance(about, Mapping) else {}
        target = stated.get("_target_") if isinstance(stated, Mapping) else None
    if target is not None and not isinstance(target, str):
        raise WeightsError(f"{path} states its network's class as {_described(target)}.")
    return target


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
        raise WeightsError(f"{path} states {name} as {_described(entry)}, expected a mapping.")
    return entry


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
            f"{path} is there already with other {', '.join(differing)}: name another file, or "
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


def strip_wrappers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop the prefixes of wrapping modules where every name has them, and the count of an EMA."""
    if "n_averaged" in state:
        state = {name: tensor for name, tensor in state.items() if name != "n_averaged"}
    for prefix in WRAPPERS:
        if state and all(name.startswith(prefix) for name in state):
            return strip_wrappers({name.removeprefix(prefix): state[name] for name in state})
    return dict(state)


def load_weights(network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict whose names and shapes must all be those of the network.

    Args:
        network: filled in place.
        state: name → tensor, under the network's own names; denormal numbers are loaded as 0.
        source: what the error calls the weights: a file, or a method's name.

    Raises:
        WeightsError: names are missing, left over, or of another shape (all kinds are listed); or
            a value is NaN or infinite.
    """
    own = network.state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
    complaints = {
        "missing": [name for name in own if name not in state],
        "left over": [name for name in state if name not in own],
        "of another shape": [
            f"{name} {tuple(tensor.shape)}, expected {shapes[name]}"
            for name, tensor in state.items()
            if name in own and tuple(tensor.shape) != shapes[name]
        ],
    }
    found = [
        f"{len(names)} {kind} ({_shown(names)})" for kind, names in complaints.items() if names
    ]
    if found:
        raise WeightsError(
            f"{source} does not fit {type(network).__name__}: {'; '.join(found)}. "
            "Give the arguments that the weights were trained with, or the right model."
        )
    broken = [name for name, tensor in state.items() if not tensor.isfinite().all()]
    if broken:
        raise WeightsError(
            f"{source} holds values that are not finite in {len(broken)} of {len(state)} tensors "
            f"({_shown(broken)}): no image can come of them. Use an earlier checkpoint of the run."
        )
    network.load_state_dict(state)
    _flush(network)


def _flush(network: nn.Module) -> None:
    """Set denormal numbers to zero: they count for nothing, and slow each product they meet.

    A quarter of SSIR's published weights are, which makes it 12 times slower on some CPUs.
    """
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.masked_fill_(tensor.abs() < torch.finfo(tensor.dtype).tiny, 0.0)


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


def _unreadable(path: Path, error: Exception) -> WeightsError:
    if "Weights only load failed" in str(error):
        cause = "it holds objects other than tensors, and nothing in it was run"
    else:
        cause = "it is damaged, cut short, or something else"
    return WeightsError(
        f"{path} is not a readable checkpoint: expected .safetensors, or a state dict saved by "
        f"PyTorch; found that {cause}. Get it again, or have its state dict saved alone."
    )


def _read_pickle(path: Path) -> object:
    """The content of a PyTorch file, with records for the classes that PyTorch does not know."""
    try:
        _check_archive(path)
        names = _unknown_classes(path)
        with torch.serialization.safe_globals([(_Record, name) for name in names]):
            return torch.load(  # noqa: TID251 - the one place that reads PyTorch's format
                path, map_location="cpu", weights_only=True
            )
    except WeightsError:
        raise
    except Exception as error:
        # Damaged or hostile bytes fail wherever they happen to: all of it is one fact to the user.
        raise _unreadable(path, error) from error


def _check_archive(path: Path) -> None:
    """Refuse an archive that would unpack to more than it holds: PyTorch stores, never compresses.

    Raises:
        WeightsError: it would.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > path.stat().st_size:
            raise WeightsError(
                f"{path} is compressed, or states more than it holds: expected an archive as "
                "PyTorch writes it. Get it again."
            )


def _check_memory(state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that state more values than the file holds, as those of stride 0 do.

    Raises:
        WeightsError: there is one, or one that is sparse, quantised or has no values.
    """
    for name, tensor in state.items():
        is_plain = (
            tensor.layout == torch.strided
            and has_arrays(tensor)
            and not tensor.is_quantized
            and not tensor.is_nested
        )
        if not is_plain or tensor.nbytes > tensor.untyped_storage().nbytes():
            raise WeightsError(
                f"{path} holds a tensor of {tensor.numel():,} values at {shown(name)} that are not "
                "all in the file: expected plain tensors. Save it with every tensor cloned."
            )


def _unknown_classes(path: Path) -> list[str]:
    """Full names in the file's pickle that PyTorch's restricted reader does not know.

    Empty for files from before PyTorch 1.6, which are no archives: those are read only if they
    hold nothing but tensors.

    Raises:
        WeightsError: a name belongs to the standard library and is not known to be harmless.
    """
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return []
    names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    for name in names:
        module = name.split(".")[0]
        if module in sys.stdlib_module_names and module not in HARMLESS_MODULES:
            raise WeightsError(
                f"{path} asks to call {name} on loading, which no weights need: refused, nothing "
                "was run. Get the file again from its authors."
            )
    return names


def _find_state(content: object, path: Path, key: str | None) -> Mapping[str, Tensor]:
    """The state dict within what a checkpoint holds.

    Raises:
        WeightsError: there is none; or there are several, and none is known to be the one.
    """
    is_lightning = isinstance(content, Mapping) and "pytorch-lightning_version" in content
    if isinstance(content, _Record):
        content = dict(_walk(content.state))
    elif isinstance(content, Mapping) and not _is_state(content):
        content = _choose(content, path, key)
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(
            f"{path} holds no weights: expected a state dict, or a dict with 'state_dict', found "
            f"{_described(content)}."
        )
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise WeightsError(
                f"{path} is no state dict: expected a tensor at every name, found "
                f"{_described(value)} at {shown(name)}."
            )
    if is_lightning and any(name.startswith(LIGHTNING_PREFIX) for name in content):
        # The network stands beside metrics and losses that have weights of their own.
        return {
            name.removeprefix(LIGHTNING_PREFIX): tensor
            for name, tensor in content.items()
            if name.startswith(LIGHTNING_PREFIX)
        }
    return content


def _choose(content: Mapping[Any, Any], path: Path, key: str | None) -> object:
    """The weights among what a file holds beside them: an optimizer, an epoch, averaged weights.

    Raises:
        WeightsError: no weights are under the key asked for; or weights are under several keys,
            and none of them is known to be the one.
    """
    found = dict(_states(content, ""))
    if key is not None:
        if key not in found:
            raise WeightsError(
                f"{path} holds no weights under {_plain_key(key)}: expected one of "
                f"{', '.join(map(_plain_key, found)) or 'none'}."
            )
        return found[key]
    usual = {name: one for name, one in found.items() if name.split(".")[0] in WRAPPER_KEYS}
    found = usual or found
    if len(found) == 1 or "pytorch-lightning_version" in content:
        return found.get("state_dict", next(iter(found.values()), content))
    averaged = [name for name in found if "ema" in re.split(r"[._]", name)]
    if len(found) == 2 and len(averaged) == 1:
        one, other = found.values()
        if one.keys() == other.keys():
            (name,), (plain,) = averaged, found.keys() - set(averaged)
            _log.warning(
                "%s holds weights under %s: %s, the average over training, is used. "
                "%s#%s names the other.",
                *(path, " and ".join(map(_plain_key, found)), _plain_key(name)),
                *(path, _plain_key(plain)),
            )
            return found[name]
    if found:
        raise WeightsError(
            f"{path} holds weights under {', '.join(map(_plain_key, found))}: name the one to use, "
            f"as in {path}#{_plain_key(next(iter(found)))}."
        )
    return content.get("state_dict", content)


def _plain_key(key: str) -> str:
    """A key as an error shows it: a stranger's file names it."""
    return shown(key).strip("'")


def _states(content: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """The state dicts within a mapping, by the keys that lead there, joined by dots."""
    for name, value in content.items():
        if not isinstance(name, str):
            continue
        one = dict(_walk(value.state)) if isinstance(value, _Record) else value
        if not isinstance(one, Mapping):
            continue
        if _is_state(one):
            yield f"{prefix}{name}", one
        elif prefix.count(".") < DEEPEST_KEY:
            yield from _states(one, f"{prefix}{name}.")


def _is_state(content: Mapping[Any, Any]) -> bool:
    """True if there is a tensor at every name."""
    return bool(content) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    )


def _walk(module: object) -> Iterator[tuple[str, Any]]:
    """Names and tensors of a pickled module: parameters, buffers kept on disk, then children.

    Raises:
        WeightsError: more modules than a network has: one that holds itself has them without end.
    """
    modules = [("", module)]
    count = 0
    while modules:
        prefix, current = modules.pop()
        count += 1
        if count > MAX_MODULES:
            raise WeightsError(f"a checkpoint holds more than {MAX_MODULES:,} modules: refused.")
        if not isinstance(current, Mapping):
            continue
        transient = current.get("_non_persistent_buffers_set") or ()
        for kind in ("_parameters", "_buffers"):
            for name, tensor in (current.get(kind) or {}).items():
                if tensor is not None and name not in transient:
                    yield f"{prefix}{name}", tensor
        children = list((current.get("_modules") or {}).items())
        modules += [
            (f"{prefix}{name}.", getattr(one, "state", None)) for name, one in children[::-1]
        ]


def _described(value: object) -> str:
    if isinstance(value, _Record):
        return "an object of a class that is no module"
    if isinstance(value, Mapping):
        return f"a dict of {len(value)} entries"
    return f"a {type(value).__name__}"


def _shown(names: list[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")

"""State dicts: found among what a checkpoint holds, rid of wrappers, loaded into a network."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikerec.errors import WeightsError
from spikerec.kinds import checked
from spikerec.parsing import shown
from spikerec.weights.pickles import StandIn, described

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

#: Bounds: modules of a pickled network, and entries of the mappings that are searched for weights.
MAX_MODULES = 10_000
MAX_ENTRIES = 200_000

#: Axes of a tensor; a volume's convolution has five.
MAX_AXES = 16

#: Names that an error spells out before it counts the rest.
NAMES_SHOWN = 5

_log = logging.getLogger(__name__)


def find_state(content: object, path: Path, key: str | None) -> Mapping[str, Tensor]:
    """The state dict within what a checkpoint holds.

    Raises:
        WeightsError: there is none; or there are several, and none is known to be the one.
    """
    is_lightning = isinstance(content, Mapping) and "pytorch-lightning_version" in content
    if isinstance(content, StandIn):
        content = dict(_walk(content.state))
    elif isinstance(content, Mapping) and not _is_state(content):
        content = _choose(content, path, key)
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(
            f"{path} holds no weights: expected a state dict, or a dict with 'state_dict', found "
            f"{described(content)}."
        )
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise WeightsError(
                f"{path} is no state dict: expected a tensor at every name, found "
                f"{described(value)} at {shown(name)}."
            )
    if is_lightning and any(name.startswith(LIGHTNING_PREFIX) for name in content):
        # The checkpoint also holds metrics and losses with weights of their own.
        return {
            name.removeprefix(LIGHTNING_PREFIX): tensor
            for name, tensor in content.items()
            if name.startswith(LIGHTNING_PREFIX)
        }
    return content


def check_axes(state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors of more axes than any layer has.

    Raises:
        WeightsError: there is one.
    """
    for name, tensor in state.items():
        if tensor.ndim > MAX_AXES:
            raise WeightsError(
                f"{path} holds a tensor of {tensor.ndim:,} axes at {shown(name)}, expected at most "
                f"{MAX_AXES}: refused. Get the file again."
            )


def _choose(content: Mapping[Any, Any], path: Path, key: str | None) -> object:
    """The weights among what a file holds beside them: an optimizer, an epoch, averaged weights.

    Raises:
        WeightsError: no weights are under the key asked for; or weights are under several keys,
            and none of them is known to be the one.
    """
    found = _states(content, path)
    if key is not None:
        if key not in found:
            raise WeightsError(
                f"{path} holds no weights under {_plain_key(key)}: expected one of "
                f"{_shown(list(map(_plain_key, found))) or 'none'}."
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
        keys = list(map(_plain_key, found))
        raise WeightsError(
            f"{path} holds weights under {_shown(keys)}: name the one to use, as in "
            f"{path}#{keys[0]}."
        )
    return content.get("state_dict", content)


def _plain_key(key: str) -> str:
    """A key as an error shows it: a stranger's file names it."""
    return shown(key).strip("'")


def _states(content: Mapping[Any, Any], path: Path) -> dict[str, Mapping[str, Tensor]]:
    """The state dicts within a mapping, by the keys that lead there, joined by dots.

    Raises:
        WeightsError: more mappings, or more names in them, than files of training code have.
    """
    found: dict[str, Mapping[str, Tensor]] = {}
    left: list[tuple[str, Mapping[Any, Any]]] = [("", content)]
    count = 0
    while left:
        prefix, current = left.pop()
        inside = []
        for name, value in current.items():
            count += 1
            one = dict(_walk(value.state)) if isinstance(value, StandIn) else value
            if not isinstance(name, str) or not isinstance(one, Mapping):
                continue
            count += len(one)
            if count > MAX_ENTRIES:
                raise WeightsError(f"{path} holds more than {MAX_ENTRIES:,} entries: refused.")
            if _is_state(one):
                found[f"{prefix}{name}"] = one
            elif prefix.count(".") < DEEPEST_KEY:
                inside.append((f"{prefix}{name}.", one))
        left += reversed(inside)
    return found


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


def strip_wrappers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop the prefixes of wrapping modules where every name has them, and the count of an EMA."""
    if "n_averaged" in state:
        state = {name: tensor for name, tensor in state.items() if name != "n_averaged"}
    for prefix in WRAPPERS:
        if state and all(name.startswith(prefix) for name in state):
            return strip_wrappers({name.removeprefix(prefix): state[name] for name in state})
    return dict(state)


@checked
def load_weights(network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict whose names and shapes must all be those of the network.

    Args:
        network: filled in place.
        state: name → tensor, under the network's own names; denormal numbers are loaded as 0.
        source: what the error calls the weights: a file, or a method's name.

    Raises:
        WeightsError: names are missing, left over, or of another shape (all kinds are listed); or
            a value is NaN, infinite, or too large for the network's numbers.
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
    broken = [
        name
        for name, tensor in state.items()
        if not tensor.to(own[name].dtype).isfinite().all()  # 1e300 is no float32
    ]
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


def _shown(names: list[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")

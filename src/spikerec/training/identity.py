"""Identity of a run: everything that can move its result, as plain values.

A run's name is a label for people. Two commands are the same run if they agree in all that decides
the result: the settings of the configuration, the training and validation data, the code of classes
that are not ours, the samples that one optimizer step sees and its learning rate. Paths, loggers,
workers, progress bars and the number of processes are no part of it: where two processes with
half the batch take the place of one, the result is the same up to rounding.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatch
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from torch import nn

from spikerec.data.clips import Clip, LiveSet, SpikeSet
from spikerec.errors import DataError, errors_about
from spikerec.spikes import Geometry

if TYPE_CHECKING:
    from spikerec.models.base import Network

#: Settings that do not move a result: places, labels, reports, speed.
NEUTRAL = (
    *("name", "run", "overwrite", "replay", "paths", "logger"),
    *("data.num_workers", "data.sets.*.root"),
    *("trainer.accelerator", "trainer.strategy", "trainer.default_root_dir", "trainer.profiler"),
    *("trainer.enable_progress_bar", "trainer.enable_model_summary", "trainer.log_every_n_steps"),
    *("trainer.num_sanity_val_steps", "trainer.use_distributed_sampler", "trainer.fast_dev_run"),
    *("callbacks.last", "callbacks.learning_rate", "callbacks.images", "callbacks.video"),
    *("callbacks.facts", "callbacks.times", "callbacks.progress"),
)

#: Settings that stand in an identity as what follows from them (`step_facts`).
DERIVED = (
    *("data.batch_size", "trainer.accumulate_grad_batches", "lr_scaling"),
    *("trainer.devices", "trainer.num_nodes"),
)

#: Settings by which a run may grow: it is then continued.
LENGTHS = ("trainer.max_epochs", "trainer.max_steps")

#: Places that other settings refer to: a path inside one of them is the same wherever it lies.
PLACES = ("run", "paths.data", "paths.results", "paths.outputs")

#: Bytes at a file's start and end that stand for its content in a fingerprint.
SAMPLED_BYTES = 1 << 14

#: Fields of a geometry that every fingerprint states.
FIRST_LAYOUT = ("height", "width", "readout_width", "bottom_up", "bit_order")

#: Top packages whose code is not the user's, beside all that lies in the installed packages.
OURS = "spikerec"

#: Classes that took over from another: they differ from it in defaults alone, and a configuration
#: states every argument, so that runs of either are the same run.
SAME_CLASS = {
    "spikerec.data.still.Still": "spikerec.data.photos.Photos",
    "spikerec.data.synthetic.Synthetic": "spikerec.data.photos.Photos",
}

#: Module of a script, of a notebook and of the interpreter's prompt.
MAIN = "__main__"

Value = Any  # a plain value of a configuration


@dataclass(frozen=True)
class Identity:
    """What a run computes.

    Attributes:
        settings: dotted key → value, for every setting that can move the result.
        facts: name → value, for what no setting states: data, code, samples of a step.
        growing: the settings that follow from the run's length, so that they may grow with it.
    """

    settings: Mapping[str, Value]
    facts: Mapping[str, Value] = field(default_factory=dict)
    growing: frozenset[str] = frozenset(LENGTHS)

    @property
    def digest(self) -> str:
        """SHA-256 of settings and facts, 16 digits of it."""
        text = json.dumps([dict(self.settings), dict(self.facts)], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def differences(self, now: Identity) -> dict[str, tuple[Value, Value]]:
        """Key → (value of this one, value of the other), where they differ.

        Data that one of them could not look at are not compared.
        """
        old = {**self.settings, **self.facts}
        new = {**now.settings, **now.facts}
        keys = dict.fromkeys([*old, *new])
        return {
            key: (old.get(key), new.get(key))
            for key in keys
            if _plain(old.get(key)) != _plain(new.get(key))
            and not (key.startswith(DATA) and (key not in old or key not in new))
        }

    def is_longer(self, now: Identity) -> bool:
        """True if the other differs in nothing but its length, which is greater."""
        changed = self.differences(now)
        lengths = [changed[key] for key in LENGTHS if key in changed]
        return (
            bool(lengths)
            and changed.keys() <= now.growing
            and all(_length(new) > _length(old) for old, new in lengths)
        )


#: Beginnings of the names of facts.
DATA, CODE = "data of ", "code of "


def _length(value: Value) -> float:
    """A length as a number: None and -1 are without end."""
    return float("inf") if value is None or value < 0 else float(value)


def _plain(value: Value) -> Value:
    """The value as JSON reads it back, so that what was stored compares with what is here."""
    return json.loads(json.dumps(value, default=str))


def settings_of(
    config: Mapping[str, Value], *, neutral: Sequence[str] = (*NEUTRAL, *DERIVED)
) -> dict[str, Value]:
    """The settings of a resolved configuration that can move the result, by dotted key.

    Args:
        config: plain values, as RUN/config.yaml holds them.
        neutral: patterns of keys that are left out, with all below them.
    """
    flat = _flat(config)
    places = [(str(flat[key]).rstrip("/"), key) for key in PLACES if flat.get(key)]
    return {
        key: _placed(value, places) for key, value in flat.items() if not _is_part(key, neutral)
    }


def _placed(value: Value, places: Iterable[tuple[str, str]]) -> Value:
    """A path inside one of the places, with the place's key for the place; else the value."""
    if isinstance(value, list):
        return [_placed(item, places) for item in value]
    if isinstance(value, str) and value in SAME_CLASS:
        return SAME_CLASS[value]
    for place, key in places if isinstance(value, str) else ():
        if value == place or value.startswith(f"{place}/"):
            return f"${{{key}}}{value.removeprefix(place)}"
    return value


def step_facts(
    network: Network,
    *,
    batch_size: int,
    processes: int,
    accumulated: int,
    learning_rate: float | None,
    sync_batchnorm: bool,
) -> dict[str, Value]:
    """The facts of one optimizer step that decide its result.

    Processes, batch and accumulated batches count as their product, unless the network normalises
    over a batch: then the samples that are normalised together count as well.
    """
    facts: dict[str, Value] = {
        "data.batch_size × processes × trainer.accumulate_grad_batches": (
            batch_size * processes * accumulated
        ),
        "learning rate of all processes": learning_rate,
    }
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in network.modules()):
        together = batch_size * (processes if sync_batchnorm else 1)
        facts["samples normalised together"] = together
    return facts


def data_facts(sets: Mapping[str, SpikeSet]) -> dict[str, str]:
    """Set → fingerprint of its training and validation clips; sets that are not here are left out.

    Sets that simulate their training windows have their recipe among the settings.
    """
    facts: dict[str, str] = {}
    for name, one in sets.items():
        splits = ("val",) if isinstance(one, LiveSet) else ("train", "val")
        try:
            with errors_about(one):
                clips = [clip for split in splits for clip in one.clips(split)]
            facts[f"{DATA}{name}"] = fingerprint(clips)
        except (DataError, OSError):  # it is missing, or was damaged since
            continue
    return facts


def fingerprint(clips: Iterable[Clip]) -> str:
    """Digest of names, light scales, key readouts, and of each file's size, start and end.

    Reading whole files would take minutes for large sets; bits that were simulated or recorded
    anew differ in their first bytes.

    Raises:
        OSError: a file is missing.
    """
    total = hashlib.sha256()
    for clip in clips:
        keys = [*clip.key_readouts, *clip.images]
        layout = None if clip.geometry is None else layout_text(clip.geometry)
        text = f"({clip.name!r}, {clip.light_scale!r}, {layout}, {keys!r})"
        total.update(text.encode())
        for path in (*clip.files, *clip.images.values()):
            total.update(_sampled(path))
    return total.hexdigest()[:16]


def layout_text(geometry: Geometry) -> str:
    """A geometry as fingerprints have it: what was added to it later only where it is in use.

    So the runs of earlier versions stay the runs that they are.
    """
    stated = {
        one.name: getattr(geometry, one.name)
        for one in fields(geometry)
        if one.name in FIRST_LAYOUT or getattr(geometry, one.name) != one.default
    }
    return f"Geometry({', '.join(f'{name}={value!r}' for name, value in stated.items())})"


def _sampled(path: Path) -> bytes:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(SAMPLED_BYTES)
        file.seek(max(size - SAMPLED_BYTES, 0))
        end = file.read(SAMPLED_BYTES)
    return hashlib.sha256(b"%d|%b%b" % (size, start, end)).digest()


def code_facts(
    settings: Mapping[str, Value], named: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """Class → digest of its code, for the classes of a run that are the user's own.

    Code of ours, of Python and of installed packages changes with their versions, which a record
    states; the user's own changes from one command to the next. Of a script or a notebook, which
    holds much that is no part of a run, the classes and functions count that these draw on.

    Args:
        settings: name their classes by `_target_`.
        named: full name → class or function, for those that cannot be imported by their names.
    """
    targets = {str(value) for key, value in settings.items() if _is_target(key)}
    found = {name: _found(name) for name in targets if not _is_installed(name)} | dict(named or {})
    return {
        f"{CODE}{name}": _code(found[name])
        for name in sorted(found)
        if found[name] is not None and _is_users(_module_of(found[name]))
    }


def _is_target(key: str) -> bool:
    return key.rpartition(".")[2] == "_target_"


def _is_installed(target: str) -> bool:
    """True if a full name begins with a package that is no code of the user's; none is imported."""
    top = target.partition(".")[0]
    if top in (OURS, *sys.stdlib_module_names):
        return True
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # a module that was made by hand
        return False
    return spec is not None and spec.origin is not None and _lies_installed(spec.origin)


def _lies_installed(source: str) -> bool:
    return not {"site-packages", "dist-packages"}.isdisjoint(Path(source).parts)


def _found(target: str) -> Any:  # noqa: ANN401 (a class or function)
    """The class or function of a full name; None for one of Python's own, or that is not there."""
    parts = target.split(".")
    if parts[0] in sys.stdlib_module_names:
        return None
    for count in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        for name in parts[count:]:
            found = getattr(found, name, None)
        return found
    return None


def _module_of(made_by: Any) -> ModuleType | None:  # noqa: ANN401 (a class or function)
    return sys.modules.get(getattr(made_by, "__module__", None) or "")


def _is_users(module: ModuleType | None) -> bool:
    if module is None:
        return False
    if module.__name__ == MAIN:
        return True
    source = getattr(module, "__file__", None)
    if source is None or module.__name__.partition(".")[0] in (OURS, *sys.stdlib_module_names):
        return False
    return not _lies_installed(source)


def _code(made_by: Any) -> str:  # noqa: ANN401 (a class or function)
    """Digest of the code of a class or function and of the user's modules that it draws on."""
    module = _module_of(made_by)
    assert module is not None
    total = hashlib.sha256()
    if module.__name__ == MAIN:
        for piece in _pieces(made_by, {}):
            total.update(piece.encode())
        return total.hexdigest()[:16]
    for one in sorted(_reached(module, {}), key=lambda one: one.__name__):
        assert one.__file__ is not None
        total.update(one.__name__.encode() + Path(one.__file__).read_bytes())
    return total.hexdigest()[:16]


def _reached(module: ModuleType, seen: dict[str, None]) -> Iterator[ModuleType]:
    if module.__name__ in seen or module.__name__ == MAIN:
        return
    seen[module.__name__] = None
    yield module
    values = list(vars(module).values())
    names = [
        one.__name__ if inspect.ismodule(one) else getattr(one, "__module__", None)
        for one in values
    ]
    for name in [*names, *_imported(module)]:
        other = sys.modules.get(name) if isinstance(name, str) else None
        if other is not None and _is_users(other):
            yield from _reached(other, seen)


def _imported(module: ModuleType) -> Iterator[str]:
    """Full names of what a module imports as it is loaded.

    A number or a text that comes from another module does not say from which.
    """
    try:
        tree = ast.parse(Path(module.__file__ or "").read_bytes())
    except (OSError, SyntaxError, ValueError):  # compiled code has no source
        return
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            try:
                dotted = "." * node.level + (node.module or "")
                name = importlib.util.resolve_name(dotted, module.__package__)
            except ImportError:
                continue
            yield from (name, *(f"{name}.{one.name}" for one in node.names))


def _pieces(value: Any, seen: dict[int, Any]) -> Iterator[str]:  # noqa: ANN401 (whatever is named)
    """The code of a class or function of a script or notebook, and of what it names there."""
    if isinstance(value, type | FunctionType | ModuleType | Mapping | list):
        if id(value) in seen:
            return
        seen[id(value)] = value
    if inspect.ismodule(value):
        yield value.__name__
    elif isinstance(value, property):
        for part in (value.fget, value.fset):
            yield from _pieces(part, seen)
    elif isinstance(value, staticmethod | classmethod):
        yield from _pieces(value.__func__, seen)
    elif isinstance(value, type | FunctionType) and not _is_users(_module_of(value)):
        yield f"{value.__module__}.{value.__qualname__}"
    elif isinstance(value, type | FunctionType) and value.__module__ != MAIN:
        yield _code(value)
    elif isinstance(value, type):
        yield value.__qualname__
        for base in value.__bases__:
            yield from _pieces(base, seen)
        for name, part in vars(value).items():
            if not (name.startswith("__") and not callable(part)) and name[:5] != "_abc_":
                yield name
                yield from _pieces(part, seen)
    elif isinstance(value, FunctionType):
        yield from _function_pieces(value, seen)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _pieces(key, seen)
            yield from _pieces(item, seen)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _pieces(item, seen)
    elif isinstance(value, set | frozenset):
        yield repr(sorted(map(repr, value)))
    elif value is None or isinstance(value, bool | int | float | complex | str | bytes):
        yield repr(value)


def _function_pieces(function: FunctionType, seen: dict[int, Any]) -> Iterator[str]:
    """A function's instructions and constants, its defaults, and what it names around it.

    The instructions, for want of the source: a notebook does not keep that of a class.
    """
    yield function.__qualname__
    yield repr((function.__defaults__, function.__kwdefaults__))
    left = [function.__code__]
    while left:
        code = left.pop()
        left += [one for one in code.co_consts if inspect.iscode(one)]
        yield repr((code.co_code, code.co_names, code.co_varnames))
        yield from _pieces([one for one in code.co_consts if not inspect.iscode(one)], seen)
        for name in code.co_names:
            if name in function.__globals__:
                yield from _pieces(function.__globals__[name], seen)


def _is_part(key: str, parts: Iterable[str]) -> bool:
    return any(fnmatch(key, part) or fnmatch(key, f"{part}.*") for part in parts)


def _flat(value: Value, prefix: str = "") -> dict[str, Value]:
    """Nested mappings as dotted keys."""
    if not isinstance(value, Mapping) or (prefix and not value):
        return {prefix: value}
    flat: dict[str, Value] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{prefix}.{key}" if prefix else str(key))
    return flat

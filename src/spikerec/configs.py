"""The YAML files of `conf/`, and the objects they describe, built without the command line.

`conf/` is at the top of a checkout and inside the package when installed from a wheel. Each
group of it (`model`, `loss`, `data`, …) is a folder; each file in a group is one choice, found by
its stem: no registry lists them a second time.
"""

from __future__ import annotations

import copy
import functools
import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikerec.errors import ConfigError, SpikerecError
from spikerec.parsing import read_yaml, shown
from spikerec.spelling import suggestion
from spikerec.targets import check_hydra, make

if TYPE_CHECKING:
    from omegaconf import DictConfig

#: Keys that older versions used, and their present names.
RENAMED = {"model.light_scale": "model.output_scale"}

#: Parts of Hydra's own configuration that it builds objects of, and how deep they may be.
HYDRA_PARTS = ("sweeper", "launcher", "callbacks", "hydra_logging", "job_logging")
MOST_LEVELS = 30


@cache
def config_dir() -> Path:
    """The folder that holds the YAML files.

    Raises:
        ConfigError: it is in neither place, so that the installation is broken.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "reconstruct.yaml").is_file():
            return folder
    raise ConfigError(
        f"conf/ is neither in {package} nor in {package.parents[1]}: reinstall spikerec."
    )


def config_names(group: str) -> list[str]:
    """The choices of a group, sorted: `config_names("model")` → `["bsf", "etnet", …]`.

    A choice in a subfolder is named with it (`budget/cpu`).
    """
    folder = config_dir() / group
    return sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml"))


def load_config(group: str, name: str, /, **overrides: Any) -> dict[str, Any]:  # noqa: ANN401
    """The content of `conf/GROUP/NAME.yaml` and of the files it starts from, as plain values.

    Read without Hydra; `paths` and environment variables are the only things it may refer to.

    Args:
        group: folder of `conf/`.
        name: stem of a file in it.
        **overrides: values that replace or add to the file's, by key.

    Raises:
        ConfigError: no such choice; the message lists those there are.
    """
    names = config_names(group)
    if name not in names:
        near = suggestion(name, names)
        raise ConfigError(
            f"there is no {group} named {shown(name)}{near or ':'} "
            f"{'Expected' if near else 'expected'} one of {', '.join(names)}."
        )
    for key in overrides:
        if message := renamed_key(f"{group}.{key}"):
            raise ConfigError(message.replace(f"{group}.", ""))
    content = _composed(group, name)
    if "_target_" not in content:
        raise ConfigError(f"conf/{group}/{name}.yaml does not describe an object.")
    return _resolved(content) | overrides


def _composed(group: str, name: str) -> dict[str, Any]:
    """A file of conf/ laid over the files that its `defaults` list names, in its order."""
    path = config_dir() / group / f"{name}.yaml"
    content: dict[str, Any] = read_yaml(path)
    defaults = content.pop("defaults", [])
    composed: dict[str, Any] = {}
    for entry in defaults if "_self_" in defaults else [*defaults, "_self_"]:
        if entry == "_self_":
            part = content
        elif isinstance(entry, str):
            part = _composed(group, entry.removesuffix("@_here_"))
        else:
            ((key, choice),) = entry.items()  # `/simulation@cameras.ideal.camera: ideal`
            other, _, place = key.removeprefix("/").partition("@")
            part = _composed(other, choice)
            for within in reversed(place.split(".") if place else []):
                part = {within: part}
        composed = _merged(composed, part)
    return composed


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Two mappings as one; where both state a value, the upper one's."""
    both = {
        key: _merged(below[key], above[key])
        for key in below.keys() & above.keys()
        if isinstance(below[key], dict) and isinstance(above[key], dict)
    }
    return below | above | both


def _resolved(content: dict[str, Any]) -> dict[str, Any]:
    """The values, with `${paths.data}` and other references to conf/paths looked up."""
    if "${" not in repr(content):
        return content
    from omegaconf import OmegaConf

    config = OmegaConf.create({"paths": _composed("paths", "default"), "content": content})
    resolved = OmegaConf.to_container(config.content, resolve=True)
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


def build(group: str, name: str, /, **overrides: Any) -> Any:  # noqa: ANN401
    """The object that `conf/GROUP/NAME.yaml` describes.

    Example:
        >>> build("model", "tfp", window=21).window
        21

    Raises:
        ConfigError: no such choice, or a key that its class does not take.
    """
    return make(load_config(group, name, **overrides), None, "", config_dir())


def renamed_key(complaint: str) -> str | None:
    """A message that names the present key, if a complaint is about a key that was renamed.

    Args:
        complaint: a key, or the text of an error about one.

    Example:
        >>> renamed_key("model.light_scale")
        'model.light_scale was renamed model.output_scale.'
    """
    for old, new in RENAMED.items():
        group, key = old.split(".")
        is_argument = f"argument '{key}'" in complaint and complaint.startswith(f"{group}: ")
        if is_argument or re.search(rf"(?<![\w.]){re.escape(old)}\b", complaint):
            return f"{old} was renamed {new}."
    return None


def instantiate(config: object, kind: type, key: str, **given: Any) -> Any:  # noqa: ANN401
    """The object that a part of a composed configuration describes.

    Args:
        config: the part.
        kind: the class that the object must be of.
        key: the part's path in the configuration, for errors.
        **given: arguments of the object that replace or join the part's.

    Raises:
        ConfigError: its `_target_` may not be named (see `spikerec.targets`), is of another kind,
            or does not take these arguments; or the part describes no object.
    """
    made = make(_contained(config), kind, key, config_dir(), **given)
    if not isinstance(made, kind):
        raise ConfigError(
            f"{key} must describe a {kind.__name__} by _target_ and arguments, without _partial_, "
            f"found a {type(made).__name__}."
        )
    return made


def maker(config: object, kind: type, key: str) -> Any:  # noqa: ANN401 (a `functools.partial`)
    """The callable that a part of a composed configuration with `_partial_: true` describes.

    Args:
        config: the part, or None.
        kind: the class of what the callable makes.
        key: the part's path in the configuration, for errors.

    Returns:
        The class and its arguments so far; None where the part is None.

    Raises:
        ConfigError: as of `instantiate`; or `_partial_` is not true.
    """
    made = make(_contained(config), kind, key, config_dir())
    if made is not None and not isinstance(made, functools.partial):
        raise ConfigError(
            f"{key} must describe a {kind.__name__} by _target_ and arguments, with "
            f"_partial_=true, found a {type(made).__name__}."
        )
    return made


def _contained(config: object) -> object:
    """A part of a configuration as resolved plain values."""
    from omegaconf import OmegaConf

    if not OmegaConf.is_config(config):
        return config
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


def check_own_configuration(verb: str, words: list[str]) -> None:
    """Check what Hydra builds by itself, where a command names that or a configuration of its own.

    Args:
        verb: of the command.
        words: the command's other words.

    Raises:
        ConfigError: a class that may not be named (see `spikerec.targets`); or flags of which one
            excludes another.
    """
    from hydra import initialize_config_dir
    from hydra._internal.utils import get_args_parser
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    asked = get_args_parser().parse_args(words)
    if asked.multirun and (asked.cfg or asked.info):
        flag = "--cfg" if asked.cfg else "--info"
        raise ConfigError(
            f"{flag} shows one job, and -m asks for several: leave -m out, and give each key one "
            "value."
        )
    own = [folder for folder in (asked.config_dir, asked.config_path) if folder]
    builds = any(word.lstrip("+~").startswith(("hydra.", "hydra/")) for word in asked.overrides)
    if not own and not asked.config_name and not builds:
        return
    path = ",".join(f"'{Path(folder).resolve()}'" for folder in own)
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        config = hydra.compose_config(
            asked.config_name or verb,
            [*asked.overrides, *([f"hydra.searchpath=[{path}]"] if path else [])],
            run_mode=RunMode.MULTIRUN,
            with_log_configuration=False,
            validate_sweep_overrides=False,
        )
    _check_hydra(config)


@contextmanager
def checked_jobs() -> Iterator[None]:
    """Check what Hydra builds for each job of a sweep, before it does.

    A swept choice (`experiment=a,b`) brings its own logging: every sweeper composes its jobs here,
    in this process, before a launcher starts one.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    compose = ConfigLoaderImpl.load_sweep_config

    @functools.wraps(compose)
    def checked(*arguments: Any, **named: Any) -> DictConfig:  # noqa: ANN401 (Hydra's own)
        config: DictConfig = compose(*arguments, **named)
        _check_hydra(config)
        return config

    ConfigLoaderImpl.load_sweep_config = checked
    try:
        yield
    finally:
        ConfigLoaderImpl.load_sweep_config = compose


@contextmanager
def checked_logging() -> Iterator[None]:
    """Raise one of our errors for a logging configuration that Hydra cannot apply.

    Raises:
        ConfigError: `hydra.job_logging` or `hydra.hydra_logging` is no configuration of Python's
            logging.
    """
    try:
        yield
    except Exception as error:
        steps = (frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__))
        cause = error.__cause__ or error
        if isinstance(cause, SpikerecError | OSError) or "configure_log" not in steps:
            raise
        raise ConfigError(
            "hydra.job_logging, or hydra.hydra_logging, is no configuration of Python's logging: "
            f"{error if cause is error else f'{error}: {cause}'}."
        ) from error


def _check_hydra(config: DictConfig) -> None:
    """Check the `hydra` part of a composed configuration (see `spikerec.targets.check_hydra`)."""
    from hydra.core.hydra_config import HydraConfig

    instance = HydraConfig.instance()
    before = instance.cfg
    config = copy.deepcopy(config)  # the next line makes it read-only
    instance.set_config(config)  # `${hydra:…}` and `${name}` mean this one
    try:
        node = {part: _expanded(config.hydra, part, f"hydra.{part}") for part in HYDRA_PARTS}
    finally:
        instance.cfg = before
    check_hydra(node, config_dir())


def _expanded(parent: Any, key: Any, place: str) -> Any:  # noqa: ANN401 (any YAML value)
    """The plain value at a key, with what it refers to in its place, where that is known by now.

    Raises:
        ConfigError: the whole value refers to what is not known yet: it might be anything.
    """
    from omegaconf import DictConfig, ListConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    refers = OmegaConf.is_interpolation(parent, key)
    try:
        value = None if OmegaConf.is_missing(parent, key) else parent[key]
    except OmegaConfBaseException as error:
        raw: Any = OmegaConf.to_container(parent, resolve=False)
        value = raw[key]
        if not refers or re.fullmatch(r"\$\{.*\}", str(value), re.DOTALL):
            raise ConfigError(
                f"{place} refers to a key that does not exist: state the value itself."
            ) from error
    if place.count(".") > MOST_LEVELS:
        raise ConfigError(f"{place[:100]}… is nested more than {MOST_LEVELS} levels deep: refused.")
    if isinstance(value, DictConfig):
        return {str(name): _expanded(value, name, f"{place}.{name!s}") for name in value}
    if isinstance(value, ListConfig):
        return [_expanded(value, index, f"{place}.{index}") for index in range(len(value))]
    return value


def compose_verb(verb: str, words: Sequence[str]) -> dict[str, Any]:
    """The composed configuration of a verb as plain values, references left as they are written.

    Args:
        verb: stem of a file at the top of `conf/`.
        words: `key=value` words, in Hydra's grammar.

    Raises:
        HydraException: the words cannot be composed.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    state = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            content = OmegaConf.to_container(compose(verb, list(words)), resolve=False)
    finally:
        GlobalHydra.instance().hydra = state
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def plain(config: DictConfig) -> dict[str, Any]:
    """A composed configuration as resolved plain values."""
    from omegaconf import OmegaConf

    content = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def referring(config: DictConfig, keys: Sequence[str]) -> set[str]:
    """The keys of a configuration whose values follow from any of these, by `${…}`."""
    from omegaconf import OmegaConf

    found: set[str] = set()

    def look(value: Any, key: str) -> None:  # noqa: ANN401 (any YAML value)
        if isinstance(value, dict):
            for name, item in value.items():
                look(item, f"{key}.{name}" if key else str(name))
        elif isinstance(value, str) and any(f"${{{one}}}" in value for one in keys):
            found.add(key)

    look(OmegaConf.to_container(config, resolve=False), "")
    return found

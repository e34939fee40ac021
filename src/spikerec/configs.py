"""Where the YAML files are, and how to build what they describe without the command line.

`conf/` stands at the top of a checkout and inside the package when installed from a wheel. Each
group of it (`model`, `loss`, `data`, …) is a folder; each file in a group is one choice, found by
its stem: no registry lists them a second time.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikerec.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

#: Overrides that change where or how loudly a run happens, but not what it computes.
UNNAMED = (
    "name",
    "paths.outputs",
    "paths.data",
    "paths.results",
    "data.num_workers",
    "logger",
    "on_error",
)

#: Letters of a run's name before it is cut (file systems allow 255 bytes).
LONGEST_NAME = 120


@cache
def config_dir() -> Path:
    """The folder that holds the YAML files.

    Raises:
        ConfigError: it is in neither place, so that the installation is broken.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "model").is_dir():
            return folder
    raise ConfigError(
        f"conf/ is neither in {package} nor in {package.parents[1]}: reinstall spikerec."
    )


def config_names(group: str) -> list[str]:
    """The choices of a group, sorted: `config_names("model")` → `["bsf", "etnet", …]`.

    A choice in a subfolder is named with it (`budget_cpu/stir`).
    """
    folder = config_dir() / group
    return sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml"))


def load_config(group: str, name: str, **overrides: Any) -> dict[str, Any]:  # noqa: ANN401
    """The composed content of `conf/GROUP/NAME.yaml` as plain Python values.

    Args:
        group: folder of `conf/`.
        name: stem of a file in it.
        **overrides: values that replace or add to the file's, by key.

    Raises:
        ConfigError: no such choice; the message lists those there are.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    if name not in config_names(group):
        raise ConfigError(
            f"{group}={name} is unknown: expected one of {', '.join(config_names(group))}."
        )
    state = GlobalHydra.instance().hydra  # a running Hydra app keeps its own configuration
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            config = compose("choice", overrides=[f"+{group}={name}"])
    finally:
        GlobalHydra.instance().hydra = state
    content = OmegaConf.to_container(config, resolve=True)
    if isinstance(content, dict):
        content.pop("paths", None)
    while isinstance(content, dict) and len(content) == 1 and "_target_" not in content:
        content = next(iter(content.values()))  # down the group's package to the object
    if not isinstance(content, dict):
        raise ConfigError(f"conf/{group}/{name}.yaml does not describe an object.")
    return {str(key): value for key, value in content.items()} | overrides


def build(group: str, name: str, **overrides: Any) -> Any:  # noqa: ANN401
    """The object that `conf/GROUP/NAME.yaml` describes.

    Example:
        >>> build("model", "tfp", window=21).window
        21

    Raises:
        ConfigError: no such choice, or a key that its class does not take.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    config = load_config(group, name, **overrides)
    try:
        return instantiate(config, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, TypeError):
            raise ConfigError(f"conf/{group}/{name}.yaml: {error.__cause__}") from error
        if error.__cause__ is not None:
            raise error.__cause__ from error
        raise


def plain(config: DictConfig) -> dict[str, Any]:
    """A composed configuration as resolved plain values."""
    from omegaconf import OmegaConf

    content = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def run_name(overrides: list[str]) -> str:
    """The name of a run's folder: what it runs, legible, and as unique as its overrides.

    Args:
        overrides: the command line's `key=value` words, in any order.

    Example:
        >>> run_name(["model=stir", "data=reds"])
        'data=reds,model=stir'
    """
    name = ",".join(sorted(word for word in overrides if not _is_unnamed(word))) or "default"
    legible = re.sub(r"[^\w=.,+@-]+", "_", name)
    if legible == name and len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{legible[:LONGEST_NAME]}-{digest}"


def _is_unnamed(word: str) -> bool:
    key = word.split("=")[0].lstrip("+~")
    return key in UNNAMED or key.startswith("logger.")

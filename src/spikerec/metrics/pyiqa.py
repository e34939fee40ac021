"""Any metric of the package `pyiqa` by its name: DISTS, PIQE, MS-SSIM, VIF, and some ninety others.

Which way is better, and whether a metric compares with a true image, is stated with it or read from
the package. Its metrics are made for three channels: the one channel is handed over three times, of
which those that work on luminance make the one channel again. Many round grey levels to 8 bits, as
their originals in MATLAB do (MS-SSIM, PIQE, GMSD).

Nothing is downloaded: weights are used where pyiqa, torch.hub or the Hugging Face hub has put them
before, and reading them runs no code that they hold.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pickle import UnpicklingError  # noqa: TID251 (the error alone; nothing is unpickled here)
from typing import Any, NoReturn
from unittest.mock import patch

import torch
from torch import Tensor, nn

from spikerec.errors import ConfigError, MissingPackageError, WeightsError, WeightsNotFoundError
from spikerec.extras import require
from spikerec.kinds import checked
from spikerec.metrics.base import ImageMetric, each
from spikerec.parsing import shown
from spikerec.spelling import suggestion

#: Kinds of network that compare sets of images, not images.
OF_SETS = ("FID", "InceptionScore")


@checked
class PyIQA(ImageMetric):
    """A metric of the package `pyiqa`.

    Args:
        metric: its name there, such as `dists`, `piqe` or `ms_ssim`; `pyiqa.list_models()` lists
            them.
        higher_is_better: which way is better; None to read it from the package. Stated, it is a
            part of the definition also where the package is not installed.
        needs_target: whether it compares with a true image; None likewise.

    Raises:
        MissingPackageError: pyiqa, or a package that this metric needs, is not installed.
        ConfigError: no metric of that name, one of sets of images, or one of which the package
            says otherwise than is stated.
        WeightsNotFoundError: its weights are not on this machine; says how to get them.
        WeightsError: its weights hold code.
    """

    name = "pyiqa"  # until it is made: then that of its metric
    implementation = "pyiqa"

    def __init__(
        self, metric: str, higher_is_better: bool | None = None, needs_target: bool | None = None
    ) -> None:
        super().__init__()
        stated = {"higher_is_better": higher_is_better, "needs_target": needs_target}
        for fact, value in _packaged(metric).items():
            if stated[fact] not in (None, value):
                raise ConfigError(
                    f"{fact} of {metric} is {value} by pyiqa, found {stated[fact]}: state "
                    f"{fact}={value}, or leave it out."
                )
        self.name = metric
        self.needs_target = _packaged(metric)["needs_target"]
        build_network(metric, torch.device("cpu"))
        self._refusal = ""

    @property
    def higher_is_better(self) -> bool:  # type: ignore[override]  # constant for each name
        """True if a higher value is better."""
        return _packaged(self.name)["higher_is_better"]

    def reset(self) -> None:
        """Forget all images seen, and why some were refused."""
        super().reset()
        self._refusal = ""

    @classmethod
    def facts(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """See `ImageMetric.facts`; what is not stated is not known without the package."""
        metric = arguments["metric"]
        defined = {
            "metric": metric,
            "arguments": {"metric": metric},
            **cls.origin(),
            "unit": cls.unit,
        }
        stated: Mapping[str, bool | None] = {
            fact: arguments.get(fact) for fact in ("higher_is_better", "needs_target")
        }
        if None in stated.values():
            with contextlib.suppress(MissingPackageError):
                stated = _packaged(metric)
        return defined | {fact: value for fact, value in stated.items() if value is not None}

    def measure(self, image: Tensor, target: Tensor) -> Tensor:
        """See `ImageMetric.score`; NaN for an image that the package refuses."""
        network = build_network(self.name, image.device)

        def value(*images: Tensor) -> Tensor:
            colour = [one.float().expand(-1, 3, -1, -1) for one in images]
            try:
                found: Tensor = network(*colour)
            except torch.OutOfMemoryError:
                raise
            except (AssertionError, RuntimeError, ValueError) as error:
                self._refusal = str(error).partition("\n")[0]
                return image.new_full((), torch.nan)
            return found

        return each(value, image, target) if self.needs_target else each(value, image)

    def why_missing(self) -> str:
        """See `ImageMetric.why_missing`: the package's own words, where it refused an image."""
        reason = f" ({self._refusal})" if self._refusal else ""
        return f"{self.name} has no value for images that pyiqa refuses{reason}."


def _packaged(metric: str) -> dict[str, bool]:
    """Facts of a metric that the package states: its direction, and its need of a true image."""
    settings = _settings(metric)
    return {
        "higher_is_better": not settings.get("lower_better", False),
        "needs_target": settings["metric_mode"] == "FR",
    }


def _settings(metric: str) -> Mapping[str, Any]:
    """Settings of one of the metrics, as the package states them."""
    require("pyiqa", f"{metric} by PyIQA")
    from pyiqa.default_model_configs import DEFAULT_CONFIGS

    known: Mapping[str, Mapping[str, Any]] = DEFAULT_CONFIGS
    if metric not in known:
        near = suggestion(metric, list(known)) or ": pyiqa.list_models() lists those there are."
        raise ConfigError(f"metric: pyiqa has no metric named {shown(metric)}{near}")
    if known[metric]["metric_opts"]["type"] in OF_SETS:
        raise ConfigError(
            f"metric: {metric} compares sets of images, where a score for each is needed: choose "
            "another, such as dists."
        )
    return known[metric]


@lru_cache(maxsize=16)
def build_network(metric: str, device: torch.device) -> nn.Module:
    """The package's network, with weights that are on this machine.

    It is kept apart from the metric, so that no checkpoint holds it and all protocols share it.

    Args:
        metric: its name in the package.
        device: where it computes.
    """
    # What it draws at random before its weights are read must not move those of a training run.
    with torch.random.fork_rng(devices=[]), _without_downloads(metric):
        import pyiqa

        network: nn.Module = pyiqa.create_metric(metric, device=device, check_input_range=False)
    return network.requires_grad_(False).eval()


class _DownloadWantedError(BaseException):
    """Raised in the place of a download; no `Exception`, which libraries catch and try again."""


@contextlib.contextmanager
def _without_downloads(metric: str) -> Iterator[None]:
    """Make a metric of weights that are here, in silence, and without running what they hold.

    Raises:
        WeightsNotFoundError: some would have to be downloaded.
        WeightsError: they cannot be read without running what they hold.
        MissingPackageError: a module that only this metric needs.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import LocalEntryNotFoundError

    own, resolve = threading.get_ident(), socket.getaddrinfo

    def refuse(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (those of getaddrinfo)
        if threading.get_ident() == own:
            raise _DownloadWantedError
        return resolve(*args, **kwargs)

    try:
        with (
            patch.object(socket, "getaddrinfo", refuse),
            patch.object(constants, "HF_HUB_OFFLINE", True),  # it has its own cache and retries
            patch.dict(os.environ, TORCH_FORCE_WEIGHTS_ONLY_LOAD="1"),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            yield
    except (_DownloadWantedError, LocalEntryNotFoundError):
        _refuse_download(metric)
    except UnpicklingError as error:
        raise WeightsError(
            f"pyiqa's {metric} has weights that hold more than numbers, which is not read: "
            f"{str(error).partition(chr(10))[0]}"
        ) from error
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"pyiqa's {metric} needs the module {error.name}, which is not installed: install the "
            "package that holds it."
        ) from error


def _refuse_download(metric: str) -> NoReturn:
    raise WeightsNotFoundError(
        f"pyiqa's {metric} needs weights that are not on this machine. Let pyiqa download them: "
        f"python -c \"import pyiqa; pyiqa.create_metric('{metric}')\""
    ) from None

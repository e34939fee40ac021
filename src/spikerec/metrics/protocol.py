"""A named protocol: what is done to an image before it is scored, and by which metrics.

In this field figures differ by protocol as much as by method. A protocol is therefore data
(`conf/protocol/NAME.yaml`) that states everything a figure depends on beyond the images, and its
digest travels with every record: figures of two digests never share a column.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spikerec import weights
from spikerec.errors import (
    ConfigError,
    InputError,
    MissingPackageError,
    WeightsNotFoundError,
    errors_about,
)
from spikerec.kinds import checked, found
from spikerec.metrics.alignment import Alignment, align, needs_target
from spikerec.metrics.base import ImageMetric, QualityMetric
from spikerec.metrics.pairs import Known, Pair, PairMetric
from spikerec.metrics.recording import Recording, RecordingMetric

Rounding = Literal["none", "nearest", "down"]


@checked
class Protocol(nn.Module):
    """A named definition of the preparation and scoring of images.

    A metric whose package or weights are not installed is left out and named in `unavailable`: it
    never yields a number.

    A protocol that has a metric of pairs scores videos: an evaluation under it goes through the
    images of each clip in order, and a sample is a clip.

    Attributes:
        metrics: the available metrics by name.
        unavailable: metric → the reason, and the command that would make it available.

    Args:
        name: of the protocol.
        metrics: name → a class of metric, or a `functools.partial` of one.
        statement: what else it states, as text by topic (`frames`, `light_scale`, `quirks`, …).
        clip: bring the reconstruction into [0, 1] first. Targets are taken as they are.
        border: pixels dropped at each side of both images.
        rounding: of the reconstruction to 8-bit grey levels: `none`, `nearest`, or `down`, which
            truncates. Targets are taken as they are.
        alignment: of the reconstruction's brightness with the target's, inside the border and
            before all else (`spikerec.metrics.alignment`): `none`, `gain`, `affine`, `matched`, or
            `equalised`. All but `none` and `equalised` need a target.

    Raises:
        ConfigError: no metric, a key that cannot name one, what is no class of metric, a class that
            does not state its name or direction, a negative border, another word for rounding or
            alignment, or an alignment with the target beside a metric that runs the network again,
            whose images of parts of a recording have no target.

    Example:
        >>> from spikerec.metrics import PSNR
        >>> Protocol("mine", {"psnr": PSNR}, border=8)
        Protocol(mine: psnr; clip=True, border=8, rounding=none)
    """

    def __init__(
        self,
        name: str,
        metrics: Mapping[str, Callable[[], QualityMetric]],
        statement: Mapping[str, str] | None = None,
        *,
        clip: bool = True,
        border: int = 0,
        rounding: Rounding = "none",
        alignment: Alignment = "none",
    ) -> None:
        super().__init__()
        if not metrics:
            raise ConfigError("metrics must name at least one metric, found none.")
        for key, make in metrics.items():
            with errors_about(make):
                _check_metric(key, make)
        if border < 0:
            raise ConfigError(f"border must be at least 0, found {border}.")
        if rounding not in ("none", "nearest", "down"):
            raise ConfigError(f"rounding must be none, nearest or down, found {rounding}.")
        if needs_target(alignment):
            for key, make in metrics.items():
                if getattr(_class_of(make), "needs_network", False):
                    raise ConfigError(
                        f"metrics names {key}, which scores images of parts of a recording: there "
                        f"is no true image to which alignment={alignment} could fit them. Leave "
                        "out one of the two."
                    )
        self.name = name
        self.statement = dict(statement or {})
        self.clip = clip
        self.border = border
        self.rounding = rounding
        self.alignment = alignment
        self.unavailable: dict[str, str] = {}
        self._factories = dict(metrics)
        self.metrics = nn.ModuleDict()
        for key, factory in self._factories.items():
            try:
                with errors_about(factory):
                    self.metrics[key] = factory()
            except (MissingPackageError, WeightsNotFoundError) as error:
                self.unavailable[key] = str(error)

    def __repr__(self) -> str:
        metrics = ", ".join(
            f"{name} (unavailable)" if name in self.unavailable else name
            for name in self._factories
        )
        return (
            f"Protocol({self.name}: {metrics}; clip={self.clip}, border={self.border}, "
            f"rounding={self.rounding}{self._aligned})"
        )

    @property
    def _aligned(self) -> str:
        return "" if self.alignment == "none" else f", alignment={self.alignment}"

    @property
    def names(self) -> list[str]:
        """All of its metrics, the unavailable ones included."""
        return list(self._factories)

    @checked
    def only(self, metrics: Sequence[str]) -> Protocol:
        """The protocol with some of its metrics.

        Raises:
            ConfigError: one that it does not have.
        """
        if unknown := [name for name in metrics if name not in self._factories]:
            raise ConfigError(
                f"metrics names {unknown[0]}, which protocol {self.name} does not have: expected "
                f"some of {', '.join(self._factories)}."
            )
        return Protocol(
            self.name,
            {name: self._factories[name] for name in metrics},
            statement=self.statement,
            clip=self.clip,
            border=self.border,
            rounding=self.rounding,
            alignment=self.alignment,
        )

    def prepare(self, image: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Image and target as the metrics see them: cut, aligned, clipped and rounded.

        Args:
            image: (B, 1, H, W), intensity.
            target: (B, 1, H, W) in [0, 1], or None.

        Raises:
            InputError: nothing is left inside the border, or there is no target to align with.
        """
        if 2 * self.border >= min(image.shape[-2:]):
            raise InputError(
                f"protocol {self.name} drops {self.border} pixels at each side: nothing is left "
                f"of {image.shape[-2]} × {image.shape[-1]}."
            )
        image, target = self._cut(image), None if target is None else self._cut(target)
        image, target = align(image, target, self.alignment)
        if self.clip:
            image = image.clamp(0, 1)
        if self.rounding == "nearest":
            image = (image * 255).round() / 255
        if self.rounding == "down":
            image = (image * 255).floor() / 255
        return image, target

    def score(
        self,
        image: Tensor,
        target: Tensor | None = None,
        keys: Sequence[str] | None = None,
        recording: Recording | None = None,
    ) -> dict[str, Tensor]:
        """Return the value of each image by each available metric.

        Args:
            image: (B, 1, H, W), intensity, as the network returns it.
            target: (B, 1, H, W) in [0, 1], or None for real recordings.
            keys: names of the images, for error messages.
            recording: the spikes that the images were made from, for the metrics that compare with
                them; None leaves these metrics out.

        Returns:
            metric → (B,) float64, not finite where a metric is not defined for an image. Without a
            target, the metrics without reference alone.

        Raises:
            InputError: an image or a target has values that are not finite. Clipping would turn
                infinity into white, and leaving the image out would flatter the method.
        """
        _check_finite("image", image, keys)
        if target is not None:
            _check_finite("target", target, keys)
        image, target = self.prepare(image, target)
        recording = None if recording is None else self._prepared(recording)

        def value(metric: ImageMetric) -> Tensor:
            if min(image.shape[-2:]) < metric.smallest:
                return torch.full((len(image),), torch.nan, dtype=torch.float64)
            if isinstance(metric, RecordingMetric):
                return metric.score(image, recording=recording)
            return metric.score(image, target)

        return {
            name: value(metric)
            for name, metric in self._image_metrics().items()
            if (target is not None or not metric.needs_target)
            and (recording is not None or not metric.needs_recording)
        }

    @property
    def scores_videos(self) -> bool:
        """True if a metric, available or not, is one of pairs of consecutive images."""
        return any(issubclass(_class_of(make), PairMetric) for make in self._factories.values())

    def score_pair(self, images: Tensor, targets: Tensor | None, known: Known) -> dict[str, Tensor]:
        """Return the value of two consecutive images by each available metric of pairs.

        Args:
            images: (2, 1, H, W) intensity, as the network returns them, the earlier one first.
            targets: (2, 1, H, W) in [0, 1]; None where there are none.
            known: about both.

        Returns:
            metric → a float64 scalar, not finite where it is not defined for the pair.
        """
        images, targets = self.prepare(images, targets)
        pair = Pair(images, targets, known.cut(self.border))
        return {
            name: metric.score(pair)
            if min(images.shape[-2:]) >= metric.smallest
            else torch.tensor(torch.nan, dtype=torch.float64)
            for name, metric in self.metrics.items()
            if isinstance(metric, PairMetric)
        }

    def update(self, image: Tensor, target: Tensor | None = None) -> None:
        """Add a batch to the means; see `score`. Metrics that need the recording are left out."""
        image, target = self.prepare(image, target)
        for metric in self._image_metrics().values():
            if not metric.needs_recording and (target is not None or not metric.needs_target):
                metric.update(image, target)

    def compute(self) -> dict[str, Tensor]:
        """Means over all images since the last `reset`, by metric; only of those updated."""
        metrics = self._image_metrics()
        return {name: m.compute() for name, m in metrics.items() if m.update_called}

    def reset(self) -> None:
        """Forget all images seen."""
        for metric in self._image_metrics().values():
            metric.reset()

    def describe(self) -> dict[str, Any]:
        """All that defines the protocol, as plain values; what `digest` is taken over."""
        return {
            "name": self.name,
            "statement": self.statement,
            "clip": self.clip,
            "border": self.border,
            "rounding": self.rounding,
            # Left out where there is none, so that protocols keep the digest of their records.
            **({} if self.alignment == "none" else {"alignment": self.alignment}),
            "metrics": {name: describe_metric(make) for name, make in self._factories.items()},
        }

    def provenance(self) -> dict[str, dict[str, Any]]:
        """By available metric: the package and version that compute it, and its weights' digests.

        For a class of the user's own: its module, and the digest of its code in place of a version.
        Differs between machines, so it is kept apart from `describe`.
        """
        return {
            name: {
                **_package(metric),
                "weights": {key: weights.weights_digest(key) for key in metric.needs_weights},
            }
            for name, metric in self._available().items()
        }

    @property
    def digest(self) -> str:
        """SHA-256 of what defines the protocol: statements, preparation, metrics and arguments."""
        text = json.dumps(self.describe(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def higher_is_better(self) -> dict[str, bool]:
        """Available metric → which way is better."""
        return {name: bool(m.higher_is_better) for name, m in self._available().items()}

    @property
    def needs_target(self) -> dict[str, bool]:
        """Available metric → whether it compares with the true image."""
        return {name: m.needs_target for name, m in self._available().items()}

    def why_missing(self) -> dict[str, str]:
        """Available metric → which images have no value by it; see `QualityMetric.why_missing`."""
        return {name: m.why_missing() for name, m in self._available().items()}

    def _prepared(self, recording: Recording) -> Recording:
        """The recording of prepared images: its border cut, the network's images prepared."""
        again = recording.again

        def prepared_again(change: Callable[[Tensor], Tensor]) -> Tensor:
            assert again is not None
            return self.prepare(again(change), None)[0]

        return replace(
            recording,
            spikes=self._cut(recording.spikes),
            again=None if again is None else prepared_again,
        )

    def _cut(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        return image[..., self.border : height - self.border, self.border : width - self.border]

    def _image_metrics(self) -> dict[str, ImageMetric]:
        return {name: m for name, m in self.metrics.items() if isinstance(m, ImageMetric)}

    def _available(self) -> dict[str, QualityMetric]:
        return {name: m for name, m in self.metrics.items() if isinstance(m, QualityMetric)}


def _check_finite(kind: str, images: Tensor, keys: Sequence[str] | None) -> None:
    spoilt = images.isfinite().logical_not().flatten(1).sum(dim=1)
    for index, count in enumerate(spoilt.tolist()):
        if count:
            name = f"sample {keys[index]!r}" if keys else f"image {index} of the batch"
            raise InputError(
                f"{name}: {count} of the {kind}'s {images[index].numel()} pixels are not finite "
                "numbers, so that no metric is defined. Check the weights, or the recording."
            )


def _class_of(factory: Callable[[], QualityMetric]) -> Any:  # noqa: ANN401 (a class, of metrics)
    return factory.func if isinstance(factory, partial) else factory


def _package(metric: QualityMetric) -> dict[str, str | None]:
    """The package that computes a metric and its version, or the digest of the user's own code."""
    origin = metric.origin()
    name, code = str(origin["implementation"]), origin.get("code")
    if code is not None:
        return {"package": name, "code": code}
    try:
        return {"package": name, "version": version(name.partition(".")[0])}
    except PackageNotFoundError:  # a module that no distribution of its name installed
        return {"package": name, "version": None}


def _check_metric(key: str, factory: Any) -> None:  # noqa: ANN401 (whatever a user has given)
    """Refuse a metric of a protocol that could not be made, or whose figures could not be compared.

    Raises:
        ConfigError: naming the metric.
    """
    if not key or "." in key or hasattr(nn.ModuleDict, key):
        raise ConfigError(
            f"metrics names {key!r}, which cannot be the key of a metric: choose a word without "
            "a full stop that is no attribute of torch.nn.ModuleDict."
        )
    cls = _class_of(factory)
    if not isinstance(cls, type) or not issubclass(cls, QualityMetric):
        raise ConfigError(
            f"metrics.{key} must be a class of metric, or a functools.partial of one, found "
            f"{found(cls)}: derive a class from ImageMetric, and give the class itself."
        )
    name, direction = getattr(cls, "name", None), cls.higher_is_better
    if not isinstance(name, str) or not name:
        raise ConfigError(
            f"metrics.{key}: {cls.__name__}.name must be a text, the metric's name in tables and "
            f'logs, found {found(name)}: state it in the class, as name = "{key}".'
        )
    if not isinstance(direction, bool | property):
        raise ConfigError(
            f"metrics.{key}: {cls.__name__}.higher_is_better must be True or False, found "
            f"{found(direction)}: state in the class which way is better."
        )


def describe_metric(factory: Callable[[], QualityMetric]) -> dict[str, Any]:
    """A metric's class and arguments, whether or not its weights are here."""
    made = factory if isinstance(factory, partial) else partial(factory)
    metric: Any = made.func
    given = inspect.signature(metric).bind(*made.args, **made.keywords)
    given.apply_defaults()
    facts: dict[str, Any] = metric.facts(given.arguments)
    return facts

"""Base of the metrics of image quality: one value per image, averaged over images.

A metric returns the value of each image (`score`), which the results store keeps, and accumulates
sum and count as a torchmetrics metric (`update`, `compute`), which training logs. Both give the
same mean on one process and on several, however the images are spread.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from spikerec.errors import ConfigError, InputError
from spikerec.kinds import found_array
from spikerec.own_code import OURS, code_digest


class QualityMetric(Metric):
    """Base of every metric of a protocol: the mean of values, each of one image or pair of images.

    Class attributes:
        name: its name in tables and logs.
        unit: `dB`, or empty.
        higher_is_better: which way is better.
        needs_target: whether it compares with the true image.
        needs_recording: whether it compares with the spikes (see `spikerec.metrics.recording`).
        implementation: the distribution that computes it, as named in the registry; of a class
            that is not of spikerec, its module unless it states another (see `origin`).
        revision: counts the changes of what it computes, so that older figures have a column of
            their own.
        needs_weights: what it needs from the weights cache.
        smallest: least height and width of an image.
        undefined: which images have no value, for a record that lacks one; empty if all have.
    """

    name: str
    unit: ClassVar[str] = ""
    needs_target: bool = True
    needs_recording: ClassVar[bool] = False
    implementation: ClassVar[str] = "spikerec"
    revision: ClassVar[int] = 1
    needs_weights: ClassVar[tuple[str, ...]] = ()
    smallest: ClassVar[int] = 1
    undefined: ClassVar[str] = ""

    is_differentiable = False
    full_state_update = False

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        zero = torch.zeros((), dtype=torch.float64)
        self.add_state("total", zero, dist_reduce_fx="sum")
        self.add_state("count", zero.clone(), dist_reduce_fx="sum")

    @classmethod
    def facts(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """All that defines the metric, as plain values, whether or not its weights are here.

        Args:
            arguments: those that it is made with, the defaults included.
        """
        first = {
            "metric": cls.name,
            "arguments": dict(arguments),
            **cls.origin(),
            "unit": cls.unit,
            "higher_is_better": cls.higher_is_better,
            "needs_target": cls.needs_target,
        }
        return first if cls.revision == 1 else first | {"revision": cls.revision}

    @classmethod
    def origin(cls) -> dict[str, str | None]:
        """Origin of the metric: `implementation`, and `code` of a class not of spikerec.

        The code is a digest of the user's own, so that two definitions of one name are told apart;
        None for a class of an installed package.
        """
        if _is_ours(cls):
            return {"implementation": cls.implementation}
        states = next(one for one in cls.__mro__ if "implementation" in vars(one))
        implementation = cls.__module__ if _is_ours(states) else cls.implementation
        return {"implementation": implementation, "code": code_digest(cls)}

    def add(self, values: Tensor) -> None:
        """Count the values that are finite."""
        values = values[values.isfinite()].to(self.total)
        self.total += values.sum()
        self.count += values.numel()

    def compute(self) -> Tensor:
        """Mean over all values, a float64 scalar; NaN if there is none."""
        return self.total / self.count

    def _check_size(self, image: Tensor) -> None:
        if min(image.shape[-2:]) < self.smallest:
            raise InputError(
                f"{self.name} needs images of at least {self.smallest} × {self.smallest} pixels, "
                f"found {image.shape[-2]} × {image.shape[-1]}."
            )

    def _checked(self, values: Any, images: Tensor, method: str) -> Tensor:  # noqa: ANN401 (a user's)
        """Values of images as float64, if a subclass's method has returned one for each of them.

        Raises:
            ConfigError: it has returned anything else.
        """
        expected = (len(images),)
        if isinstance(values, Tensor) and values.shape == expected and values.is_floating_point():
            return values.double()
        raise ConfigError(
            f"metric {self.name}: {type(self).__name__}.{method} must return one value per image, "
            f"a floating tensor (B,), here {expected}, found {found_array(values)}: reduce what it "
            "computes over all dimensions but the first, as .mean(dim=(1, 2, 3)) does."
        )

    def why_missing(self) -> str:
        """State which images have no value by this metric, as a record's reason."""
        small = f"images smaller than {self.smallest} × {self.smallest} pixels"
        kinds = [small] * (self.smallest > 1) + [self.undefined] * bool(self.undefined)
        return f"{self.name} is not defined for {' and '.join(kinds) or 'these images'}."


class ImageMetric(QualityMetric):
    """Base of every metric of image quality.

    A subclass defines `measure` and the class attributes.
    """

    @abstractmethod
    def measure(self, image: Tensor, target: Tensor) -> Tensor:
        """Values (B,) of checked images; a metric without reference is handed the image twice."""

    @torch.no_grad()
    def score(self, image: Tensor, target: Tensor | None = None) -> Tensor:
        """The metric's value for each image.

        Args:
            image: (B, 1, H, W) floating, in [0, 1].
            target: the true images, of the same shape and range; not read by a metric without
                reference.

        Returns:
            (B,) float64, not finite for an image that has no value. The value of an image does not
            depend on the others of its batch.

        Raises:
            ConfigError: `measure` returns anything but a floating tensor (B,).
            InputError: another shape or type, an image too small, or no target where one is needed.
            WeightsError: weights that were there when the metric was built are gone or damaged.
        """
        self._check(image, target)
        values = self.measure(image, image if target is None else target)
        return self._checked(values, image, "measure")

    def update(self, image: Tensor, target: Tensor | None = None) -> None:
        """Add the values of a batch; see `score`. What has no value is not counted."""
        self.add(self.score(image, target))

    def _check(self, image: Tensor, target: Tensor | None) -> None:
        if image.ndim != 4 or image.shape[1] != 1 or not image.is_floating_point():
            raise InputError(
                f"{self.name} takes images (B, 1, H, W) of a floating type in [0, 1], found "
                f"{tuple(image.shape)} {image.dtype}."
            )
        self._check_size(image)
        if self.needs_target and target is None:
            raise InputError(f"{self.name} compares with a true image: found no target.")
        if self.needs_target and target is not None and target.shape != image.shape:
            raise InputError(
                f"{self.name} needs image and target of one shape, found {tuple(image.shape)} and "
                f"{tuple(target.shape)}."
            )


def _is_ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == OURS


def each(function: Any, *images: Tensor) -> Tensor:  # noqa: ANN401 (any function of single images)
    """Values of a function of one image (1, 1, H, W), applied to each image of a batch.

    Keeps memory at that of one image, and each value free of its neighbours in the batch.
    """
    singles = zip(*(torch.split(image, 1) for image in images), strict=True)
    return torch.cat([function(*single).reshape(1) for single in singles])


def to_levels(image: Tensor) -> Tensor:
    """Intensity in [0, 1] as float64 grey levels in [0, 255], not rounded.

    The product is taken in the image's own precision, as the published evaluations do.
    """
    return (image * 255).double()

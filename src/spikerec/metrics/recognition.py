"""Recognition: a classifier names what the image shows, and its clip's label is the truth."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spikerec.kinds import checked
from spikerec.metrics.classifier import Classifier, default_path, read_classifier
from spikerec.metrics.recording import Recording, RecordingMetric
from spikerec.parsing import shown
from spikerec.weights import digest

#: Labels, and classes, that a reason names.
MOST_NAMED = 3


@checked
class Recognition(RecordingMetric):
    """1 where the classifier's first guess is the clip's label, else 0; higher is better.

    The mean over a set is the accuracy. It tells how much of what one classifier looks for a
    reconstruction has kept, and by how much methods differ in that. It cannot tell a good picture:
    one that is reduced to 64 × 64 pixels first shows no fine texture, a method that resembles the
    classifier's training images is favoured, and a mistake may be the classifier's as well as the
    method's. Compare methods by one classifier, never accuracies by two: the digest of the weights
    is part of the metric's definition, so that theirs share no column.

    Args:
        weights: file of the classifier that `python -m spikerec.training.recognition` made; None
            for `recognition.safetensors` in the folder of the weights cache.

    Raises:
        WeightsNotFoundError: no such file; says how to make it.
        WeightsError: it is not the file of a classifier.
    """

    name = "recognition"
    higher_is_better = True

    def __init__(self, weights: str | Path | None = None) -> None:
        super().__init__()
        self._unknown: set[str] = set()
        self.path = _path(weights)
        self.classes = read_classifier(self.path).classes
        self.weights_digest = digest(self.path)

    @classmethod
    def facts(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """See `QualityMetric.facts`; the digest of the weights stands for their file."""
        path = _path(arguments["weights"])
        return super().facts({"weights": digest(path) if path.is_file() else None})

    def compare(self, image: Tensor, recording: Recording) -> Tensor:
        """See `RecordingMetric.compare`."""
        labels = recording.labels or [""] * len(image)
        self._unknown |= set(labels) - {"", *self.classes}
        classifier = _classifier(self.path, self.weights_digest, image.device)
        guesses = [self.classes[guess] for guess in classifier(image).argmax(1).tolist()]
        values = [
            float(guess == label) if label in self.classes else torch.nan
            for guess, label in zip(guesses, labels, strict=True)
        ]
        return torch.tensor(values, dtype=torch.float64)

    def why_missing(self) -> str:
        """See `QualityMetric.why_missing`: names labels that were met and are none of its own."""
        undefined = f"{self.name} is not defined for clips without a label"
        if not self._unknown:
            return f"{undefined}."
        met, known = (
            ", ".join(map(shown, sorted(names)[:MOST_NAMED]))
            for names in (self._unknown, self.classes)
        )
        return (
            f"{undefined}, or with one that the classifier does not know, such as {met}; it knows "
            f"{len(self.classes)} classes, such as {known}, spelled alike with their capitals."
        )


def _path(weights: str | Path | None) -> Path:
    return default_path() if weights is None else Path(weights)


@lru_cache(maxsize=2)
def _classifier(path: Path, _digest: str, device: torch.device) -> Classifier:
    """The network, kept apart from the metric, so that no checkpoint holds it."""
    return read_classifier(path).to(device)

"""A small classifier of grey images, the judge of `spikerec.metrics.Recognition`.

Its file holds its weights and the names of its classes. `spikerec.training.recognition` makes one
from a folder of labelled pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from spikerec.errors import ConfigError, WeightsError, WeightsNotFoundError
from spikerec.weights import load_weights, read_state, weights_dir
from spikerec.weights.checkpoint import read_entry

#: Entry of the file's metadata that states the classes.
ENTRY = "recognition"

SIDE = 64  # pixels to which images are reduced: their averages bear shot noise
WIDTHS = (24, 48, 96, 128)
MOST_CLASSES = 1_000
MOST_CHARACTERS = 100  # of a class's name
DARKEST_SPREAD = 1e-6  # of an image without contrast, which is not divided by 0


class Classifier(nn.Module):
    """Four convolutions with batch norm, each halving the image, and a linear layer on their mean.

    Images are reduced to 64 × 64 pixels, less their mean and over their standard deviation, so that
    neither size, gain nor offset of the brightness counts.

    Args:
        classes: names of the classes, each once.

    Raises:
        ConfigError: fewer than two classes, more than `MOST_CLASSES`, or two of one name.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__()
        self.classes = tuple(classes)
        if not 2 <= len(set(self.classes)) == len(self.classes) <= MOST_CLASSES:
            raise ConfigError(
                f"classes must be 2 to {MOST_CLASSES:,} different names, found "
                f"{len(self.classes):,}, {len(set(self.classes)):,} of them different."
            )
        layers: list[nn.Module] = []
        for before, after in zip((1, *WIDTHS), WIDTHS, strict=False):
            convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(WIDTHS[-1], len(self.classes))

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, classes) of images (B, 1, H, W)."""
        x = F.adaptive_avg_pool2d(image.float(), SIDE)
        deviation = x.std((1, 2, 3), keepdim=True).clamp(min=DARKEST_SPREAD)
        x = (x - x.mean((1, 2, 3), keepdim=True)) / deviation
        x = self.features(x).mean((2, 3))  # (B, 128)
        logits: Tensor = self.head(x)
        return logits


def default_path() -> Path:
    """The file of the classifier where none is named: in the folder of the weights cache."""
    return weights_dir() / "recognition.safetensors"


def read_classifier(path: Path) -> Classifier:
    """Read a classifier for evaluation, on the CPU.

    Raises:
        WeightsNotFoundError: no such file; says how to make it.
        WeightsError: it is not the file of a classifier.
    """
    if not path.is_file():
        raise WeightsNotFoundError(
            f"there is no classifier {path}. Make one from your labelled pictures, a folder for "
            f"each class: python -m spikerec.training.recognition PICTURES --output {path}"
        )
    classes = read_entry(path, ENTRY).get("classes")
    if not isinstance(classes, list) or not all(
        isinstance(name, str) and len(name) <= MOST_CHARACTERS for name in classes
    ):
        raise WeightsError(
            f"{path} states no names of classes: expected a file that `python -m "
            "spikerec.training.recognition` wrote."
        )
    try:
        classifier = Classifier(classes)
    except ConfigError as error:
        raise WeightsError(f"{path}: {error}") from error
    load_weights(classifier, read_state(path), str(path))
    return classifier.eval()

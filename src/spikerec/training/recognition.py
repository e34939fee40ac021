"""Training of the classifier that `spikerec.metrics.Recognition` judges by.

    python -m spikerec.training.recognition PICTURES

PICTURES holds a folder of images for each class, named as the clips are labelled: for U-CALTECH,
whose clips show the pictures of Caltech 101, that set's folder `101_ObjectCategories`.

Each picture is seen as it is, and as TFP shows simulated recordings of it at random light scales,
windows and contrasts. The judge thus knows noise of all strengths, and no method but TFP. It does
not know what learned methods do to a picture, nor what a screen and a lens do to one: its accuracy
on real clips is lower than that on the held-out pictures, which it states.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from spikerec.errors import DataError, SpikerecError, WeightsError
from spikerec.metrics.classifier import ENTRY, SIDE, Classifier, default_path
from spikerec.simulation import Camera
from spikerec.simulation.images import fitted, image_files, read_grey
from spikerec.spikes.folders import folders_in
from spikerec.spikes.representations import tfp
from spikerec.weights import save_state
from spikerec.weights.checkpoint import read_entry

RECORDED_SIDE = 2 * SIDE  # pixels of a simulated recording
RECORDINGS = 3  # of each picture
HELD_OUT = 5  # every fifth picture of a class is held out
FEWEST_PICTURES = 5  # of a class

#: Ranges of the recordings, all drawn evenly in their logarithm.
LIGHT_SCALES = (0.02, 0.4)
WINDOWS = (21, 199)
GAMMAS = (0.5, 2.0)

EPOCHS = 30
BATCH = 32
LEARNING_RATE = 2e-3
MOST_SHIFT = 4  # pixels of 64


@dataclass(frozen=True)
class Trained:
    """A trained classifier.

    Attributes:
        classifier: in evaluation mode.
        accuracy: share of the recordings of held-out pictures that it recognises.
        chance: share of the largest class among them.
        recipe: digest of the pictures and settings that it was trained by.
    """

    classifier: Classifier
    accuracy: float
    chance: float
    recipe: str

    def save(self, path: Path) -> None:
        """Write weights and classes.

        Raises:
            WeightsError: another classifier is there.
        """
        about = {
            "classes": self.classifier.classes,
            "accuracy": round(self.accuracy, 4),
            "recipe": self.recipe,
        }
        save_state(path, self.classifier.state_dict(), {ENTRY: json.dumps(about)})


def read_pictures(folder: Path) -> dict[str, list[Tensor]]:
    """The pictures of each class, cut to squares of `RECORDED_SIDE` pixels.

    Args:
        folder: holds a folder of images for each class, named as the class.

    Raises:
        DataError: no such folder, fewer than two classes, a file that is not an image, or a class
            with fewer than `FEWEST_PICTURES` pictures.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: expected one that holds a folder for each class.")
    classes = folders_in(folder)
    if len(classes) < 2:
        raise DataError(
            f"{folder} holds {len(classes)} folders: expected a folder of pictures for each of "
            "two classes or more."
        )
    pictures = {}
    for one in classes:
        files = image_files(one)
        if len(files) < FEWEST_PICTURES:
            raise DataError(
                f"{one} holds {len(files)} picture{'s' * (len(files) != 1)}: expected "
                f"{FEWEST_PICTURES} or more of a class."
            )
        pictures[one.name] = [fitted(read_grey(file), *[RECORDED_SIDE] * 2) for file in files]
    return pictures


def record(picture: Tensor, random: torch.Generator) -> Tensor:
    """The image that TFP makes of a simulated recording of a still picture.

    Args:
        picture: (H, W) in [0, 1].
        random: draws light scale, window, contrast and noise.

    Returns:
        (H, W) in [0, 1]: of intensity, clipped, or by chance of firing rates.
    """
    light_scale = _drawn(LIGHT_SCALES, random)
    window = round(_drawn(WINDOWS, random)) // 2 * 2 + 1
    intensity = picture ** _drawn(GAMMAS, random)
    seed = int(torch.randint(1 << 31, (), generator=random))
    spikes = Camera(light_scale).expose(intensity.expand(window, -1, -1), seed=seed)
    is_intensity = bool(torch.randint(2, (), generator=random))
    rate = tfp(spikes[None], key_readout=window // 2, window=window)[0, 0]
    return (rate / light_scale).clamp(0, 1) if is_intensity else rate


def train_classifier(
    pictures: Mapping[str, Sequence[Tensor]],
    *,
    seed: int = 0,
    epochs: int = EPOCHS,
    report: Callable[[str], None] = lambda _line: None,
) -> Trained:
    """Train on four fifths of the pictures, and measure on the others.

    Args:
        pictures: class → images (H, W) in [0, 1] of one size, `FEWEST_PICTURES` or more.
        seed: of all draws; the same seed gives the same weights on one machine.
        epochs: passes over the pictures and their recordings.
        report: called with a line for each fifth of the epochs.
    """
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = Classifier(tuple(pictures))
    known = [
        (image, label)
        for label, images in enumerate(pictures.values())
        for index, image in enumerate(images)
        if index % HELD_OUT
    ]
    unknown = [
        (image, label)
        for label, images in enumerate(pictures.values())
        for image in images[::HELD_OUT]
    ]
    report(f"{len(pictures)} classes, {len(known)} pictures to learn, {len(unknown)} held out")
    images, labels = _recordings(known, random, with_pictures=True)
    _fit(classifier, images, labels, epochs, random, report)
    images, labels = _recordings(unknown, random, with_pictures=False)
    with torch.no_grad():
        guesses = torch.cat([classifier(part).argmax(1) for part in torch.split(images, BATCH)])
    accuracy = (guesses == labels).double().mean().item()
    chance = labels.bincount().max().item() / len(labels)
    return Trained(classifier, accuracy, chance, recipe(pictures, seed, epochs))


def recipe(pictures: Mapping[str, Sequence[Tensor]], seed: int, epochs: int) -> str:
    """SHA-256 of the pictures, in their order, and of the settings of a training."""
    found = hashlib.sha256(f"{seed} {epochs}".encode())
    for label, images in pictures.items():
        found.update(f"{label} {len(images)}".encode())
        for image in images:
            found.update(image.numpy().tobytes())
    return found.hexdigest()


def _recordings(
    pictures: Sequence[tuple[Tensor, int]], random: torch.Generator, *, with_pictures: bool
) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 64, 64) of recordings, and of the pictures if wanted, with labels (N,)."""
    images, labels = [], []
    for picture, label in pictures:
        seen = [record(picture, random) for _ in range(RECORDINGS)]
        seen += [picture] * with_pictures
        images += [F.adaptive_avg_pool2d(image[None], SIDE) for image in seen]
        labels += [label] * len(seen)
    return torch.stack(images), torch.tensor(labels)


def _fit(
    classifier: Classifier,
    images: Tensor,
    labels: Tensor,
    epochs: int,
    random: torch.Generator,
    report: Callable[[str], None],
) -> None:
    """Train in place, on images that are shifted and mirrored at random."""
    optimizer = torch.optim.AdamW(classifier.parameters(), LEARNING_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        losses = []
        classifier.train()
        for batch in torch.split(torch.randperm(len(images), generator=random), BATCH):
            if len(batch) == 1:  # batch norm needs more
                continue
            loss = F.cross_entropy(classifier(_moved(images[batch], random)), labels[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
        schedule.step()
        if (epoch + 1) % max(epochs // 5, 1) == 0:
            report(f"epoch {epoch + 1} of {epochs}: loss {sum(losses) / len(losses):.3f}")
    classifier.eval()


def _moved(images: Tensor, random: torch.Generator) -> Tensor:
    """A batch shifted by up to `MOST_SHIFT` pixels, and mirrored every other time."""
    down, right = torch.randint(2 * MOST_SHIFT + 1, (2,), generator=random).tolist()
    padded = F.pad(images, [MOST_SHIFT] * 4, mode="replicate")
    moved = padded[..., down : down + SIDE, right : right + SIDE]
    return moved.flip(-1) if torch.randint(2, (), generator=random) else moved


def _drawn(limits: tuple[float, float], random: torch.Generator) -> float:
    low, high = limits
    return float(low * (high / low) ** torch.rand((), generator=random).item())


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the pictures, train, and write the classifier."""
    parser = argparse.ArgumentParser(
        prog="python -m spikerec.training.recognition",
        description="Train the classifier of the metric `recognition`.",
    )
    parser.add_argument(
        "pictures",
        type=Path,
        help=f"folder that holds a folder of {FEWEST_PICTURES} pictures or more for each class",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=default_path(),
        help="the classifier's file, which must not exist yet (default: %(default)s)",
    )
    parser.add_argument(
        "--epochs", type=int, default=EPOCHS, help="passes over the pictures (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all draws (default: 0)")
    options = parser.parse_args(arguments)

    def report(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    try:
        pictures = read_pictures(options.pictures)
        if options.output.exists():
            wanted = recipe(pictures, options.seed, options.epochs)
            if read_entry(options.output, ENTRY).get("recipe") != wanted:
                raise WeightsError(
                    f"{options.output} exists already and is not of these pictures and settings, "
                    "and figures may rest on it: name --output=FILE, or delete it first."
                )
            report(f"{options.output} is there already, of the same pictures and settings")
            return
        trained = train_classifier(
            pictures, seed=options.seed, epochs=options.epochs, report=report
        )
        trained.save(options.output)
    except SpikerecError as error:
        sys.exit(str(error))
    report(
        f"{options.output}: recognises {trained.accuracy:.0%} of the recordings of held-out "
        f"pictures (chance {trained.chance:.0%})"
    )


if __name__ == "__main__":
    main()

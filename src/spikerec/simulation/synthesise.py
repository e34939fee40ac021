"""A whole synthetic data set, made from photographs: no download, and the same bytes for a seed.

The photographs are dealt out to the splits first, so that no split shows what another was trained
on. Bytes repeat on one kind of machine; where another rounds an intensity otherwise, single spikes
move by a readout.

`ROOT/dataset.yaml` is the set's card. It appears when the last scene is written; until then it is
called `dataset.unfinished.yaml`, and the same call continues where the last one stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from spikerec.errors import ConfigError, InputError
from spikerec.simulation.camera import Camera
from spikerec.simulation.cards import plain_values, stands, write_card
from spikerec.simulation.images import SourceImage
from spikerec.simulation.layout import Recording, SREDSLayout, write_scene
from spikerec.simulation.scenes import RandomScene, SceneStyle

CARD = "dataset.yaml"
UNFINISHED_CARD = "dataset.unfinished.yaml"
CARD_VERSION = 2  # of what is drawn and how it is written: raise it when either changes

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Recipe:
    """What a synthetic set is made of.

    Args:
        scenes: split → number of scenes.
        images_per_scene: images, and files of `readouts_per_image` readouts, of a scene.
        height: rows.
        width: columns.
        seed: of scenes, noise and the dealing of photographs.
        name: the set's name in its card.
        readouts_per_image: readouts between images.
        style: how much happens in a scene.

    Raises:
        ConfigError: a number below 1, or no split.
    """

    scenes: Mapping[str, int]
    images_per_scene: int
    height: int
    width: int
    seed: int
    name: str = "synthetic"
    readouts_per_image: int = 20
    style: SceneStyle = field(default_factory=SceneStyle)

    def __post_init__(self) -> None:
        if not self.scenes or min(self.scenes.values()) < 1:
            raise ConfigError(
                f"scenes must name at least one split, with at least 1 scene each; found "
                f"{dict(self.scenes)}."
            )
        for name in ("images_per_scene", "height", "width", "readouts_per_image"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, found {getattr(self, name)}.")


def write_synthetic(
    root: str | Path,
    images: Sequence[SourceImage],
    camera: Camera,
    recipe: Recipe,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Path:
    """Write a synthetic set in SREDS layout, or what is still missing of it.

    Args:
        root: folder of the set; made if need be.
        images: photographs, at least one a split.
        camera: what exposes the scenes.
        recipe: what is made.
        device: where scenes are rendered and exposed.
        progress: called with (scenes done, scenes in all), also for those that were there.

    Returns:
        Path of the card.

    Raises:
        DataError: the folder holds another set, or the start of another one.
        InputError: fewer photographs than splits.
    """
    root = Path(root)
    shares = deal_images(images, recipe.scenes, recipe.seed)
    card = plain_values(_card(images, shares, camera, recipe))
    if stands(root / CARD, card):
        return root / CARD
    if not stands(root / UNFINISHED_CARD, card):
        write_card(root / UNFINISHED_CARD, card)
    layout = SREDSLayout(root, camera.light_scale, recipe.readouts_per_image)
    wanted = [(split, index) for split, count in recipe.scenes.items() for index in range(count)]
    for done, (split, index) in enumerate(wanted, start=1):
        _write_one(layout, split, index, shares[split], camera, recipe, device)
        if progress is not None:
            progress(done, len(wanted))
    (root / UNFINISHED_CARD).replace(root / CARD)
    return root / CARD


def deal_images(
    images: Sequence[SourceImage], scenes: Mapping[str, int], seed: int
) -> dict[str, list[SourceImage]]:
    """Deal photographs out to the splits, each to one of them.

    A split's share follows its number of scenes, and is at least two photographs where there are
    enough of them, so that objects differ from their background.

    Raises:
        InputError: fewer photographs than splits.
    """
    if len(images) < len(scenes):
        raise InputError(
            f"{len(images)} source image(s) for {len(scenes)} splits ({', '.join(scenes)}): "
            "expected at least one a split, since splits share none. Give more, or fewer splits."
        )
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).tolist()
    least = min(2, len(images) // len(scenes))
    counts = dict.fromkeys(scenes, least)
    for _ in range(len(images) - least * len(scenes)):
        neediest = max(scenes, key=lambda split: scenes[split] / counts[split])
        counts[neediest] += 1
    shares = {}
    for split, count in counts.items():
        shares[split] = [images[index] for index in sorted(order[:count])]
        order = order[count:]
    return shares


def _write_one(
    layout: SREDSLayout,
    split: str,
    index: int,
    images: Sequence[SourceImage],
    camera: Camera,
    recipe: Recipe,
    device: torch.device | str,
) -> None:
    name = f"{index:04d}"
    if layout.has(split, name):
        return
    seed = _scene_seed(recipe.seed, split, index)
    scene = RandomScene(
        [one.image for one in images],
        height=recipe.height,
        width=recipe.width,
        seed=seed,
        style=recipe.style,
        device=device,
    )
    recording = Recording(scene, camera, seed, recipe.images_per_scene, recipe.readouts_per_image)
    write_scene(layout.root, split, name, recording)


def _scene_seed(seed: int, split: str, index: int) -> int:
    """A seed of 62 bits for a scene, unrelated to those of its neighbours."""
    digest = hashlib.sha256(f"{seed}/{split}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 2


def _card(
    images: Sequence[SourceImage],
    shares: Mapping[str, Sequence[SourceImage]],
    camera: Camera,
    recipe: Recipe,
) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "version": CARD_VERSION,
        "layout": "sreds",
        "height": recipe.height,
        "width": recipe.width,
        "light_scale": camera.light_scale,
        "readouts_per_image": recipe.readouts_per_image,
        "images_per_scene": recipe.images_per_scene,
        "key_readout": f"image j (from 0) shows readout {recipe.readouts_per_image}·j",
        "seed": recipe.seed,
        "camera": asdict(camera),
        "style": asdict(recipe.style),
        "splits": {
            split: {"scenes": recipe.scenes[split], "images": [one.name for one in share]}
            for split, share in shares.items()
        },
        "sources": [
            {"name": one.name, "licence": one.licence, "sha256": one.sha256} for one in images
        ],
    }

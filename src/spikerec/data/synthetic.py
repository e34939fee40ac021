"""A synthetic set in the SREDS layout, simulated from photographs on first use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.progress import Progress

from spikerec.data.sreds import SREDS
from spikerec.simulation import (
    Camera,
    Recipe,
    SceneStyle,
    bundled_images,
    folder_images,
    write_synthetic,
)


class Synthetic(SREDS):
    """Moving scenes made of photographs, seen by a simulated camera.

    Image k of a scene is the true intensity at readout `readouts_per_image` · k. What was written
    once is used again; a folder that holds another set is refused.

    Args:
        root: folder of the set; made on first use.
        camera: what exposes the scenes.
        scenes: split → number of scenes.
        images_per_scene: images of a scene, and files of `readouts_per_image` readouts.
        height: rows.
        width: columns.
        seed: of scenes and noise.
        style: how much happens in a scene.
        photographs: folder of source images; None for those inside scikit-image.
        readouts_per_image: readouts between images.
        name: the set's name in results.
    """

    def __init__(
        self,
        root: str | Path,
        camera: Camera,
        scenes: Mapping[str, int],
        images_per_scene: int,
        height: int,
        width: int,
        seed: int,
        style: SceneStyle,
        photographs: str | Path | None = None,
        readouts_per_image: int = 20,
        name: str = "synthetic",
    ) -> None:
        super().__init__(root, camera.light_scale, readouts_per_image, key_offset=0, name=name)
        self.camera = camera
        self.photographs = photographs
        self.recipe = Recipe(
            scenes=scenes,
            images_per_scene=images_per_scene,
            height=height,
            width=width,
            seed=seed,
            name=name,
            readouts_per_image=readouts_per_image,
            style=style,
        )

    def how_to_get(self) -> str:
        """See `SpikeSet.how_to_get`."""
        return "It is simulated when training or evaluation first asks for it."

    def prepare(self) -> None:
        """Simulate what is still missing of the set."""
        images = folder_images(self.photographs) if self.photographs else bundled_images()
        with Progress(transient=True) as progress:
            task = progress.add_task(f"simulating {self.name}", total=None)
            write_synthetic(
                self.root,
                images,
                self.camera,
                self.recipe,
                progress=lambda done, total: progress.update(task, completed=done, total=total),
            )

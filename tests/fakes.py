"""Tiny fakes of each data set's layout, from a seed: a few KB each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from spikerec import spikes
from spikerec.simulation import bundled_images
from spikerec.simulation.scenes import SteadyScene
from spikerec.spikes import Geometry


def fake_spikes(
    num_readouts: int, height: int, width: int, seed: int = 0, rate: float = 0.4
) -> NDArray[np.uint8]:
    """Random spikes (T, H, W)."""
    random = np.random.default_rng(seed)
    return (random.random((num_readouts, height, width)) < rate).astype(np.uint8)


def moving_photograph(
    speed: float,
    num_readouts: int = 161,
    *,
    height: int = 96,
    width: int = 112,
    name: str = "astronaut.png",
) -> Tensor:
    """Light of a photograph and a cut-out of another that move across the view: (T, H, W).

    Whatever the speed, in pixels a readout, the picture in the middle is the same.
    """
    images = {one.name: one.image for one in bundled_images()}
    scene = SteadyScene(
        [images[name], images["coffee.png"]],
        height=height,
        width=width,
        seed=3,
        speed=speed,
        key_readout=num_readouts // 2,
    )
    return scene.frames(0, num_readouts)


def fake_image(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A smooth random picture, 8 bit."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    phase = random.uniform(0, 6, 2)
    wave = 0.5 + 0.25 * np.sin(0.3 * x + phase[0]) + 0.2 * np.cos(0.2 * y + phase[1])
    return (255 * wave).astype(np.uint8)


def write_dat(path: Path, stream: NDArray[np.uint8]) -> None:
    """A `.dat` as the published sets have them: no sidecar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    spikes.save(path, stream, geometry=Geometry(*stream.shape[1:]))
    path.with_suffix(".yaml").unlink()


def sps100_bytes(stream: NDArray[np.uint8]) -> bytes:
    """The raw stream of an SPS100: (T, H, 1000) with 12 bits of tag after each 500 pixels."""
    total, height, width = stream.shape
    tagged = np.zeros((total, height, 2, 512), np.uint8)
    tagged[..., :500] = stream.reshape(total, height, 2, width // 2)
    for row in range(height):
        is_upper = row < height // 2
        line = height // 2 - row if is_upper else row - height // 2 + 1
        for half in range(2):
            tag = line | (half if is_upper else 2 + half) << 10
            tagged[:, row, half, 500:] = [tag >> bit & 1 for bit in range(12)]
    return np.packbits(tagged, axis=-1, bitorder="little").tobytes()


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """A PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def fake_reds(root: Path, *, height: int = 24, width: int = 40, num_readouts: int = 81) -> None:
    """Two training pairs and three test pairs in the REDS layout."""
    for split, count in (("train", 2), ("test", 3)):
        for k in range(count):
            stem = f"20{k}_part1_key_id{num_readouts // 2 + 1}"
            stream = fake_spikes(num_readouts, height, width, seed=k)
            write_dat(root / split / "spike" / f"{stem}.dat", stream)
            write_image(root / split / "gt" / f"{stem}.png", fake_image(height, width, k))


def fake_reds_base(root: Path, *, folder: str, height: int = 24, width: int = 40) -> None:
    """REDS_base: streams of 41 readouts with five true images, and one of 301 with one."""
    for split in ("train", "test"):
        for scene, ids, middle in (
            ("000_part1", (7, 14, 21, 28, 35), 21),
            ("001_part1", (7, 14, 21, 28, 35), 21),
            ("200_part1", (151,), 151),
        ):
            stream = fake_spikes(2 * middle - 1, height, width, seed=middle)
            write_dat(root / split / folder / f"{scene}_key_id{middle}.dat", stream)
            for key_id in ids:
                image = fake_image(height, width, key_id)
                write_image(root / split / "gt" / f"{scene}_key_id{key_id}.png", image)


def fake_sreds(root: Path, *, height: int = 24, width: int = 40, files: int = 8) -> None:
    """Two scenes a split in the SREDS layout."""
    for split in ("train", "val"):
        for scene in ("000", "001"):
            spike = root / "spike" / split / "interp_20_alpha_0.40" / scene
            image = root / "imgs" / split / f"{split}_orig" / scene
            for k in range(files):
                write_dat(spike / f"{k + 1:08d}.dat", fake_spikes(20, height, width, seed=k))
                write_image(image / f"{k + 1:08d}.png", fake_image(height, width, k))


def fake_real(root: Path) -> None:
    """Two streams without truth."""
    write_dat(root / "classA" / "car.dat", fake_spikes(200, 24, 40, rate=0.1))
    write_dat(root / "classB" / "rail.dat", fake_spikes(150, 24, 40, seed=1, rate=0.1))


def fake_uhsr(root: Path) -> None:
    """One clip for recognition."""
    root.mkdir(parents=True)
    np.savez_compressed(
        root / "4144_helicopter.npz",
        spk=fake_spikes(200, 50, 50, rate=0.03),
        label=np.int64(1),
        label_name=np.array("helicopter"),
    )


#: Data set → what writes a fake of it where `conf/data` looks.
FAKES: dict[str, Callable[[Path], None]] = {
    "reds": fake_reds,
    "sreds": fake_sreds,
    "real": fake_real,
    "uhsr": fake_uhsr,
}

#: Arguments of the fakes that differ from `conf/data`, because they are smaller.
FAKE_ARGUMENTS: dict[str, dict[str, int]] = {
    "reds": {"height": 24, "width": 40},
    "real": {"height": 24, "width": 40},
}

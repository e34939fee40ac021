"""Scoring a network on a split: each sample once, on any number of processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from PIL import Image
from torch import distributed

from spikerec.data import SpikeDataModule, Windows
from spikerec.training.callbacks import sample_pictures, to_uint8
from spikerec.training.module import ReconstructionModule

Scores = dict[str, dict[str, float]]


def score(
    trainer: L.Trainer, module: ReconstructionModule, data: SpikeDataModule, windows: Windows
) -> Scores:
    """Metrics of every sample, by the sample's key, in the order of the set.

    Each process scores its share; all get the whole.
    """
    data.trainer = trainer
    module.scores = {}
    trainer.test(module, _Loader(data, windows), verbose=False)
    shares = [module.scores]
    if distributed.is_available() and distributed.is_initialized():
        shares = [{} for _ in range(distributed.get_world_size())]
        distributed.all_gather_object(shares, module.scores)
    merged = {key: values for share in shares for key, values in share.items()}
    return {windows.key(item): merged[windows.key(item)] for item in range(len(windows))}


class _Loader(L.LightningDataModule):
    """One set's windows as a test loader, cut among processes once they exist."""

    def __init__(self, data: SpikeDataModule, windows: Windows) -> None:
        super().__init__()
        self.data = data
        self.windows = windows

    def test_dataloader(self) -> Any:  # noqa: ANN401
        """See `SpikeDataModule.whole_images`."""
        return self.data.whole_images(self.windows)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:  # noqa: ANN401
        """See `SpikeDataModule.on_after_batch_transfer`."""
        return self.data.on_after_batch_transfer(batch, dataloader_idx)


class SampleImages(Callback):
    """Saves samples as pictures: `prediction`, `target` and `tfp` of each.

    Args:
        folder: where to write FOLDER/SAMPLE/ROLE.png.
        keys: the samples to save.
        tfp_window: readouts of the TFP picture.
    """

    def __init__(self, folder: Path, keys: list[str], tfp_window: int) -> None:
        self.folder = folder
        self.keys = set(keys)
        self.tfp_window = tfp_window

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        module: L.LightningModule,
        outputs: Any,  # noqa: ANN401 (Lightning's signature)
        batch: Any,  # noqa: ANN401
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Save the batch's samples that were asked for."""
        del trainer, batch_idx, dataloader_idx
        assert isinstance(module, ReconstructionModule)
        if not self.keys.intersection(batch["key"]):
            return
        pictures = sample_pictures(module.network, batch, outputs, self.tfp_window)
        for role, images in pictures.items():
            for key, image in zip(batch["key"], images, strict=True):
                path = self.path(key, role)
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(to_uint8(image[0])).save(path)

    def path(self, key: str, role: str) -> Path:
        """Where a sample's picture is written."""
        return self.folder / key.replace("/", "_") / f"{role}.png"

    def saved(self) -> dict[str, dict[str, Path]]:
        """Sample key → role → file, for what is there."""
        roles = ("prediction", "target", "tfp")
        return {
            key: {role: self.path(key, role) for role in roles if self.path(key, role).exists()}
            for key in sorted(self.keys)
        }

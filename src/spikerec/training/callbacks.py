"""Callbacks of training that are about spikes; the rest are Lightning's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from spikerec.models.base import Network
from spikerec.spikes import tfp
from spikerec.training.module import ReconstructionModule


class ValidationImages(Callback):
    """Pictures of the first validation samples: input as TFP | prediction | truth.

    Written to FOLDER/epoch_0007/SAMPLE.png, and given to W&B and TensorBoard where they log.

    Args:
        folder: where to write.
        samples: how many of each validation set.
        every_n_epochs: how often.
        tfp_window: readouts of the TFP picture.
    """

    def __init__(
        self, folder: str | Path, samples: int, every_n_epochs: int, tfp_window: int
    ) -> None:
        self.folder = Path(folder)
        self.samples = samples
        self.every_n_epochs = every_n_epochs
        self.tfp_window = tfp_window

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        module: L.LightningModule,
        outputs: Any,  # noqa: ANN401 (Lightning's signature)
        batch: Any,  # noqa: ANN401
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Save a strip of the batch's first sample."""
        due = trainer.current_epoch % self.every_n_epochs == 0
        if not (due and batch_idx < self.samples and trainer.is_global_zero):
            return
        assert isinstance(module, ReconstructionModule)
        set_name = module.val_sets[dataloader_idx]
        name = f"{set_name}-{batch['key'][0].replace('/', '_')}"
        pictures = sample_pictures(module.network, batch, outputs, self.tfp_window)
        strip = to_uint8(
            torch.cat([picture[0, 0].float() for picture in pictures.values()], dim=-1)
        )
        path = self.folder / f"epoch_{trainer.current_epoch:04d}" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(strip).save(path)
        self._log(trainer, f"val/images/{name}", strip)

    @staticmethod
    def _log(trainer: L.Trainer, name: str, strip: NDArray[Any]) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image(name, [strip], step=trainer.global_step)
            elif isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(
                    name, strip[None], trainer.global_step, dataformats="CHW"
                )


def sample_pictures(
    network: Network, batch: Mapping[str, Any], image: Tensor, tfp_window: int
) -> dict[str, Tensor]:
    """What to look at for a batch: `tfp`, `prediction` and, where known, `target`, in intensity.

    Args:
        network: tells the key readout.
        batch: decoded.
        image: the reconstruction of the batch.
        tfp_window: readouts of the TFP picture; at most the window.
    """
    spikes = batch["spikes"]
    window = min(tfp_window, spikes.shape[1])
    rate = tfp(spikes, key_readout=network.key_readout, window=window)
    pictures = {"tfp": rate / batch["light_scale"].reshape(-1, 1, 1, 1), "prediction": image}
    return pictures | ({"target": batch["target"]} if "target" in batch else {})


def to_uint8(image: Tensor) -> NDArray[Any]:
    """Intensity in [0, 1] as 8-bit grey, clipped and rounded."""
    return image.detach().float().cpu().clamp(0, 1).mul(255).round().byte().numpy()

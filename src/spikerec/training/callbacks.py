"""Callbacks of training that are about spikes; the rest are Lightning's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from spikerec.data import SpikeDataModule
from spikerec.kinds import checked
from spikerec.models.base import Network, default_label
from spikerec.spelling import metric_title
from spikerec.spikes import SpikeStream, tfp
from spikerec.spikes.files import atomic_path
from spikerec.spikes.grey import grey_levels
from spikerec.streaming import KeyReadouts
from spikerec.streaming.panels import side_by_side
from spikerec.training.module import ReconstructionModule
from spikerec.weights.trained import model_of

#: Pixels that a picture of a strip has at least from left to right, so that its label can be read;
#: smaller ones are enlarged by a whole factor.
LEAST_WIDTH = 240


@checked
class ValidationImages(Callback):
    """Pictures of the first validation samples: input as TFP | prediction | truth.

    Labels above the pictures name the methods; a line below them names the sample, the epoch and
    the sample's scores. Written to FOLDER/epoch_0007/SAMPLE.png, and given to W&B and TensorBoard
    where they log.

    Args:
        folder: where to write.
        samples: how many of each validation set.
        every_n_epochs: how often.
        tfp_window: readouts of the TFP picture.
    """

    def __init__(
        self,
        folder: str | Path,
        samples: int = 2,
        every_n_epochs: int = 1,
        tfp_window: int = 21,
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
        key = batch["key"][0]
        name = f"{set_name}-{key.replace('/', '_')}"
        pictures = sample_pictures(module.network, batch, outputs["image"], self.tfp_window)
        told = [f"{set_name}: {key}", f"epoch {trainer.current_epoch}"]
        told += [_told(metric, value) for metric, value in outputs["scores"][key].items()]
        caption = " · ".join(told)
        strip = captioned_strip(module.network, pictures, caption, tfp_window=self.tfp_window)
        path = self.folder / f"epoch_{trainer.current_epoch:04d}" / f"{name}.png"
        with atomic_path(path) as temporary:
            Image.fromarray(strip).save(temporary)
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


@checked
class ValidationVideo(Callback):
    """A short video of the first validation clip, reconstructed readout by readout.

    Written to FOLDER/epoch_0007/video.gif, and given to W&B and TensorBoard where they log.

    Args:
        folder: where to write.
        frames: at most so many.
        stride: readouts between two frames.
        every_n_epochs: how often.
    """

    def __init__(
        self, folder: str | Path, frames: int = 12, stride: int = 4, every_n_epochs: int = 5
    ) -> None:
        self.folder = Path(folder)
        self.frames = frames
        self.stride = stride
        self.every_n_epochs = every_n_epochs

    def on_validation_batch_start(
        self,
        trainer: L.Trainer,
        module: L.LightningModule,
        batch: Any,  # noqa: ANN401 (Lightning's signature)
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Before the first sample: the weights are those that validation sees."""
        del batch
        due = (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if not (due and trainer.is_global_zero and batch_idx == dataloader_idx == 0):
            return
        assert isinstance(module, ReconstructionModule)
        data = getattr(trainer, "datamodule", None)
        assert isinstance(data, SpikeDataModule)
        clip = data.val_windows[module.val_sets[0]].clips[0]
        with clip.open() as stream:
            frames = self._reconstruct(module, stream, clip.light_scale)
        path = self.folder / f"epoch_{trainer.current_epoch:04d}" / "video.gif"
        first, *others = (Image.fromarray(frame) for frame in frames)
        with atomic_path(path) as temporary:
            first.save(temporary, save_all=True, append_images=others, duration=100, loop=0)
        self._log(trainer, path, np.stack(frames))

    def _reconstruct(
        self, module: ReconstructionModule, stream: SpikeStream, light_scale: float
    ) -> list[NDArray[Any]]:
        network = module.network
        frames = []
        for key_readout in KeyReadouts.of(stream, [network], self.stride)[: self.frames]:
            first = key_readout - network.key_readout
            packed = stream.packed(first, first + network.window, ends="reflect")
            piece = torch.from_numpy(packed.unpack())
            image = module(piece[None].to(module.device), light_scale)
            frames.append(_grey(image[0, 0]))
        return frames

    @staticmethod
    def _log(trainer: L.Trainer, path: Path, frames: NDArray[Any]) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_video("val/video", [path], step=trainer.global_step, format=["gif"])
            elif isinstance(logger, TensorBoardLogger):
                last = frames[-1][None]  # TensorBoard's videos need moviepy: the last frame
                logger.experiment.add_image("val/video", last, trainer.global_step)


def sample_pictures(
    network: Network, batch: Mapping[str, Any], image: Tensor, tfp_window: int
) -> dict[str, Tensor]:
    """Pictures of a batch: `tfp`, `prediction` and, where known, `target`, in intensity.

    Args:
        network: states the key readout.
        batch: decoded.
        image: the reconstruction of the batch.
        tfp_window: readouts of the TFP picture; at most the window.
    """
    spikes = batch["spikes"]
    window = min(tfp_window, spikes.shape[1])
    rate = tfp(spikes, key_readout=network.key_readout, window=window)
    pictures = {"tfp": rate / batch["light_scale"].reshape(-1, 1, 1, 1), "prediction": image}
    return pictures | ({"target": batch["target"]} if "target" in batch else {})


def captioned_strip(
    network: Network, pictures: Mapping[str, Tensor], caption: str, *, tfp_window: int
) -> NDArray[np.uint8]:
    """The first sample's pictures side by side under their names, with a line of text below.

    Args:
        network: the method that made the prediction.
        pictures: as `sample_pictures` returns them.
        caption: the line below.
        tfp_window: readouts of the TFP picture; at most the window.
    """
    labels = {
        "tfp": f"TFP ({min(tfp_window, network.window)})",
        "prediction": default_label(network, model_of(network)),
        "target": "truth",
    }
    grey = [picture[0, 0].detach().float().cpu().numpy() for picture in pictures.values()]
    factor = -(-LEAST_WIDTH // grey[0].shape[-1])
    enlarged = [one.clip(0, 1).repeat(factor, 0).repeat(factor, 1) for one in grey]
    return grey_levels(side_by_side(enlarged, [labels[role] for role in pictures], caption))


def _told(metric: str, value: float) -> str:
    """A score as a caption has it."""
    return f"PSNR {value:.2f} dB" if metric == "psnr" else f"{metric_title(metric)} {value:.4g}"


def _grey(image: Tensor) -> NDArray[Any]:
    return grey_levels(image.detach().float().cpu().numpy())

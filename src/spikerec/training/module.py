"""The one LightningModule: every method is trained and evaluated as this."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric

from spikerec.errors import WeightsError
from spikerec.losses import Loss
from spikerec.metrics import Protocol
from spikerec.models.base import Network, Reconstruction


class ReconstructionModule(L.LightningModule):
    """A network with its loss, optimizer, schedule and protocol.

    What differs between methods is in these parts, so all are this class. Logged: `train/loss`
    and `train/loss/TERM` every step, `val/METRIC` over all validation sets and `val/SET/METRIC`
    where there are several.

    Args:
        network: the method.
        loss: what training lowers; None for evaluation alone.
        optimizer: makes the optimizer from parameters.
        scheduler: makes the schedule, stepped every epoch, from the optimizer; None keeps the rate.
        protocol: the metrics of validation and test.
        description: plain values that tell, inside a checkpoint, how to build the network again
            (`spikerec.load`).
        val_sets: names of the validation loaders, in order.
    """

    def __init__(
        self,
        network: Network,
        *,
        loss: Loss | None = None,
        optimizer: Callable[[Iterable[Tensor]], Optimizer] | None = None,
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        protocol: Protocol | None = None,
        description: Mapping[str, Any] | None = None,
        val_sets: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.protocol = protocol
        self.description = dict(description or {})
        self.val_sets = tuple(val_sets)
        self.scores: dict[str, dict[str, float]] = {}
        self._make_optimizer = optimizer
        self._make_scheduler = scheduler
        names = list(protocol.metrics) if protocol else []
        # Registered, so that they move to the device; typed by hand, as ModuleDict forgets types.
        self._means: dict[str, MeanMetric] = torch.nn.ModuleDict(  # type: ignore[assignment]
            {f"{group}/{name}": MeanMetric() for group in ("", *self.val_sets) for name in names}
        )

    def forward(self, spikes: Tensor, light_scale: Tensor | float) -> Tensor:
        """Intensity of the key readout in [0, 1]: see `Network.reconstruct`."""
        return self.network.reconstruct(spikes, light_scale).image.clamp(0, 1)

    def reconstruct(self, batch: Mapping[str, Any]) -> Reconstruction:
        """The network's reconstruction of a decoded batch, in intensity, not clipped."""
        return self.network.reconstruct(batch["spikes"], batch["light_scale"], validate=False)

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """The loss of a batch, its terms logged by name."""
        del batch_idx
        assert self.loss is not None
        reconstruction = self.reconstruct(batch)
        total: Tensor
        total, terms = self.loss(reconstruction, batch)
        size = len(batch["spikes"])
        self.log("train/loss", total, prog_bar=True, batch_size=size)
        self.log_dict({f"train/loss/{n}": v for n, v in terms.items()}, batch_size=size)
        return total

    def validation_step(
        self, batch: Mapping[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> Tensor:
        """Score whole images, and return them."""
        del batch_idx
        image = self.reconstruct(batch).image
        for name, values in self._score(image, batch).items():
            for group in ("", self.val_sets[dataloader_idx]):
                self._means[f"{group}/{name}"].update(values)
        return image

    def on_validation_epoch_end(self) -> None:
        """Log each metric's mean over all samples of all processes, and over each set's."""
        for name, mean in self._means.items():
            group, metric = name.split("/")
            value = mean.compute()
            mean.reset()
            if not group:
                self.log(f"val/{metric}", value, prog_bar=metric == "psnr", sync_dist=True)
            elif len(self.val_sets) > 1:
                self.log(f"val/{name}", value, sync_dist=True)

    def test_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """Keep the scores of each sample by its key, in `scores`, and return the images."""
        del batch_idx
        image = self.reconstruct(batch).image
        scores = self._score(image, batch)
        for index, key in enumerate(batch["key"]):
            self.scores[key] = {name: float(values[index]) for name, values in scores.items()}
        return image

    def _score(self, image: Tensor, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        assert self.protocol is not None
        return self.protocol.score(image, batch.get("target"))

    def configure_optimizers(self) -> Any:  # noqa: ANN401 (Lightning's union of seven types)
        """The optimizer over the network's parameters, and its schedule by epoch."""
        assert self._make_optimizer is not None
        optimizer = self._make_optimizer(self.network.parameters())
        if self._make_scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self._make_scheduler(optimizer)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the network alone, and say what it is; a loss's trunk is not ours to copy."""
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {k: v for k, v in state.items() if k.startswith("network.")}
        checkpoint["spikerec"] = {"network": self._kind(), "model": self.description}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another network's weights, and add what `on_save_checkpoint` left out."""
        found = checkpoint.get("spikerec", {}).get("network", "an unknown network")
        if found != self._kind():
            raise WeightsError(
                f"the checkpoint holds {found}, but model is {self._kind()}. Choose the model it "
                "was trained as, or another checkpoint."
            )
        rest = {k: v for k, v in self.state_dict().items() if not k.startswith("network.")}
        checkpoint["state_dict"] = checkpoint["state_dict"] | rest

    def _kind(self) -> str:
        return type(self.network).__name__

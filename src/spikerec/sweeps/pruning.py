"""Pruning: a search looks at each validation, and ends what will not win.

The sweeper leaves trial.json in the folder of a job before it starts it; so pruning works with
every launcher, on every machine that sees the folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import lightning as L
from lightning.pytorch.callbacks import Callback

from spikerec.extras import require
from spikerec.parsing import RUN_DOCUMENT, read_json
from spikerec.spikes.files import atomic_path
from spikerec.sweeps.jobs import PRUNED

if TYPE_CHECKING:
    import optuna

TRIAL = "trial.json"


def link(folder: Path, journal: Path, study: str, number: int) -> None:
    """Write into a job's folder which trial of which Optuna study it is."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"journal": str(journal.resolve()), "study": study, "number": number}
    with atomic_path(folder / TRIAL) as temporary:
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")


class Pruning(Callback):
    """Report each validation to the study, and stop training where its pruner says so.

    A run that is no trial of a study is left alone.

    Args:
        folder: of the run.
        monitor: the metric to report, as it is logged.
        mode: `max` or `min`: which way it is better. Studies get a score that is better when
            higher.
        pruner: says when; a study's journal does not keep its pruner.
    """

    def __init__(
        self,
        folder: str | Path,
        monitor: str,
        mode: Literal["max", "min"],
        pruner: optuna.pruners.BasePruner,
    ) -> None:
        self.folder = Path(folder)
        self.monitor = monitor
        self.sign = -1 if mode == "min" else 1
        self.pruner = pruner

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report the epoch's value; one process asks, all follow."""
        del pl_module
        path = self.folder / TRIAL
        if trainer.sanity_checking or not path.exists():
            return
        ends = trainer.is_global_zero and self._should_prune(
            read_json(path, RUN_DOCUMENT),
            self.sign * float(trainer.callback_metrics[self.monitor]),
            trainer.current_epoch,
        )
        if trainer.strategy.broadcast(ends):
            trainer.should_stop = True

    def _should_prune(self, trial: dict[str, str], value: float, epoch: int) -> bool:
        require("optuna", "pruning")
        import optuna
        from optuna.storages.journal import JournalFileBackend

        storage = optuna.storages.JournalStorage(JournalFileBackend(trial["journal"]))
        study = optuna.load_study(study_name=trial["study"], storage=storage, pruner=self.pruner)
        own = optuna.Trial(study, study.trials[int(trial["number"])]._trial_id)
        own.report(value, epoch)
        if not own.should_prune():
            return False
        with atomic_path(self.folder / PRUNED) as temporary:
            temporary.write_text(json.dumps({"epoch": epoch, "value": value}) + "\n")
        return True

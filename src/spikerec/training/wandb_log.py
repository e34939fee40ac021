"""Weights & Biases: a view of a run, whose truth is its folder.

A run has one identity, kept in its folder, so that a continued training continues the W&B run.
Offline, each start writes a folder of its own under RUN/wandb, all of one identity.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from spikerec.kinds import checked
from spikerec.spikes.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)

Mode = Literal["offline", "online"]

#: Settings of `conf/logger/wandb.yaml` that are about one training.
ABOUT_RUNS = ("_target_", "folder", "artifact", "name", "group", "job_type", "tags")


@checked
class WandbLog(WandbLogger):
    """Logs a run to W&B: `spikerec train logger=wandb`.

    Args:
        folder: the run's.
        mode: `offline` writes to the run's folder; `online` sends to the server.
        fall_back: where the server cannot be used (no key, no network), go on offline and say how
            to send later; without it, that is an error.
        timeout_s: how long to wait for the server.
        artifact: the checkpoint to keep as an artifact of the W&B run: `best`, `last` or None.
        **about: what `wandb.init` takes: project, name, group, job_type, tags, entity, …
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        mode: Mode = "offline",
        fall_back: bool = True,
        timeout_s: float = 30.0,
        artifact: Literal["best", "last"] | None = None,
        **about: Any,  # noqa: ANN401
    ) -> None:
        self.artifact = artifact
        self.folder = Path(folder)
        run = _start(self.folder, mode, fall_back, timeout_s, about)
        super().__init__(save_dir=str(folder), project=about.get("project"), experiment=run)

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:  # noqa: ANN401 (Lightning's signature)
        """The resolved configuration, nested as it is."""
        self.experiment.config.update(dict(params), allow_val_change=True)

    @rank_zero_only
    def log_video(
        self,
        key: str,
        videos: list[Any],
        step: int | None = None,
        **kwargs: Any,  # noqa: ANN401 (Lightning's signature)
    ) -> None:
        """Videos as files."""
        import wandb

        media = [wandb.Video(str(video), **kwargs) for video in videos]
        self.log_metrics({key: media}, step)  # type: ignore[dict-item]

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Add the artifact, and end the W&B run."""
        if self.artifact is not None and status == "success":
            path = self.folder / "checkpoints" / f"{self.artifact}.ckpt"
            name = f"{self.experiment.id}-{self.artifact}"
            self.experiment.log_artifact(str(path), name=name, type="model")
        self.experiment.finish(exit_code=0 if status == "success" else 1)


@rank_zero_only
def _start(
    folder: Path, mode: Mode, fall_back: bool, timeout_s: float, about: Mapping[str, Any]
) -> Any:  # noqa: ANN401 (wandb is not typed)
    """The W&B run of a folder, begun or continued; None in processes other than the first."""
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    arguments = {
        **about,
        "dir": str(folder),
        "id": run_id(folder),
        "reinit": "create_new",
        "settings": wandb.Settings(init_timeout=timeout_s, console="off"),
    }
    if mode == "online":
        try:
            return wandb.init(mode="online", resume="allow", **arguments)
        except wandb.Error as error:
            if not fall_back:
                raise
            _log.warning(
                "W&B cannot be reached (%s): logging offline. Send it later with "
                "`wandb login` and `wandb sync --append %s/wandb/offline-run-*`.",
                " ".join(str(error).split())[:200],
                folder,
            )
    return wandb.init(mode="offline", **arguments)


def run_id(folder: Path) -> str:
    """The W&B identity of a run's folder, made on first use and kept there."""
    path = folder / "wandb_id.txt"
    if not path.exists():
        with atomic_path(path) as temporary:
            temporary.write_text(secrets.token_hex(4) + "\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def log_table_where_chosen(
    loggers: Mapping[str, Any] | None,
    name: str,
    table: pd.DataFrame,
    folder: str | Path,
    **about: Any,  # noqa: ANN401
) -> None:
    """Log a table where W&B is among the chosen loggers (`conf/logger`), with its settings.

    Args:
        loggers: name → settings.
        name: see `log_table`.
        table: see `log_table`.
        folder: see `log_table`.
        **about: what differs from a run's: group, job_type, …
    """
    chosen = (loggers or {}).get("wandb")
    if chosen is not None:
        shared = {str(key): chosen[key] for key in chosen if key not in ABOUT_RUNS}
        log_table(name, table, folder, **shared, **about)


def log_table(
    name: str,
    table: pd.DataFrame,
    folder: str | Path,
    *,
    mode: Mode = "offline",
    fall_back: bool = True,
    timeout_s: float = 30,
    **about: Any,  # noqa: ANN401
) -> None:
    """Log a table (an ablation's, the leaderboard) as a W&B Table, in a W&B run of its own.

    Args:
        name: of the table.
        table: its index is left out; reset it to keep it.
        folder: keeps the identity of the W&B run, and its files offline.
        mode: see `WandbLog`.
        fall_back: see `WandbLog`.
        timeout_s: see `WandbLog`.
        **about: what `wandb.init` takes: project, group, job_type, …
    """
    import wandb

    run = _start(Path(folder), mode, fall_back, timeout_s, about)
    if run is None:
        return
    run.log({name: wandb.Table(dataframe=table)})
    run.finish()

"""A run's folder: continued when unfinished, left alone when finished, never taken for another run.

FOLDER/config.yaml                 the resolved configuration
FOLDER/identity.json               what the run computes (`spikerec.training.identity`)
FOLDER/checkpoints/best.ckpt       best validation score
FOLDER/checkpoints/last.ckpt       where to continue
FOLDER/checkpoints/previous.ckpt   the one before it, should the disk damage that
FOLDER/metrics.csv                 the curves
FOLDER/finished.json               written last: figures, paths, the digest of the checkpoint
FOLDER/tested.json                 set → metric → mean, where the run was tested (`test=true`)

What looks at folders alone, such as a sweep's table, waits for no training library: Lightning is
imported by the functions that need it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from spikerec.errors import ConfigError, DataError, SpikerecError, WeightsError
from spikerec.kinds import checked
from spikerec.parsing import RUN_DOCUMENT, read_json, read_yaml
from spikerec.spikes.files import atomic_path, lock_folder
from spikerec.training.identity import NEUTRAL, Identity, settings_of
from spikerec.training.learning import learning_curve

if TYPE_CHECKING:
    import pandas as pd

#: The curves of a run.
METRICS = "metrics.csv"

#: Files and folders that a run writes, and that `clear` removes.
OWN_FILES = (
    *("config.yaml", "identity.json", "finished.json", "failed.json", "pruned.json"),
    "tested.json",
    *("budget.json", "nonfinite.json", METRICS, "fit-profile.txt"),
    *("checkpoints", "images", "tensorboard", "wandb"),
)

#: The log of every command that worked in a run's folder.
LOG = "train.log"

#: Differing settings that an error names before it counts the rest.
NAMED_DIFFERENCES = 5

#: Letters of a library's own message that are quoted.
QUOTED = 160

#: Folders that this process is training in.
_claimed: set[Path] = set()

_log = logging.getLogger(__name__)


@checked
class Run:
    """One training run on disk.

    Args:
        folder: the run's own; made where absent.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.checkpoints = self.folder / "checkpoints"

    @property
    def best(self) -> Path:
        """The checkpoint of the best validation score."""
        return self.checkpoints / "best.ckpt"

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.checkpoints / "last.ckpt"

    @property
    def previous(self) -> Path:
        """The checkpoint before the newest."""
        return self.checkpoints / "previous.ckpt"

    def __repr__(self) -> str:
        """State the folder, the best score and the checkpoint; or that it is unfinished."""
        report = self.finished()
        if report is None:
            state = "empty" if self.is_empty else "unfinished"
        elif report.get("best") is None:
            state = f"finished, not validated, {self.checkpoint}"
        else:
            state = f"{report['monitor']} {report['best']:.4g}, {self.checkpoint}"
        return f"Run({str(self.folder)!r}: {state})"

    @property
    def checkpoint(self) -> Path:
        """The checkpoint to go on with: the best one, or the newest where nothing was validated."""
        return self.best if self.best.is_file() else self.last

    @property
    def best_score(self) -> float | None:
        """The best validation score, by `monitor`; None while there is none."""
        best = (self.finished() or {}).get("best")
        return None if best is None else float(best)

    @property
    def monitor(self) -> str | None:
        """Name of the validation score that chose the best weights; None while unfinished."""
        name = (self.finished() or {}).get("monitor")
        return None if name is None else str(name)

    @property
    def history(self) -> pd.DataFrame:
        """The curves: one row a logged step (the index), one column a quantity, NaN where absent.

        Empty where the run was not logged to metrics.csv.
        """
        import pandas as pd

        from spikerec.training.curves import read_rows

        path = self.folder / METRICS
        if not path.exists():
            return pd.DataFrame(index=pd.Index([], name="step", dtype=int))
        rows = {
            step: {k: float(v) for k, v in row.items()} for step, row in read_rows(path).items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("step").sort_index()

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Let no other process train this run meanwhile; one that does is waited for.

        A training that was wrong from the start leaves nothing behind. A block inside another of
        the same process and folder is a part of that.

        Raises:
            ConfigError: the folder, or one that it is in, is a file.
        """
        from spikerec.training.distributed import is_first

        folder = self.folder.resolve()
        if file := next((one for one in (folder, *folder.parents) if one.is_file()), None):
            raise ConfigError(
                f"folder must be one for the run, but {file} is a file: name another."
            )
        if folder in _claimed or not is_first():  # of several processes, the first claims for all
            yield
            return
        with lock_folder(self.folder, wait=True):
            _claimed.add(folder)
            try:
                yield
            except SpikerecError:
                if self.is_empty:
                    self.clear(with_log=True)
                raise
            finally:
                _claimed.discard(folder)

    @property
    def is_empty(self) -> bool:
        """True while nothing was trained: there is neither a checkpoint nor a report."""
        written = self.checkpoints.is_dir() and any(self.checkpoints.glob("*.ckpt"))
        return not written and not (self.folder / "finished.json").exists()

    def finished(self) -> dict[str, Any] | None:
        """The report of the finished run.

        None while it is unfinished, where the report is damaged, and where the best score is no
        finite number, which earlier versions took for a result.
        """
        report = _read_json(self.folder / "finished.json")
        best = (report or {}).get("best")
        if best is not None and not (isinstance(best, int | float) and math.isfinite(best)):
            return None
        return report

    def stored_fact(self, name: str) -> Any:  # noqa: ANN401 (a plain value)
        """A fact of the identity that the folder states; None where it has none."""
        stored = self._identity()
        return None if stored is None else stored.facts.get(name)

    def _identity(self) -> Identity | None:
        """The identity that the folder states; None where it states none, or it is damaged."""
        stored = _read_json(self.folder / "identity.json") or {}
        settings, facts = stored.get("settings"), stored.get("facts")
        if not isinstance(settings, dict) or not isinstance(facts, dict):
            return None
        return Identity(settings, facts)

    def budget(self) -> dict[str, Any]:
        """Training data, recipe, cost and learning curve of the run, for records and weights.

        Data, samples seen, seconds, machine, a digest of the recipe, the curve where there is one
        (`spikerec.training.learning`); no path. Empty while it is unfinished, and with a warning
        where a file is damaged or the checkpoint is not the one with which it ended.
        """
        from spikerec.training.curves import read_rows

        report, path = self.finished(), self.folder / "finished.json"
        if not report:
            if path.exists():
                _log.warning(
                    "%s is damaged, or its score is no finite number: how these weights were "
                    "trained is not stated. Bring the file back and repeat this command.",
                    path,
                )
            return {}
        if (fault := self._fault(report)) is not None:
            _log.warning("%s", fault)
            return {}
        told = {key: value for key, value in report.items() if key not in ("checkpoint", "sha256")}
        stored, path = self._identity(), self.folder / "identity.json"
        if stored is None:
            if path.exists():
                _log.warning(
                    "%s is damaged: the recipe and the learning curve of these weights are not "
                    "stated. Bring the file back and repeat this command.",
                    path,
                )
            return told
        rows = read_rows(self.folder / METRICS)
        curve = learning_curve(rows, report, stored.settings, stored.facts)
        told |= {} if curve is None else {"curve": curve}
        return told | {"recipe": stored.recipe}

    def _fault(self, report: Mapping[str, Any]) -> str | None:
        """Say what became of the checkpoint that a report is about; None if it is the same file.

        Reports of earlier versions state no digest: then it only has to be there.
        """
        if not isinstance(report.get("checkpoint"), str):
            return None
        path = self.checkpoints / Path(report["checkpoint"]).name
        if not path.is_file():
            return f"{path} is gone, with which this run ended."
        if report.get("sha256") not in (None, _sha256(path)):
            return f"{path} is not the file with which this run ended: it was changed or replaced."
        return None

    def check(self, identity: Identity, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """Make sure that the folder holds this run, or none; nothing is written.

        Args:
            identity: of the run that is asked for.
            config: its resolved configuration.

        Returns:
            The report of the finished run; None if there is something to train.

        Raises:
            ConfigError: the folder holds another run. The message names the settings that differ.
            WeightsError: the run is finished, and its checkpoint is gone or not the same file.
        """
        before, now = self._compared(identity, config)
        if before is None:
            return None
        is_longer = before.is_longer(now)
        if not is_longer and (changed := before.differences(now)):
            raise ConfigError(
                f"{self.folder} holds another run: {_told(changed)}. Give this one a name of its "
                "own (another `name` or folder), or replace that one (`overwrite`)."
            )
        report, path = self.finished(), self.folder / "finished.json"
        if report is not None and (fault := self._fault(report)) is not None:
            raise WeightsError(
                f"{fault} Its score ({report.get('monitor')} {report.get('best')}) is that of "
                "other weights. Bring the file back, or train anew (`overwrite`)."
            )
        if is_longer:
            return None
        if report is None and path.exists():
            _log.warning("%s is damaged: the run goes on from its last checkpoint", path)
        return report

    def begin(self, identity: Identity, config: Mapping[str, Any]) -> None:
        """Make the folder this run's, after `check`; a finished run that is to grow is reopened."""
        before, now = self._compared(identity, config)
        if self.is_empty:
            self.clear()  # what a command left that ended before its first checkpoint
        if before is None or before.is_longer(now):
            # Remove the report first: it describes the shorter run.
            for name in ("finished.json", "tested.json"):
                (self.folder / name).unlink(missing_ok=True)
            self._write(identity, config)

    def _compared(
        self, identity: Identity, config: Mapping[str, Any]
    ) -> tuple[Identity | None, Identity]:
        """The folder's run (None if it is empty) and the requested one, in comparable terms.

        A folder without a checkpoint holds nothing, whatever it was begun for. A folder of an
        earlier version has no identity. Then the settings are compared that its config.yaml and
        this configuration both have.

        Raises:
            ConfigError: neither file can be read.
        """
        if self.is_empty:
            return None, identity
        stored = self._identity()
        if stored is not None:
            return stored, identity
        if (self.folder / "identity.json").exists():
            _log.warning(
                "%s is damaged: this command is compared with config.yaml, which says less",
                self.folder / "identity.json",
            )
        path = self.folder / "config.yaml"
        if not path.exists():
            return None, identity
        # Data without true images used to replace the monitor; the checkpoint speaks of processes.
        neutral = (*NEUTRAL, "monitor", "trainer.devices", "trainer.num_nodes")
        try:
            old = settings_of(read_yaml(path, RUN_DOCUMENT), neutral=neutral)
        except (DataError, AttributeError) as error:
            raise ConfigError(
                f"{path} cannot be read ({type(error).__name__}), so that this command cannot be "
                "compared with it. Give this run a folder of its own (another `name`), or replace "
                "that one (`overwrite`)."
            ) from error
        new = settings_of(config, neutral=neutral)
        shared = [key for key in old if key in new]
        before, now = ({key: one[key] for key in shared} for one in (old, new))
        return Identity(before), Identity(now, growing=identity.growing)

    def _write(self, identity: Identity, config: Mapping[str, Any]) -> None:
        content = {
            "digest": identity.digest,
            "settings": dict(identity.settings),
            "facts": dict(identity.facts),
        }
        texts = {
            "config.yaml": yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True),
            "identity.json": json.dumps(content, indent=2, default=str) + "\n",
        }
        for name, text in texts.items():
            with atomic_path(self.folder / name) as temporary:
                temporary.write_text(text, encoding="utf-8")

    def clear(self, *, with_log: bool = False) -> None:
        """Remove what a run wrote into the folder, so that another can begin there.

        Args:
            with_log: remove the log too, to which the command at work is writing.
        """
        for name in (*OWN_FILES, *([LOG] if with_log else [])):
            path = self.folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def continuation(self) -> Path | None:
        """The newest checkpoint that can be read; None if none was written.

        One that cannot be read is named in the log.

        Raises:
            ConfigError: there are checkpoints, and none can be read.
        """
        written = [path for path in (self.last, self.previous, self.best) if path.is_file()]
        for index, path in enumerate(written):
            reason = unreadable(path)
            if reason is None:
                if index:
                    _log.warning("going on from the checkpoint before it: %s", path)
                return path
            _log.warning("%s is damaged: %s", path, reason)
        if written:
            raise ConfigError(
                f"no checkpoint in {self.checkpoints} can be read, so that the run cannot be "
                "continued. Bring one back, or start anew (`overwrite`)."
            )
        return None

    def finish(self, report: Mapping[str, Any]) -> None:
        """Mark the run finished, with its checkpoint's digest: the same command will skip it."""
        held = {"sha256": _sha256(self.checkpoint)} if self.checkpoint.is_file() else {}
        text = json.dumps({**report, **held}, indent=2, allow_nan=False) + "\n"
        with atomic_path(self.folder / "finished.json") as temporary:
            temporary.write_text(text, encoding="utf-8")

    def note_tests(self, means: Mapping[str, Mapping[str, float | None]]) -> None:
        """Keep the means of tests of the finished run, by set and metric, for a sweep's table."""
        with atomic_path(self.folder / "tested.json") as temporary:
            temporary.write_text(json.dumps(means, indent=2) + "\n", encoding="utf-8")

    def tests(self) -> dict[str, float]:
        """`test/SET/METRIC` → mean of a test, if finite; empty where the run was not tested."""
        return {
            f"test/{name}/{metric}": float(mean)
            for name, means in (_read_json(self.folder / "tested.json") or {}).items()
            if isinstance(means, dict)
            for metric, mean in means.items()
            if isinstance(mean, int | float) and math.isfinite(mean)
        }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unreadable(path: Path) -> str | None:
    """Say why a checkpoint cannot be read; None if it can."""
    from lightning.fabric.plugins import TorchCheckpointIO

    from spikerec.weights.pickles import has_changed

    try:
        TorchCheckpointIO().load_checkpoint(path, weights_only=True)
        if has_changed(path):
            return "its bytes are not those that were written"
    except Exception as error:  # noqa: BLE001 (a damaged file raises whatever its bytes lead to)
        return " ".join(f"{type(error).__name__}: {error}".split())[:QUOTED]
    return None


def _told(changed: Mapping[str, tuple[Any, Any]]) -> str:
    named = [f"{key}={old}, now {new}" for key, (old, new) in changed.items()]
    more = len(named) - NAMED_DIFFERENCES
    return "; ".join(named[:NAMED_DIFFERENCES]) + (f"; and {more} more" if more > 0 else "")


def _read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where it is absent or damaged."""
    try:
        content = read_json(path, RUN_DOCUMENT)
    except DataError:
        return None
    return content if isinstance(content, dict) else None

"""The base of all outputs: names, what survives an interruption, and the mark inside."""

from __future__ import annotations

import json
import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from spikerec.errors import FAULTS, DataError
from spikerec.kinds import checked
from spikerec.parsing import RUN_DOCUMENT, SMALL_DOCUMENT, parse_json, parsing, read_json
from spikerec.spikes.files import atomic_path, lock_folder, sync
from spikerec.streaming.sinks.marks import MARK

#: Frames after which a video's segment is closed, and the count of frames kept brought up to date.
SEGMENT_FRAMES = 250
#: Seconds after which that is done at the latest: a slow network's work is lost when it is killed.
SEGMENT_SECONDS = 60
STATE = "state.json"


@checked
class Sink(ABC):
    """Takes frames in order.

    A context manager: leaving it without an error gives the file its final name; leaving it with
    one keeps what was written.

    Args:
        path: the final name; what is there must have been made by the same settings, and is done.
        total: frames that will come.
        settings: what the frames are made by: an unfinished file is only continued by the same.
        resume: continue an unfinished file where there is one.
        overwrite: replace an output of spikerec that was made by other settings, and begin an
            unfinished one anew.

    Attributes:
        is_done: True if the file was finished before: nothing is written.
        count: frames that are there.
        about: plain values kept inside the file, which say how it was made (`about.read_about`);
            to be set before the first frame.

    Raises:
        DataError: something else is there under the final name; or an unfinished file, and
            `resume` is False or the settings differ.
        LockError: (on entering) another process is writing it.
    """

    #: True for a sink of drawn pictures, False for one of images as numbers.
    is_drawn: ClassVar[bool] = True

    def __init__(
        self,
        path: Path,
        total: int,
        settings: Mapping[str, Any],
        *,
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.path = path
        self.about: Mapping[str, Any] = {}
        self.total = total
        self.count = 0
        self._overwrites = overwrite
        self._settings = json.loads(json.dumps(settings, default=str))
        self._partial = path.with_name(path.name + ".partial")
        self._lock = ExitStack()
        self.is_done = path.exists() and self._is_same()
        if self.is_done:
            self.count = total
        elif self._partial.exists():
            self.count = self._kept(resume)

    def __enter__(self) -> Self:
        if self.is_done:
            return self
        with self._told(), ExitStack() as undo:
            undo.callback(self._remove_empty)
            undo.enter_context(lock_folder(self._partial))
            if self.path.exists() and self._is_same():  # another process has made it meanwhile
                self.is_done, self.count = True, self.total
                return self
            self._save_state()
            self._open()
            self._lock = undo.pop_all()
        return self

    def _remove_empty(self) -> None:
        with suppress(OSError):  # it holds frames, or is gone
            self._partial.rmdir()

    def write(self, picture: NDArray[np.float32]) -> None:
        """Take the next frame.

        Args:
            picture: for a drawn sink (h, w) or (h, w, 3) in [0, 1]; for another (M, H, W) or
                (M, H, W, 3) in intensity.

        Raises:
            DataError: it cannot be written, as when the disk is full; it says how to continue.
        """
        with self._told():
            self._write(picture)
            self.count += 1
            is_due = time.monotonic() - self._saved_at > SEGMENT_SECONDS
            if is_due or self.count % SEGMENT_FRAMES == 0:
                self._save()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self.is_done:
                pass
            elif kind is not None:
                self._keep()
                return
            else:
                with self._told():
                    self._save()
                    whole = self._finish()
                    for one in (*whole.rglob("*"), whole):  # the first are those of a folder
                        sync(one)
                    self._replace(whole)
                    sync(self.path.parent)
        finally:
            self._close()
            self._lock.close()
        shutil.rmtree(self._partial, ignore_errors=True)

    def _replace(self, whole: Path) -> None:
        """Give the file its name; one that is to be replaced goes when the new one is whole."""
        if self.path.is_dir():  # a folder cannot take the place of another in one step
            old = self._partial / "replaced"
            self.path.rename(old)
        whole.rename(self.path)

    @abstractmethod
    def _open(self) -> None:
        """Begin, or go on at frame `count`."""

    @abstractmethod
    def _write(self, picture: NDArray[np.float32]) -> None:
        """Write frame number `count`."""

    @abstractmethod
    def _flush(self) -> None:
        """Make sure that all frames so far survive."""

    @abstractmethod
    def _finish(self) -> Path:
        """Make the final file inside the partial folder, with `_mark` in it."""

    @abstractmethod
    def _found_mark(self) -> str:
        """The mark within the file under the final name; empty if it has none."""

    @property
    def _mark(self) -> str:
        """A line kept inside the file that identifies the settings: a digest of each.

        By it a repeated command recognises its own output, and which setting differs. The
        settings themselves (names of folders) do not travel with the file.
        """
        settings = {**self._settings, "frames": self.total}
        texts = {key: json.dumps(value, sort_keys=True) for key, value in settings.items()}
        digests = {key: sha256(text.encode()).hexdigest()[:12] for key, text in texts.items()}
        return MARK + json.dumps(digests, sort_keys=True)

    @property
    def _about(self) -> str:
        return json.dumps(self.about, default=str)

    def _is_same(self) -> bool:
        """True if what is there under the final name was made by these settings.

        Raises:
            DataError: it was not, and is not to be replaced; or it does not say.
        """
        found = None
        with suppress(OSError, ValueError, KeyError):  # no file of ours, or a damaged one
            with parsing(self.path, "a result"):
                mark = self._found_mark().removeprefix(MARK) or "null"
            found = parse_json(mark, self.path, SMALL_DOCUMENT)
        if not isinstance(found, dict):
            raise DataError(f"{self.path} exists already: name another, or move it away.")
        own = parse_json(self._mark.removeprefix(MARK), self.path, SMALL_DOCUMENT)
        differing = [key for key in own.keys() | found.keys() if own.get(key) != found.get(key)]
        if differing and not self._overwrites:
            raise DataError(
                f"{self.path} exists already and was made with other settings "
                f"({', '.join(sorted(differing))}): name another, move it away, or set "
                "overwrite=true."
            )
        return not differing

    def _close(self) -> None:  # noqa: B027 (not every format keeps a file open)
        """Close open files."""

    def _save(self) -> None:
        self._flush()
        self._save_state()

    def _keep(self) -> None:
        """Keep what can be kept when an error, or the user, stops the writing."""
        if not self.count:
            shutil.rmtree(self._partial, ignore_errors=True)
            return
        try:
            self._save()
        except (OSError, ValueError) as error:  # the state of the last save holds
            sys.stderr.write(f"the frames since the last save are lost: {error}\n")

    def _save_state(self) -> None:
        content = json.dumps({"frames": self.count, "settings": self._settings})
        with atomic_path(self._partial / STATE) as temporary:
            temporary.write_text(content, encoding="utf-8")
        self._saved_at = time.monotonic()

    def _kept(self, resume: bool) -> int:
        """Frames that an earlier run has kept.

        Raises:
            DataError: not asked for, or made by other settings.
        """
        if all(one.name.startswith(".") for one in self._partial.iterdir()):
            return 0  # stopped before anything was kept
        try:
            state = read_json(self._partial / STATE, RUN_DOCUMENT)
            frames, settings = int(state["frames"]), dict(state["settings"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self._partial} cannot be continued: delete it ({error}).") from error
        if self._overwrites and not resume:
            shutil.rmtree(self._partial)
            return 0
        if not resume:
            raise DataError(
                f"{self._partial} holds {frames} of {self.total} frames: continue with "
                "resume=true, or delete it."
            )
        for key in self._settings.keys() | settings.keys():
            if settings.get(key) != self._settings.get(key):
                raise DataError(
                    f"{self._partial} was begun with {key}={settings.get(key)}, found "
                    f"{key}={self._settings.get(key)}: use the same settings, or delete it."
                )
        return frames

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Raise an error of writing as one line."""
        try:
            yield
        except OSError as error:
            reason, way = FAULTS.get(error.errno or 0, (str(error), "remove the cause"))
            kept = (
                f"The {self.count} frames so far are in {self._partial}"
                if self.count
                else "No frame was written"
            )
            raise DataError(
                f"{self.path} cannot be written: {reason}. {kept}; {way} and continue with "
                "resume=true."
            ) from error

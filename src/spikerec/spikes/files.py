"""Files that appear whole or not at all, and folders that one process uses at a time.

A file is written in a folder of its own, `FOLDER/.writing/RANDOM/`, synced to the disk, and then
takes its final name. The writer holds a lock (`flock`) there, which the system releases when the
process ends, however it ends. So the next writer in `FOLDER` knows which of these folders belong
to dead processes, on this machine or another that shares the disk, and removes them.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from spikerec.errors import DataError, LockError

if sys.platform != "win32":
    import fcntl

#: The folder in which files are while they are being written.
WRITING = ".writing"

#: The file that is locked: in a folder of `WRITING`, or in a folder that `lock_folder` locks.
LOCK = ".lock"

#: The mark, and the lock, of a folder that nothing names yet (`unnamed`).
UNNAMED = ".unnamed"

#: Errors of `flock` where the file system has no locks.
NO_LOCKS = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS, errno.EINVAL}

_log = logging.getLogger(__name__)

#: Descriptors of the locks that this process holds.
_held: set[int] = set()


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Refuse to replace a file unless `overwrite` is set.

    Raises:
        DataError: the file exists and `overwrite` is False.
    """
    if path.exists() and not overwrite:
        raise DataError(f"{path} exists already: pass overwrite=True to replace it.")


class Unfinished:
    """A file, or a folder, while it is being written.

    Attributes:
        path: where to write it; its name is the final one.

    Args:
        path: where it will be; folders on the way are made.

    Raises:
        OSError: the folder cannot be written to; the error names the final path.
    """

    def __init__(self, path: Path) -> None:
        self._final = path
        self._lock: int | None = None
        with self._named():
            make_folder(path.parent)
            remove_leftovers(path.parent)
            self._folder = self._begin()
        self.path = self._folder / path.name

    def _begin(self) -> Path:
        while True:
            folder = self._final.parent / WRITING / os.urandom(8).hex()
            # Another process may remove a folder that is not locked yet: then this takes a new one.
            with suppress(FileNotFoundError):
                folder.mkdir(parents=True)
                try:
                    self._lock = _acquire(folder / LOCK, wait=True)
                except OSError as error:
                    if error.errno not in NO_LOCKS:
                        raise  # without locks the file is safe all the same, if not its leftovers
                return folder

    def finish(self) -> None:
        """Sync what was written to the disk and give it its final name.

        Raises:
            OSError: the disk is full or fails; what was there under the final name is unchanged.
        """
        with self._named():
            for one in (*self.path.rglob("*"), self.path):  # the first are those of a folder
                sync(one)
            self.path.replace(self._final)
            sync(self._final.parent)
        self.discard()

    def discard(self) -> None:
        """Remove what was written, unless it has its final name."""
        shutil.rmtree(self._folder, ignore_errors=True)
        _release(self._lock)
        self._lock = None
        with suppress(OSError):  # others write there
            self._folder.parent.rmdir()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Let an error name the final path, where it names the temporary one or none."""
        try:
            yield
        except OSError as error:
            own = str(self._final.parent / WRITING)
            if error.errno is None or not str(error.filename or own).startswith(own):
                raise
            raise OSError(error.errno, error.strerror, str(self._final)) from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Write a file or folder to the path that this yields; on success it takes the name `path`.

    Folders on the way are made. After an error nothing of it remains, and what was there under the
    final name is unchanged.

    Raises:
        OSError: the disk is full, or the folder cannot be written to; the error names `path`.
    """
    unfinished = Unfinished(path)
    try:
        with unfinished._named():
            yield unfinished.path
        unfinished.finish()
    finally:
        unfinished.discard()


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that are dead now were writing into a folder when they died."""
    with suppress(OSError):  # nothing is being written, or it is another user's
        for left in list((folder / WRITING).iterdir()):
            with suppress(OSError):
                lock = _acquire(left / LOCK, wait=False)
                if lock is not None:
                    shutil.rmtree(left, ignore_errors=True)
                    _release(lock)
        (folder / WRITING).rmdir()


@contextmanager
def lock_folder(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Let no other process enter this block for the same folder meanwhile.

    The lock ends with the block or with the process, however that ends; it works between machines
    that share the disk.

    Args:
        folder: made where absent.
        wait: wait for the process that is using the folder, rather than raise.

    Raises:
        LockError: another process is using the folder, and `wait` is False; or its file system
            has no locks.
    """
    path = folder / LOCK
    try:
        lock = _acquire_in(folder, wait=False)
        if lock is None:
            holder = _holder(path)
            if not wait:
                raise LockError(
                    f"{folder} is in use by {holder}. Wait until that process has ended, or name "
                    "another folder."
                )
            _log.info("waiting for %s, which is in use by %s", folder, holder)
            lock = _acquire_in(folder, wait=True)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise LockError(
            f"{folder} cannot be locked, so that two processes could write there at once: its file "
            f"system has no flock ({error.strerror}). Name a folder on another disk."
        ) from error
    assert lock is not None
    try:
        with suppress(OSError):  # a full disk: then the message to others lacks this
            now = datetime.now().astimezone().isoformat(" ", "seconds")
            os.ftruncate(lock, 0)
            os.write(lock, f"process {os.getpid()} on {socket.gethostname()} since {now}".encode())
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: who waits for it then locks a new file
        _release(lock)


@contextmanager
def lock_output(path: Path) -> Iterator[None]:
    """Let no other process write the same file or folder meanwhile.

    The lock is in the folder `NAME.partial` beside it, which goes at the end of the block. One that
    a dead process left is taken over.

    Raises:
        LockError: another process is writing it.
    """
    folder = path.with_name(f"{path.name}.partial")
    try:
        with lock_folder(folder):
            yield
    finally:
        with suppress(OSError):  # another process has just locked it, or it was never made
            folder.rmdir()


@contextmanager
def unnamed(folder: Path, final: Path) -> Iterator[None]:
    """Mark a folder as one that nothing names yet: within this block, something comes to name it.

    After an error the folder is removed. One whose process dies in the block is removed by
    `remove_unnamed`.

    Args:
        folder: where it is now.
        final: where it will be when the block ends.
    """
    lock = None
    with suppress(OSError):  # without locks it stays as it is, whatever becomes of the process
        lock = _acquire(folder / UNNAMED, wait=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(final, ignore_errors=True)
        raise
    else:
        (final / UNNAMED).unlink(missing_ok=True)
    finally:
        _release(lock)


def remove_unnamed(parent: Path, is_named: Callable[[str], bool]) -> None:
    """Remove the folders that processes left which died before anything named them.

    Args:
        parent: of the folders; may be absent.
        is_named: True for the name of a folder that was named in the last moment.
    """
    for mark in parent.glob(f"*/{UNNAMED}"):
        with suppress(OSError):  # another process removes it, or it is another user's
            lock = _acquire(mark, wait=False)
            if lock is None:
                continue
            try:
                if is_named(mark.parent.name):
                    mark.unlink(missing_ok=True)
                else:
                    shutil.rmtree(mark.parent, ignore_errors=True)
            finally:
                _release(lock)


def make_folder(folder: Path) -> None:
    """Make a folder and those on the way to it, so that they outlast a power failure.

    Raises:
        OSError: it cannot be made.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in reversed(missing):
        sync(one.parent)


def state_of(path: Path) -> tuple[int, ...] | None:
    """Time, size and place on the disk of a file; another once it is written anew. None without."""
    if not path.exists():
        return None
    state = path.stat()
    return state.st_mtime_ns, state.st_size, state.st_ino


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk.

    Raises:
        OSError: it cannot be written there.
    """
    if sys.platform == "win32" and path.is_dir():  # has no such thing
        return
    descriptor = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # no sync of folders on this disk
            raise
    finally:
        os.close(descriptor)


def _holder(path: Path) -> str:
    """The process that wrote a lock file."""
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")[:200] or "another process"
    return "another process"


def _acquire_in(folder: Path, *, wait: bool) -> int | None:
    """Lock a folder, made where absent, even where another process removes it meanwhile."""
    while True:
        make_folder(folder)
        with suppress(FileNotFoundError):
            return _acquire(folder / LOCK, wait=wait)


def _acquire(path: Path, *, wait: bool) -> int | None:
    """Lock a file, made where absent; None if another holds it and `wait` is False.

    Raises:
        OSError: it cannot be opened, or its file system has no locks.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        _held.add(descriptor)
        try:
            _flock(descriptor, wait=wait)
            with suppress(FileNotFoundError):  # its last holder has removed it: lock a new one
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BlockingIOError:
            _release(descriptor)
            return None
        except BaseException:
            _release(descriptor)
            raise
        _release(descriptor)


def _flock(descriptor: int, *, wait: bool) -> None:
    if sys.platform == "win32":
        raise OSError(errno.ENOSYS, "Windows has none")
    fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def _release(descriptor: int | None) -> None:
    if descriptor in _held:
        _held.discard(descriptor)
        os.close(descriptor)


def _release_all() -> None:
    for descriptor in tuple(_held):
        _release(descriptor)


# A forked worker would otherwise keep the locks of a parent that was killed.
if sys.platform != "win32":
    os.register_at_fork(after_in_child=_release_all)

"""Files appear whole or not at all, whatever ends their writer; locks end with their holder."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from spikerec.errors import LockError
from spikerec.spikes.files import (
    LOCK,
    UNNAMED,
    WRITING,
    atomic_path,
    lock_folder,
    remove_unnamed,
    unnamed,
)

Start = Callable[..., multiprocessing.process.BaseProcess]


def write_half(path: Path, ready: Connection) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        ready.send(None)
        time.sleep(60)


def hold(folder: Path, ready: Connection) -> None:
    with lock_folder(folder):
        ready.send(None)
        time.sleep(60)


def hold_with_worker(folder: Path, ready: Connection) -> None:
    with lock_folder(folder):
        if worker := os.fork():
            ready.send(worker)
        time.sleep(60)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start one of the functions above in a process, and wait until it is in the middle of it."""
    context = multiprocessing.get_context("fork")
    processes = []

    def begin(function: Callable[[Path, Connection], None], path: Path) -> Any:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=function, args=(path, sender))
        process.start()
        processes.append(process)
        process.told = receiver.recv()  # type: ignore[attr-defined]
        return process

    yield begin
    for process in processes:
        killed(process)


def killed(process: multiprocessing.process.BaseProcess) -> None:
    process.kill()
    process.join()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_file_appears_with_its_folders_and_nothing_else(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a" / "b" / "x.txt") as temporary:
        temporary.write_text("whole")
        assert temporary.name == "x.txt"
        assert not (tmp_path / "a" / "b" / "x.txt").exists()
    assert [p.name for p in (tmp_path / "a" / "b").iterdir()] == ["x.txt"]


def test_folder_appears_whole(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "images") as temporary:
        temporary.mkdir()
        (temporary / "0.png").write_bytes(b"0")
    assert contents(tmp_path) == {"images/0.png": b"0"}


def write_then_raise(path: Path, error: BaseException) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        raise error


@pytest.mark.parametrize("fault", [ValueError("bad"), KeyboardInterrupt()])
def test_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, fault: BaseException) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(type(fault)):
        write_then_raise(path, fault)
    assert contents(tmp_path) == {"x.txt": b"old"}
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_next_writer_removes_what_a_killed_one_left(tmp_path: Path, start: Start) -> None:
    killed(start(write_half, tmp_path / "x.bin"))
    assert len(contents(tmp_path)) == 2  # the half file and its lock
    with atomic_path(tmp_path / "y.bin") as temporary:
        temporary.write_bytes(b"whole")
    assert [p.name for p in tmp_path.iterdir()] == ["y.bin"]


def test_next_writer_leaves_what_a_live_one_is_writing(tmp_path: Path, start: Start) -> None:
    start(write_half, tmp_path / "x.bin")
    with atomic_path(tmp_path / "y.bin") as temporary:
        temporary.write_bytes(b"whole")
    assert b"half" in contents(tmp_path / WRITING).values()


def test_leftover_that_died_before_it_was_locked_is_removed(tmp_path: Path) -> None:
    (tmp_path / WRITING / "0123").mkdir(parents=True)
    with atomic_path(tmp_path / "y.bin") as temporary:
        temporary.write_bytes(b"whole")
    assert [p.name for p in tmp_path.iterdir()] == ["y.bin"]


def write_many(folder: Path, name: str, count: int) -> None:
    for index in range(count):
        with atomic_path(folder / f"{name}-{index}") as temporary:
            temporary.write_text(name * 100)


def test_many_writers_in_one_folder_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_many, args=(tmp_path, str(n), 50)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert contents(tmp_path) == {
        f"{n}-{index}": (str(n) * 100).encode() for n in range(4) for index in range(50)
    }
    assert not (tmp_path / WRITING).exists()


def test_everything_is_synced_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def record(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append(path.name + ("" if (tmp_path / "new" / "x").exists() else " (before)"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    with atomic_path(tmp_path / "new" / "x") as temporary:
        temporary.write_text("whole")
    assert synced == [f"{tmp_path.name} (before)", "x (before)", "new"]


def test_error_of_permission_names_the_file() -> None:
    user = os.geteuid()
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        os.seteuid(user or 65534)  # root may write everywhere
        try:
            with pytest.raises(PermissionError) as caught, atomic_path(folder / "x.txt"):
                pass
        finally:
            os.seteuid(user)
    assert caught.value.filename == str(folder / "x.txt")


def test_error_of_a_full_disk_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as caught, atomic_path(tmp_path / "x"):
        Path("/dev/full").write_text("a")
    assert caught.value.filename == str(tmp_path / "x")
    assert contents(tmp_path) == {}


def test_disk_that_fails_at_the_sync_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_text("old")

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"), atomic_path(tmp_path / "x") as temporary:
        temporary.write_text("new")
    assert contents(tmp_path) == {"x": b"old"}


def test_second_process_is_told_who_holds_the_folder(tmp_path: Path, start: Start) -> None:
    process = start(hold, tmp_path)
    message = f"in use by process {process.pid} on .* since 20"
    with pytest.raises(LockError, match=message), lock_folder(tmp_path):
        pass


def test_lock_ends_with_a_killed_holder(tmp_path: Path, start: Start) -> None:
    killed(start(hold, tmp_path))
    with lock_folder(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


def test_lock_ends_with_its_holder_though_a_worker_lives(tmp_path: Path, start: Start) -> None:
    process = start(hold_with_worker, tmp_path)
    try:
        killed(process)
        with lock_folder(tmp_path):
            pass
    finally:
        os.kill(process.told, signal.SIGKILL)  # type: ignore[attr-defined]


def add_one(folder: Path, count: int) -> None:
    for _ in range(count):
        with lock_folder(folder, wait=True):
            number = folder / "number"
            before = int(number.read_text())
            time.sleep(0.001)
            number.write_text(str(before + 1))


def test_waiting_processes_take_turns(tmp_path: Path) -> None:
    (tmp_path / "number").write_text("0")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=add_one, args=(tmp_path, 50)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (tmp_path / "number").read_text() == "200"


def test_disk_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(LockError, match=r"no flock .No locks available"), lock_folder(tmp_path):
        pass
    left = tmp_path / WRITING / "0123"  # perhaps of a live process: it stays
    left.mkdir(parents=True)
    with atomic_path(tmp_path / "x") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "x").read_text() == "whole"
    assert left.exists()


# ------------------------------------------------------------- folders that nothing names yet


def _left(folder: Path) -> Path:
    """A folder whose process died before anything named it."""
    folder.mkdir(parents=True)
    (folder / "picture.png").write_bytes(b"picture")
    (folder / UNNAMED).touch()
    return folder


def test_folder_that_was_named_stays_whole(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a") as folder:
        folder.mkdir()
        (folder / "picture.png").write_bytes(b"picture")
        naming = unnamed(folder, tmp_path / "a")
        naming.__enter__()
    remove_unnamed(tmp_path, lambda _: False)  # its process is alive
    assert (tmp_path / "a" / UNNAMED).exists()
    naming.__exit__(None, None, None)
    remove_unnamed(tmp_path, lambda _: False)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["picture.png"]


def test_folder_is_removed_where_naming_it_fails(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    with pytest.raises(OSError, match="full"), unnamed(folder, folder):
        raise OSError("full")
    assert not folder.exists()


def test_folder_left_without_a_name_is_removed_by_the_next(tmp_path: Path) -> None:
    lost, named = _left(tmp_path / "lost"), _left(tmp_path / "named")
    remove_unnamed(tmp_path, lambda name: name == "named")
    assert not lost.exists()
    assert [path.name for path in named.iterdir()] == ["picture.png"]

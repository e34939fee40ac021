"""The engine in several processes, each with its own reader, networks and device.

The clip is cut into parts of frames that are dealt out in turn, and whoever asks gets the frames in
order. A process works ahead of that by one part at most, so that memory does not grow with the
clip. A part begins as a stream does: what its first windows share with the part before is read and
encoded again.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

import torch

from spikerec.errors import ConfigError, ProcessError, SpikerecError
from spikerec.kernels.devices import each_its_own, parse_device, present_device
from spikerec.models.base import Network
from spikerec.spawning import UNSENDABLE, packed, program_left_out
from spikerec.spikes import SpikeStream
from spikerec.streaming.ahead import ahead
from spikerec.streaming.engine import Frame, make_frames
from spikerec.streaming.key_readouts import KeyReadouts

#: Bytes of frames that a process may hold ready.
AHEAD_BYTES = 1 << 27
#: Seconds that a process is given to end before it is killed.
END_SECONDS = 5


def choose_devices(device: torch.device | str | None, count: int | str) -> list[torch.device]:
    """Choose the device on which each of the processes computes.

    Args:
        device: None for a GPU where there is one.
        count: of processes; each has a GPU of its own, or they share the CPU.

    Raises:
        ConfigError: a count below 1, or more than there are GPUs; a device that is not here.
    """
    if not isinstance(count, int) or count < 1:
        raise ConfigError(f"devices must be a whole number of at least 1, found {count!r}.")
    chosen = parse_device(device)
    if count == 1 or not each_its_own(chosen):
        chosen = present_device(chosen)
        return [chosen] * count
    if chosen != torch.device("cuda"):
        raise ConfigError(
            f"device={chosen} is one GPU, but devices={count}: set device=cuda, or devices=1."
        )
    if count > torch.cuda.device_count():
        raise ConfigError(
            f"devices={count}, but {torch.cuda.device_count()} GPUs are visible: lower devices, or "
            "set device=cpu."
        )
    return [torch.device("cuda", index) for index in range(count)]


def distribute_frames(
    stream: SpikeStream,
    networks: Sequence[Network],
    key_readouts: KeyReadouts,
    *,
    devices: Sequence[torch.device],
    batch_size: int,
    **settings: Any,  # noqa: ANN401 (those of `engine.make_frames`)
) -> Generator[Frame, None, None]:
    """Make the frame of each key readout, in order, by as many processes as there are devices.

    Args:
        stream: each process reads what its frames need.
        networks: in eval mode.
        key_readouts: which readouts.
        devices: of each process; for one, or for a clip of one batch, no process is started.
        batch_size: windows that go through a network at once.
        **settings: those of `engine.make_frames`.

    Raises:
        ConfigError: a network or stream that cannot be sent to a process.
        ProcessError: a process that died, or met what is no error of the user's.
    """
    longest = AHEAD_BYTES // (stream.height * stream.width * (4 * len(networks) + 1))
    length = part_length(len(key_readouts), len(devices), batch_size, longest)
    if len(devices) == 1 or length >= len(key_readouts):
        yield from make_frames(
            stream, networks, key_readouts, device=devices[0], batch_size=batch_size, **settings
        )
        return
    on_cpu = tuple(network.cpu() for network in networks)  # not all on the first GPU
    job = Job(stream, on_cpu, key_readouts, {**settings, "batch_size": batch_size})
    parts = [
        range(first, min(first + length, len(key_readouts)))
        for first in range(0, len(key_readouts), length)
    ]
    count = min(len(devices), len(parts))
    threads = max(1, torch.get_num_threads() // count)  # more than cores would wait for one another
    workers = [
        Worker(f"process {k} ({device})", device, parts[k::count], threads)
        for k, device in enumerate(devices[:count])
    ]
    try:
        with _interrupts_held(), program_left_out():
            for worker in workers:
                worker.process.start()
        content = _pickled(job)
        for worker in workers:  # all started: they import at the same time
            worker.send(content)
        for index, part in enumerate(parts):
            for _ in part:
                yield workers[index % count].receive()
    finally:
        for worker in workers:
            worker.end()


def part_length(total: int, processes: int, batch_size: int, longest: int) -> int:
    """Frames of a part: whole batches, as many parts for each process, none above `longest`."""
    turns = -(-total // (processes * max(longest, batch_size)))
    share = -(-total // (processes * turns))
    return -(-share // batch_size) * batch_size


@dataclass(frozen=True)
class Job:
    """The work that the processes share.

    Attributes:
        stream: to read.
        networks: the methods.
        key_readouts: of the whole clip.
        settings: those of `engine.make_frames`, but the device.
    """

    stream: SpikeStream
    networks: tuple[Network, ...]
    key_readouts: KeyReadouts
    settings: dict[str, Any]

    def make_parts(
        self, device: torch.device, parts: Sequence[range]
    ) -> Generator[Frame, None, None]:
        """Make the frames of some parts of the clip on a device."""
        for part in parts:
            key_readouts = self.key_readouts[part.start : part.stop]
            yield from make_frames(
                self.stream, self.networks, key_readouts, device=device, **self.settings
            )


class Worker:
    """A process, and this end of the pipe to it.

    Args:
        name: for errors.
        device: where it computes.
        parts: of frames that it makes, in this order.
        threads: of PyTorch.
    """

    def __init__(
        self, name: str, device: torch.device, parts: Sequence[range], threads: int
    ) -> None:
        self._name = name
        context = multiprocessing.get_context("spawn")  # CUDA and threads do not survive a fork
        self._connection, self._theirs = context.Pipe()
        self.process = context.Process(
            target=_work, args=(self._theirs, name, device, parts, threads), daemon=True
        )

    def send(self, content: bytes) -> None:
        """Hand over the job."""
        self._theirs.close()  # so that the pipe ends with the process
        with self._told():
            self._connection.send_bytes(content)

    def receive(self) -> Frame:
        """The next frame."""
        with self._told():
            message = self._connection.recv()
        if isinstance(message, SpikerecError):
            raise message
        key_readout, images, spikes = message
        return Frame(key_readout, torch.from_numpy(images), torch.from_numpy(spikes))

    def end(self) -> None:
        """End the process, whatever it does."""
        self._connection.close()
        if self.process.pid is None:  # never started
            return
        self.process.terminate()
        self.process.join(END_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """The error about a process that ended."""
        try:
            yield
        except (EOFError, ConnectionError) as error:
            self.process.join(END_SECONDS)
            raise ProcessError(f"{self._name} {_end_of(self.process.exitcode)}.") from error


def _end_of(exit_code: int | None) -> str:
    """Say in words how a process ended."""
    if exit_code is not None and exit_code < 0:
        hint = ": memory may have run out, lower devices or batch_size"
        name = signal.Signals(-exit_code).name
        return f"was killed by {name}{hint if name == 'SIGKILL' else ''}"
    return f"ended with exit status {exit_code}"


def _work(
    connection: Connection, name: str, device: torch.device, parts: Sequence[range], threads: int
) -> None:
    """Take the job, and send its frames until there are no more: the task of a process."""
    torch.set_num_threads(threads)
    try:
        job: Job = connection.recv()
        depth = max(map(len, parts))
        with closing(ahead(_in_slots(job.make_parts(device, parts), depth), depth)) as source:
            for key_readout, images, spikes in source:
                connection.send((key_readout, images.numpy(), spikes.numpy()))
    except ConnectionError:  # nobody wants the rest
        return
    except SpikerecError as error:
        _send(connection, error)
    except Exception as error:  # noqa: BLE001 (every error must be reported)
        _send(connection, ProcessError(f"{name} failed: {type(error).__name__}: {error}"))


def _in_slots(source: Generator[Frame, None, None], depth: int) -> Generator[Frame, None, None]:
    """The same frames in memory that is taken once, where `depth` of them wait to be sent.

    Kept where they were made, each would stand between two windows' worth of freed memory that
    cannot be joined again: gigabytes in all.
    """
    slots: list[Frame] = []
    with closing(source):
        for index, frame in enumerate(source):
            if not slots:  # and one that is being made, and one that is being sent
                count = depth + 2
                images = torch.empty((count, *frame.images.shape))
                spikes = torch.empty((count, *frame.spikes.shape), dtype=frame.spikes.dtype)
                slots = [Frame(0, *pair) for pair in zip(images, spikes, strict=True)]
            slot = slots[index % len(slots)]
            slot.images.copy_(frame.images)
            slot.spikes.copy_(frame.spikes)
            yield slot._replace(key_readout=frame.key_readout)


def _send(connection: Connection, error: SpikerecError) -> None:
    with suppress(ConnectionError):
        connection.send(error)


def _pickled(job: Job) -> bytes:
    """A job as bytes.

    `Connection.send` would put tensors into shared memory, of which a container has little.
    """
    try:
        return packed(job)
    except UNSENDABLE as error:
        raise ConfigError(
            f"devices is above 1, but {_names(job)} cannot be sent to another process ({error}): "
            "remove what holds it, or set devices=1."
        ) from error


def _names(job: Job) -> str:
    return ", ".join(type(network).__name__ for network in job.networks)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: this one ends them.

    They take over the signals that this thread does not let through.
    """
    resource_tracker.ensure_running()  # it lets them through again when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from spikerec import spikes
from spikerec.configs import build
from spikerec.errors import ConfigError, DataError, ProcessError
from spikerec.models.base import Network, Reconstruction
from spikerec.models.blocks import BlockNetwork, Blocks
from spikerec.spikes import SpikeStream
from spikerec.streaming import reconstruct
from spikerec.streaming.processes import choose_devices, part_length
from tests.fakes import fake_spikes


class Failing(Network):
    """Fails, or dies, in another process than the one that made it, at a window of darkness."""

    def __init__(self, how: str) -> None:
        super().__init__(window=5)
        self.how = how
        self.home = os.getpid()

    def forward(self, spikes: Tensor) -> Reconstruction:
        if os.getpid() != self.home and not spikes.any():
            if self.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "data":
                raise DataError("clip.npy is damaged.")
            raise RuntimeError("no more memory\non the device")
        return Reconstruction(spikes.mean(1, keepdim=True))


class Unsendable:
    def __deepcopy__(self, memo: object) -> Unsendable:
        return self

    def __reduce__(self) -> str:
        raise TypeError("it holds a connection")


class Joining(BlockNetwork):
    """Shares two of its three blocks with the next window, 4 readouts on."""

    def __init__(self) -> None:
        super().__init__(window=13)
        self.blocks = Blocks(length=5, stride=4, count=3)
        self.conv = nn.Conv2d(5, 4, 3, padding=1)

    def encode(self, block: Tensor) -> tuple[Tensor, ...]:
        return (self.conv(block),)

    def join(self, features: Sequence[tuple[Tensor, ...]]) -> Reconstruction:
        weighted = [(k + 1) * one for k, (one,) in enumerate(features)]
        return Reconstruction(torch.stack(weighted).sum((0, 2))[:, None])


@pytest.fixture
def stream(tmp_path: Path) -> SpikeStream:
    values = fake_spikes(90, 12, 16)
    values[70:] = 0  # the last frames
    spikes.save(tmp_path / "clip.npy", values)
    return spikes.open(tmp_path / "clip.npy")


@pytest.mark.parametrize("total", [1, 2, 7, 100, 1000])
@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_runs_are_whole_batches_and_alike(total: int, processes: int, batch_size: int) -> None:
    length = part_length(total, processes, batch_size, longest=30)
    assert length % batch_size == 0
    assert 0 < length <= 30 + batch_size
    parts = -(-total // length)
    most = -(-parts // processes) * length
    assert most <= total / processes + processes * batch_size + length * (total > 30)


def test_processes_give_the_frames_of_one(
    stream: SpikeStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spikerec.streaming.processes.AHEAD_BYTES", 2 * 9 * 12 * 16)  # 2 frames
    networks = [build("model", "tfp", window=21), Joining()]
    one, two = (
        reconstruct(stream, *networks, stride=4, devices=devices, batch_size=2, device="cpu")
        for devices in (1, 2)
    )
    expected, found = list(one.frames(1)), list(two.frames(1))
    assert len(found) == len(one) - 1 > 4  # a process has several parts
    for a, b in zip(expected, found, strict=True):
        assert a.key_readout == b.key_readout
        assert torch.equal(a.spikes, b.spikes)
        assert torch.equal(a.images[0], b.images[0])
        torch.testing.assert_close(a.images[1], b.images[1], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("killed", ProcessError, r"^process 1 \(cpu\) was killed by SIGKILL: memory may have run"),
        ("data", DataError, r"^clip.npy is damaged.$"),
        ("device", ProcessError, r"^process 1 \(cpu\) failed: RuntimeError: no more memory"),
    ],
)
def test_the_end_of_a_process_is_told_and_what_was_made_is_kept(
    how: str, error: type[Exception], message: str, stream: SpikeStream, tmp_path: Path
) -> None:
    video = reconstruct(stream, Failing(how), stride=4, devices=2, device="cpu")
    with pytest.raises(error, match=message):
        video.save(tmp_path / "clip.npy.npy")
    assert not (tmp_path / "clip.npy.npy").exists()
    assert (tmp_path / "clip.npy.npy.partial" / "state.json").exists()
    reconstruct(stream, Failing(how), stride=4).save(tmp_path / "clip.npy.npy", resume=True)


def test_processes_end_when_nobody_wants_the_rest(stream: SpikeStream) -> None:
    before = children()
    source = reconstruct(stream, "tfp", stride=1, devices=2, device="cpu").frames()
    next(source)
    assert len(children() - before) == 2
    source.close()
    assert children() <= before


def children() -> set[int]:
    return {process.pid or 0 for process in multiprocessing.active_children()}


def test_a_single_frame_needs_no_process(stream: SpikeStream) -> None:
    video = reconstruct(stream, "tfp", devices=2, device="cpu")
    assert video[0].size == (16, 12)
    assert not children()


def test_one_device_needs_no_process_for_any_length(
    stream: SpikeStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spikerec.streaming.processes.AHEAD_BYTES", 1)
    source = reconstruct(stream, "tfp", stride=1, device="cpu").frames()
    next(source)
    assert not children()
    source.close()


def test_a_network_that_cannot_be_sent_is_named(stream: SpikeStream) -> None:
    network = Failing("")
    network.held = Unsendable()
    video = reconstruct(stream, network, devices=2, device="cpu")
    with pytest.raises(ConfigError, match=r"Failing cannot be sent to another process.*devices=1"):
        next(video.frames())


@pytest.mark.parametrize(
    ("device", "devices", "message"),
    [
        ("cpu", 0, "devices must be a whole number of at least 1, found 0"),
        ("cpu", "auto", "devices must be a whole number of at least 1, found 'auto'"),
        ("cuda:1", 2, "device=cuda:1 is one GPU, but devices=2"),
        ("cuda:99", 1, r"device=cuda:99 cannot be used: found \d+ GPUs\. Set device=cpu"),
        ("gpu", 1, "device=gpu is unknown: expected cpu, cuda or cuda:1"),
        ("gpu", 2, "device=gpu is unknown"),
        ("cuda", 1000, r"devices=1000, but \d+ GPUs are visible"),
    ],
)
def test_devices_that_cannot_be_are_named(device: str, devices: int | str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_devices(device, devices)


def test_each_gpu_has_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert [str(one) for one in choose_devices("cuda", 3)] == ["cuda:0", "cuda:1", "cuda:2"]
    assert [str(one) for one in choose_devices("cuda", 1)] == ["cuda"]

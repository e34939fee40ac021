"""Training over sequences and evaluation with carried state."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from spikerec.configs import build, config_names
from spikerec.data import REDS, SREDS, SpikeDataModule, Windows, decode
from spikerec.data.sequences import Sequences
from spikerec.errors import ConfigError, DataError
from spikerec.losses import L1, Loss
from spikerec.models.base import Network, Reconstruction, StatefulNetwork
from spikerec.models.carrying import Carry, windows_before
from spikerec.results.evaluation import evaluate
from spikerec.results.leaderboard import leaderboard
from spikerec.training import ReconstructionModule, fit
from tests.fakes import fake_reds, fake_sreds

HOP = 20

#: Methods that carry a state, small enough to train in a test.
SMALL: dict[str, dict[str, Any]] = {
    "ssir": {"channels": 4},
    "etnet": {"channels": 2, "dropout": 0.0},
    "hypere2vid": {"channels": 2},
    "hypere2vid_static": {"channels": 2},
}
STATEFUL = [name for name in config_names("model") if build("model", name).hop is not None]


class Memory(StatefulNetwork):
    """A network of one's own: a leaky mean of the firing rates seen so far."""

    def __init__(self, window: int = 21, output_scale: float | None = 1.0) -> None:
        super().__init__(window, output_scale)
        self.hop = HOP
        self.gain = nn.Parameter(torch.tensor(0.5))

    def initial_state(self, spikes: Tensor) -> dict[str, Tensor]:
        return {"mean": spikes.new_zeros(len(spikes), 1, *spikes.shape[-2:])}

    def step(
        self, spikes: Tensor, state: dict[str, Tensor]
    ) -> tuple[Reconstruction, dict[str, Tensor]]:
        mean = self.gain * spikes.mean(1, keepdim=True) + (1 - self.gain) * state["mean"]
        return Reconstruction(mean), {"mean": mean}


def small(name: str) -> Network:
    torch.manual_seed(0)
    return build("model", name, **SMALL[name])


@pytest.fixture
def sreds(tmp_path: Path) -> SREDS:
    fake_sreds(tmp_path / "sreds", height=16, width=24)
    return SREDS(tmp_path / "sreds")


def data_of(sreds: SREDS, network: Network, **arguments: Any) -> SpikeDataModule:
    given = {"batch_size": 2, "crop": (16, 16), "augment": "none"} | arguments
    return SpikeDataModule(sreds, window=network.window, hop=network.hop, **given)


def test_every_method_that_carries_a_state_is_tried() -> None:
    assert set(STATEFUL) == set(SMALL)


@pytest.mark.parametrize("name", STATEFUL)
@torch.inference_mode()
def test_a_window_on_its_own_is_a_step_from_the_initial_state(name: str) -> None:
    network = small(name).eval()
    spikes = (torch.rand(2, network.window, 13, 18) < 0.3).to(torch.uint8)
    alone = network.reconstruct(spikes, 0.5).image
    first, state = network.reconstruct_next(spikes, 0.5)
    torch.testing.assert_close(first.image, alone, atol=1e-5, rtol=1e-4)
    _, later = network.reconstruct_next(spikes, 0.5, state)
    pairs = zip(tree_leaves(state), tree_leaves(later), strict=True)
    assert any(one is not None and not torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("name", STATEFUL)
@torch.inference_mode()
def test_samples_of_a_batch_keep_states_of_their_own(name: str) -> None:
    network = small(name).eval()
    spikes = (torch.rand(2, network.window + HOP, 16, 16) < 0.3).to(torch.uint8)

    def second(spikes: Tensor) -> Tensor:
        state = network.reconstruct_next(spikes[:, : network.window])[1]
        return network.reconstruct_next(spikes[:, HOP:], 1.0, state)[0].image

    torch.testing.assert_close(second(spikes)[1:], second(spikes[1:]), atol=1e-4, rtol=1e-4)


def test_networks_without_state_say_so() -> None:
    network = build("model", "tfp")
    with pytest.raises(ConfigError, match="TFP carries no state from window to window"):
        network.reconstruct_next(torch.zeros(1, network.window, 4, 4))


@pytest.mark.parametrize(
    ("sequence", "warm_up", "message"),
    [
        (1, None, "sequence must be at least 2"),
        (3, 3, "warm_up must be from 0 to 2"),
        (None, 1, "warm_up=1 is of a sequence"),
    ],
)
def test_sequences_that_cannot_be(sreds: SREDS, sequence: int, warm_up: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        data_of(sreds, Memory(), sequence=sequence, warm_up=warm_up)


@pytest.mark.parametrize("carry", [0, -1, True, 1.5, "begin"])
def test_a_carry_that_cannot_be(sreds: SREDS, carry: Any) -> None:
    with pytest.raises(ConfigError, match="carry must be a "):
        data_of(sreds, Memory(), carry=carry)


def test_a_state_needs_a_network_that_has_one(sreds: SREDS, tmp_path: Path) -> None:
    tfp = build("model", "tfp")
    with pytest.raises(ConfigError, match=r"carry=start needs .*hop=network\.hop"):
        data_of(sreds, tfp, carry="start")
    data = SpikeDataModule(sreds, window=41, hop=20, carry=1)
    with pytest.raises(ConfigError, match="carries no state"):
        fit(build("model", "fast"), data_of(sreds, Memory(61), sequence=2), folder=tmp_path / "a")
    with pytest.raises(ConfigError, match="carries no state"):
        evaluate(tfp, data)


def sequence_windows(sreds: SREDS, length: int, warm_up: int = 0) -> Windows:
    data = data_of(sreds, Memory(), sequence=length, warm_up=warm_up)
    data.setup("fit")
    assert isinstance(data.train_windows, Windows)
    return data.train_windows


def test_a_sequence_is_consecutive_windows_of_one_crop(sreds: SREDS) -> None:
    windows = sequence_windows(sreds, 3, warm_up=1)
    assert len(windows) > 2
    for item, (index, last) in enumerate(windows.items):
        sample = windows[_draw(item)]
        batch = decode(torch.utils.data.default_collate([sample]))
        rows, columns, *_ = windows._place(_draw(item), windows.streams[index])
        whole = windows.streams[index][last - 2 * HOP - 10 : last + 11]
        given = batch["spikes"][0].numpy()
        assert (given[: len(whole)] == whole[:, rows, columns]).all()
        assert given.shape[0] == 21 + 2 * HOP
        assert batch["target"].shape == (1, 2, 1, 16, 16)


def _draw(item: int) -> Any:
    from spikerec.data.windows import Draw

    return Draw(item, 0, item)


def test_no_sequence_leaves_its_stream_or_its_clip() -> None:
    sequences = Sequences(hop=20, length=3)
    assert sequences.ends([0, 20, 40, 80, 100], before=10) == []
    assert sequences.ends([20, 40, 60, 80, 120], before=10) == [60, 80]
    assert Sequences(20, 3, warm_up=2).ends([7, 55], before=10) == [55]


def test_a_set_without_consecutive_images_says_what_to_do(tmp_path: Path) -> None:
    fake_reds(tmp_path)
    reds = REDS(tmp_path, height=24, width=40)
    data = data_of(reds, Memory(), sequence=2)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"sequence=2: no stream .* longer warm_up"):
        data.setup("fit")
    data = data_of(reds, Memory(), sequence=2, warm_up=1)  # type: ignore[arg-type]
    data.setup("fit")
    assert len(data.train_windows or ()) == 2


def gradient(network: Memory, batch: dict[str, Any], detach_every: int | None) -> float:
    network.zero_grad()
    module = ReconstructionModule(network, loss=Loss(l1=L1()), detach_every=detach_every)
    module.learn(batch)[0].backward()
    assert network.gain.grad is not None
    return float(network.gain.grad)


def sequence_batch(length: int, window: int, warm_up: int = 0) -> dict[str, Any]:
    torch.manual_seed(1)
    spikes = (torch.rand(2, window + (length - 1) * HOP, 8, 8) < 0.4).to(torch.uint8)
    learnt = length - warm_up
    return {
        "spikes": spikes,
        "target": torch.rand(2, learnt, 1, 8, 8),
        "light_scale": torch.ones(2),
        "hop": torch.tensor([HOP, HOP]),
        "learnt": torch.tensor([learnt, learnt]),
        "key": ["a", "b"],
    }


def test_gradients_end_where_it_is_stated() -> None:
    network, batch = Memory(), sequence_batch(4, 21)
    whole = gradient(network, batch, None)
    assert gradient(network, batch, 4) == whole
    assert gradient(network, batch, 9) == whole
    assert gradient(network, batch, 2) != whole
    # Cut after every window, each is learnt from with the state before it as a constant.
    expected, state = 0.0, None
    for index in range(4):
        spikes = batch["spikes"][:, index * HOP : index * HOP + 21]
        network.zero_grad()
        held = None if state is None else {"mean": state["mean"].detach()}
        given, state = network.reconstruct_next(spikes, 1.0, held)
        (given.image - batch["target"][:, index]).abs().mean().backward()
        assert network.gain.grad is not None
        expected += float(network.gain.grad) / 4
    assert gradient(network, batch, 1) == pytest.approx(expected, rel=1e-5)


def test_a_warm_up_is_not_learnt_from() -> None:
    network, batch = Memory(), sequence_batch(3, 21, warm_up=2)
    total, terms = ReconstructionModule(network, loss=Loss(l1=L1())).learn(batch)
    state = None
    for index in range(3):
        spikes = batch["spikes"][:, index * HOP : index * HOP + 21]
        given, state = network.reconstruct_next(spikes, 1.0, state)
    torch.testing.assert_close(total, (given.image - batch["target"][:, 0]).abs().mean())
    torch.testing.assert_close(terms["l1"], total.detach())


def images(
    network: Network, data: SpikeDataModule, share: list[int] | None = None
) -> dict[str, Tensor]:
    """The images of the test samples, in order."""
    windows = data.evaluation_windows("sreds", "test")
    module = ReconstructionModule(network.eval())
    loader = data.whole_images(windows)
    if share is not None:
        loader.dataset.items = share  # type: ignore[attr-defined]
    with torch.inference_mode():
        return {batch["key"][0]: module.reconstruct(decode(batch)).image for batch in loader}


@pytest.mark.parametrize("name", STATEFUL)
def test_a_carried_image_is_the_end_of_one_long_run(name: str, sreds: SREDS) -> None:
    network = small(name)
    data = data_of(sreds, network, carry="start")
    windows = data.evaluation_windows("sreds", "test")
    found = images(network, data)
    half = network.window // 2
    for index, stream in enumerate(windows.streams):
        state = None
        keys = [key for i, key in windows.items if i == index]
        for key in [key for key in keys if half <= key < stream.num_readouts - half]:
            spikes = torch.from_numpy(stream[key - half : key - half + network.window])[None]
            with torch.inference_mode():
                given, state = network.reconstruct_next(spikes, 0.4, state)
            torch.testing.assert_close(found[f"{windows.clips[index].name}/{key}"], given.image)


@pytest.mark.parametrize("carry", [1, 2, "start", None])
def test_carried_images_follow_from_nothing_but_their_stream(sreds: SREDS, carry: Carry) -> None:
    network = Memory()
    data = data_of(sreds, network, carry=carry)
    whole = images(network, data)
    count = len(whole)
    for share in (list(range(0, count, 2)), list(range(1, count, 2)), [5, 0, 3, 3, 12, 2]):
        part = images(network, data, share)
        for key, image in part.items():
            torch.testing.assert_close(image, whole[key])
    one_by_one = [images(network, data, [item]) for item in range(count)]
    for alone in one_by_one:
        ((key, image),) = alone.items()
        torch.testing.assert_close(image, whole[key])


def test_a_warm_up_of_some_windows_goes_back_as_far_as_the_stream_does() -> None:
    assert [windows_before(key, 10, 20, 2) for key in (5, 10, 30, 50, 70)] == [0, 0, 1, 2, 2]
    assert windows_before(1000, 10, 20, "start") == 49


@pytest.mark.parametrize("name", STATEFUL)
def test_training_over_sequences_learns_and_ends_in_a_run(
    name: str, sreds: SREDS, tmp_path: Path
) -> None:
    network = small(name)
    before = [parameter.clone() for parameter in network.parameters()]
    data = data_of(sreds, network, sequence=3, warm_up=1, samples_per_epoch=4, val_samples=2)
    trainer = partial(
        L.Trainer,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=1,
    )
    run = fit(network, data, folder=tmp_path / "run", trainer=trainer, detach_every=2)
    assert (run.finished() or {})["sequence"] == 3
    assert run.best_score is not None
    pairs = zip(before, network.parameters(), strict=True)
    assert any(not torch.equal(one, other) for one, other in pairs)


def test_a_continued_epoch_gives_the_sequences_that_are_left(sreds: SREDS) -> None:
    def loader(continued: dict[str, Any] | None = None) -> Any:
        arguments = {"sequence": 3, "samples_per_epoch": 8, "augment": "dihedral"}
        data = data_of(sreds, Memory(), **arguments)
        data.setup("fit")
        if continued is not None:
            data.load_state_dict(continued)
        return data, data.train_dataloader()

    data, batches = loader()
    batches.draws.set_epoch(1)
    reading = iter(batches)
    next(reading)
    state = data.state_dict()
    left = list(reading)
    assert len(left) == 3
    _, again = loader(state)
    again.draws.set_epoch(1)
    for one, other in zip(left, again, strict=True):
        assert one["key"] == other["key"]
        assert torch.equal(one["bits"], other["bits"])


def test_rehearsal_names_what_a_step_must_return(sreds: SREDS, tmp_path: Path) -> None:
    class Forgetful(Memory):
        def step(self, spikes: Tensor, state: Any) -> Any:
            return super().step(spikes, state)[0]

    class Numbered(Memory):
        def step(self, spikes: Tensor, state: Any) -> Any:
            given, state = super().step(spikes, state)
            return given, {**state, "count": 3}

    for kind, message in (
        (Forgetful, r"Forgetful\.step must return a reconstruction and a state"),
        (Numbered, r"Numbered\.step must return a state of tensors .* found int"),
    ):
        network = kind()
        with pytest.raises(ConfigError, match=message):
            fit(network, data_of(sreds, network, sequence=2), folder=tmp_path / "run")


def test_a_loss_that_hides_spikes_is_refused(sreds: SREDS, tmp_path: Path) -> None:
    network = Memory()
    data = data_of(sreds, network, sequence=2)
    with pytest.raises(ConfigError, match="loss hides a part of the spikes"):
        fit(network, data, folder=tmp_path / "run", loss="halves")


@pytest.mark.parametrize(("sequence", "every"), [(None, 2), (2, 0), (2, True)])
def test_gradients_that_cannot_end_are_refused(
    sreds: SREDS, tmp_path: Path, sequence: int | None, every: int
) -> None:
    network = Memory()
    data = data_of(sreds, network, sequence=sequence)
    with pytest.raises(ConfigError, match="detach_every"):
        fit(network, data, folder=tmp_path / "run", detach_every=every)


def test_a_record_states_how_the_state_was_carried(sreds: SREDS, tmp_path: Path) -> None:
    network = Memory()
    found = {}
    for carry in (None, 1, "start"):
        record = evaluate(network, sreds, folder=tmp_path, carry=carry, efficiency=None)
        assert record.carry == carry
        found[record.title] = record.mean("psnr")
    assert len(set(found.values())) == 3
    (board,) = leaderboard(tmp_path).boards
    assert set(board.rows) == set(found)
    part = sreds_module(sreds, network, "start")
    assert not evaluate(network, part, folder=tmp_path, efficiency=None, again=False)
    part = sreds_module(sreds, network, 2)
    assert len(evaluate(network, part, folder=tmp_path, efficiency=None, again=False)) == 1


def sreds_module(sreds: SREDS, network: Network, carry: Carry) -> SpikeDataModule:
    return data_of(sreds, network, carry=carry)

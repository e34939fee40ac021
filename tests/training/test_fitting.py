"""`spikerec.fit` and a Trainer of one's own, as a notebook calls them."""

from __future__ import annotations

import functools
import inspect
import itertools
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import Tensor, nn

import spikerec
from spikerec.data import SpikeDataModule
from spikerec.data.reds import REDS
from spikerec.errors import ConfigError, NonFiniteError, StalledError
from spikerec.losses import Loss
from spikerec.losses.pixel import L1
from spikerec.models.base import Network, Reconstruction
from spikerec.results.evaluation import COST, evaluate
from spikerec.training import (
    ReconstructionModule,
    Run,
    budgets,
    finite,
    fit,
    replay,
    training_clock,
)
from spikerec.training.clocks import Clock
from spikerec.training.rehearsal import rehearse
from spikerec.training.scores import Monitor
from spikerec.training.standard import named_protocol, standard_callbacks, standard_loggers
from tests.fakes import fake_reds


class Mine(Network):
    """Ordinary PyTorch code: autocast on whatever device the spikes are on."""

    def __init__(self, width: int = 4, body: nn.Module | None = None) -> None:
        super().__init__(window=11)
        self.first = nn.Conv2d(11, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.body = body or nn.Identity()
        self.last = nn.Conv2d(width, 1, 1)

    def forward(self, spikes: Tensor) -> Reconstruction:
        with torch.autocast(spikes.device.type):
            hidden = self.body(torch.relu(self.norm(self.first(spikes))))
        return Reconstruction(self.last(hidden.float()))


@pytest.fixture(scope="module")
def reds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reds")
    fake_reds(root, num_readouts=41)
    return root


def data_of(reds: Path, **changes: Any) -> SpikeDataModule:
    arguments: dict[str, Any] = {"batch_size": 2, "crop": (16, 16), "samples_per_epoch": 4}
    return SpikeDataModule(REDS(reds, height=24, width=40), window=11, **{**arguments, **changes})


@pytest.fixture(scope="module")
def train(reds: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    folder = tmp_path_factory.mktemp("outputs") / "mine"
    quiet = partial(
        *(L.Trainer,),
        **{"accelerator": "cpu", "enable_progress_bar": False, "log_every_n_steps": 1},
        **{"enable_model_summary": False, "num_sanity_val_steps": 0},
    )

    def run(network: Network | None = None, **changes: Any) -> Run:
        options: dict[str, Any] = {"loss": Loss(l1=L1()), "max_epochs": 1, "trainer": quiet}
        options |= {"folder": folder, "validation": ["psnr"], **changes}
        return fit(network or Mine(), options.pop("data", None) or data_of(reds), **options)

    return run


@pytest.mark.parametrize(("clock", "steps"), [("wall", 2), ("processor", 8)])
def test_a_budget_is_counted_by_its_clock(
    clock: Clock,
    steps: int,
    train: Callable[..., Run],
    reds: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A machine that works on this process for a quarter of the time.
    ticks = {"wall": itertools.count(step=1.0), "processor": itertools.count(step=0.25)}
    monkeypatch.setattr(budgets, "CLOCKS", {name: one.__next__ for name, one in ticks.items()})
    run = train(
        data=data_of(reds, samples_per_epoch=None),
        folder=tmp_path,
        budget_seconds=2.0,
        budget_clock=clock,
    )
    found = json.loads((tmp_path / "budget.json").read_text())
    assert (found["clock"], found["steps"]) == (clock, steps)
    assert (run.finished() or {})["steps"] == steps


@pytest.mark.parametrize(("tick", "is_told"), [(0.5, False), (5.0, True)])
def test_a_training_that_is_slower_than_its_budget_says_so(
    tick: float,
    is_told: bool,
    train: Callable[..., Run],
    reds: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    measured, counted = itertools.count(step=1.0), itertools.count(step=tick)
    monkeypatch.setattr(budgets, "CLOCKS", {"wall": measured.__next__})
    monkeypatch.setattr(training_clock, "CLOCKS", {"wall": counted.__next__})
    data = data_of(reds, samples_per_epoch=None)
    train(data=data, folder=tmp_path, budget_seconds=2.0)
    assert ("its budget is 2 s (wall): its steps were slower" in caplog.text) is is_told


@pytest.mark.parametrize(("epochs", "is_told"), [(1, False), (4, True)])
def test_a_budget_that_holds_fewer_steps_than_epochs_says_so_at_once(
    epochs: int,
    is_told: bool,
    train: Callable[..., Run],
    reds: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(budgets, "CLOCKS", {"wall": itertools.count(step=1.0).__next__})
    data = data_of(reds, samples_per_epoch=None)
    run = train(data=data, folder=tmp_path, budget_seconds=2.0, max_epochs=epochs)
    assert (run.finished() or {})["steps"] == max(2, epochs)
    told = f"cut into {epochs} epochs: {epochs} steps will take {epochs} s of its 2. Give more"
    assert (told in caplog.text) is is_told


def test_a_run_whose_budget_is_gone_is_not_measured_anew(
    train: Callable[..., Run], reds: Path, tmp_path: Path
) -> None:
    def again() -> Run:
        data = data_of(reds, samples_per_epoch=None)
        return train(data=data, folder=tmp_path, budget_seconds=0.5)

    again()
    for name in ("budget.json", "finished.json"):
        (tmp_path / name).unlink()
    with pytest.raises(ConfigError, match=r"budget\.json is gone.* Bring the file back"):
        again()


@pytest.mark.parametrize("limit", [{"max_steps": 3}, {"limit_train_batches": 2}])
def test_a_trainer_that_ends_before_its_budget_is_refused(
    limit: dict[str, Any], train: Callable[..., Run], reds: Path, tmp_path: Path
) -> None:
    data = data_of(reds, samples_per_epoch=None)
    trainer = partial(L.Trainer, accelerator="cpu", **limit)
    ((name, value),) = limit.items()
    with pytest.raises(ConfigError, match=f"{name}={value} would end a training before its"):
        train(data=data, folder=tmp_path, trainer=trainer, budget_seconds=2.0)


def test_a_trial_of_a_training_by_budget_is_one_batch_and_measures_nothing(
    train: Callable[..., Run], reds: Path, tmp_path: Path
) -> None:
    data = data_of(reds, samples_per_epoch=None)
    trainer = partial(L.Trainer, accelerator="cpu", fast_dev_run=True, enable_progress_bar=False)
    run = train(data=data, folder=tmp_path / "run", trainer=trainer, budget_seconds=2.0)
    assert run.finished() is None
    assert not (tmp_path / "run" / "budget.json").exists()


def test_a_trial_leaves_the_checkpoint_of_a_run_as_it_is(
    train: Callable[..., Run], tmp_path: Path
) -> None:
    trainer = partial(L.Trainer, accelerator="cpu", fast_dev_run=True, enable_progress_bar=False)
    last = tmp_path / "unfinished" / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    last.write_bytes(b"of a training that goes on")
    for folder in (tmp_path / "unfinished", tmp_path / "new"):
        train(folder=folder, trainer=trainer)
    assert last.read_bytes() == b"of a training that goes on"
    assert not list((tmp_path / "new").rglob("*.ckpt"))


class Spoilt(Mine):
    """A network whose image is not finite from some call on."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def forward(self, spikes: Tensor) -> Reconstruction:
        self.count += 1
        factor = math.inf if self.count > 12 else 1.0
        return Reconstruction(super().forward(spikes).image * factor)


def test_the_step_at_which_a_budgeted_run_ended_is_run_again(
    train: Callable[..., Run], reds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count(step=1.0)
    monkeypatch.setattr(budgets, "CLOCKS", {"wall": ticks.__next__})
    data = data_of(reds, samples_per_epoch=None)
    with pytest.raises(NonFiniteError):
        train(Spoilt(), data=data, folder=tmp_path, budget_seconds=20.0)
    (batches,) = json.loads((tmp_path / "nonfinite.json").read_text())["batches"]
    loss = Loss(l1=L1())
    again = replay(Mine(), loss, data_of(reds, samples_per_epoch=None), tmp_path)
    assert [one.keys for one in again] == batches["keys"]
    other = data_of(reds, samples_per_epoch=None, batch_size=1)
    with pytest.raises(ConfigError, match="the data are not those of"):
        list(replay(Mine(), loss, other, tmp_path))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"budget_seconds": 0}, "budget_seconds must be above 0"),
        ({"budget_seconds": 1, "budget_clock": "processor", "workers": 2}, "num_workers=2"),
    ],
)
def test_a_budget_that_cannot_be_counted_is_refused(
    changes: dict[str, Any], told: str, train: Callable[..., Run], reds: Path, tmp_path: Path
) -> None:
    data = data_of(reds, samples_per_epoch=None, num_workers=changes.pop("workers", 0))
    with pytest.raises(ConfigError, match=told):
        train(data=data, folder=tmp_path, **changes)


def test_the_same_call_is_skipped_a_longer_one_continues_another_is_refused(
    train: Callable[..., Run], reds: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = Mine()
    run = train(network)
    assert run.best_score is not None
    assert run.monitor == "val/psnr"
    assert repr(run).startswith(f"Run('{run.folder}': val/psnr")
    assert run.history["train/loss"].dropna().size == 2
    assert run.history["val/psnr"].max() == pytest.approx(run.best_score)
    written = run.checkpoint.stat().st_mtime_ns
    with caplog.at_level("INFO"):
        fresh = Mine()
        train(fresh)  # as in a new interpreter
        train(network)  # as where a cell is run again: it holds the weights of this very run
    assert caplog.text.count("finished before, skipped") == 2
    assert run.checkpoint.stat().st_mtime_ns == written
    for one, other in zip(fresh.parameters(), network.parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(ConfigError, match=r"another run: model\.width=4, now 8\."):
        train(Mine(width=8))
    with pytest.raises(ConfigError, match=r"loss\.l1\.weight=1\.0, now 2\.0"):
        train(loss=Loss(l1=L1(weight=2.0)))
    with pytest.raises(ConfigError, match=r"model\.body"):
        train(Mine(body=nn.Sequential(nn.Conv2d(4, 4, 1), nn.LeakyReLU(0.2))))
    with pytest.raises(ConfigError, match=r"optimizer\.lr=0\.0001, now 0\.01"):
        train(optimizer=partial(torch.optim.Adam, lr=1e-2, betas=[0.9, 0.999], weight_decay=0.0))
    with pytest.raises(ConfigError, match="weights at the start=None, now"):
        train(restored(Mine()))
    longer = train(network, max_epochs=2)
    assert longer.history["train/loss"].dropna().size == 4
    record = evaluate(network, data_of(reds).sets["reds"], efficiency=None)
    assert (record.weights.origin, record.weights.source) == ("run", "mine")
    assert record.training["steps"] == 4


def restored(network: Mine) -> Mine:
    network.load_state_dict(Mine().state_dict())
    return network


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": lambda p: torch.optim.SGD(p, lr=1e-3)}, r"optimizer: a lambda, .*partial"),
        (
            {"optimizer": torch.optim.SGD([torch.zeros(1)])},
            "optimizer must be text or a ",
        ),
        ({"network": nn.Identity()}, r"network must be a Network, found an Ident"),
        ({"seed": -1}, "seed must be from 0 to 4294967295, found -1"),
        ({"loss": L1()}, r"loss must be text or a Loss, found an L1: .*Loss\(l1=L1\("),
        ({"loss": nn.L1Loss()}, r"loss must be text or a Loss, found an L1Loss"),
        ({"max_epochs": 2.5}, r"max_epochs must be a whole number or None, found 2\.5"),
        ({"max_epochs": "2"}, "max_epochs must be a whole number or None, found the text '2'"),
        ({"data": "reds"}, "data must be a SpikeDataModule, found the text 'reds'"),
        ({"validation": ["lpip"]}, r"validation names lpip, .*expected some of psnr, ssim, lpips"),
        (
            {"monitor": ("val/ssim", "max")},
            r"val/ssim is not a score of validation: .*val/psnr",
        ),
        ({"trainer": L.Trainer(logger=False)}, "max_epochs=1 must be the trainer's own"),
    ],
)
def test_an_argument_that_cannot_work_is_named_and_leaves_no_folder(
    changes: dict[str, Any], message: str, train: Callable[..., Run], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        train(**{"folder": tmp_path / "run", **changes})
    assert not list(tmp_path.rglob("*.*"))


def test_a_folder_that_is_a_file_is_named(train: Callable[..., Run], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ConfigError, match=r"folder must be .*file is a file: name another"):
            train(folder=folder)


class Broken(Mine):
    """Fails in a line of its own."""

    def forward(self, spikes: Tensor) -> Reconstruction:
        return Reconstruction(self.last(spikes))


class Bare(Mine):
    """Returns the image alone."""

    def forward(self, spikes: Tensor) -> Reconstruction:
        return super().forward(spikes).image  # type: ignore[return-value]


def test_rehearsal_names_the_line_of_a_network_that_fails() -> None:
    line = inspect.getsourcelines(Broken.forward)[1] + 1
    with pytest.raises(ConfigError, match=r"Broken fails on spikes \(1, 11, 32, 32\), in forward "):
        rehearse(Broken(), Loss(l1=L1()), (32, 32))
    with pytest.raises(ConfigError, match=rf"test_fitting\.py, line {line}\): RuntimeError: Given"):
        rehearse(Broken(), Loss(l1=L1()), (64, 64))
    with pytest.raises(
        ConfigError, match=r"Bare\.forward must return Reconstruction.*Tensor \(2, 1"
    ):
        rehearse(Bare(), Loss(l1=L1()), (32, 32), samples=4)


def test_rehearsal_leaves_buffers_and_random_numbers_alone() -> None:
    network = Mine()
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    rehearse(network, Loss(l1=L1()), (48, 48), samples=2)
    assert torch.equal(torch.rand(3), expected)
    for name, buffer in network.named_buffers():
        assert torch.equal(buffer, before[name])


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # Lightning's own
@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
def test_a_trainer_of_ones_own_fits_validates_and_tests(reds: Path, tmp_path: Path) -> None:
    module = ReconstructionModule(
        Mine(), loss=Loss(l1=L1()), protocol=named_protocol("corrected", ["psnr"])
    )
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        default_root_dir=tmp_path,
        logger=False,
        enable_progress_bar=False,
    )
    data = data_of(reds)
    trainer.fit(module, data)
    (validated,) = trainer.validate(module, data, verbose=False)
    (tested,) = trainer.test(module, data, verbose=False)
    assert validated["val/psnr"] == pytest.approx(
        tested["test/psnr"]
    )  # REDS has one split for both
    (record,) = evaluate(module.network, data, efficiency=None)
    assert record.mean("psnr") == pytest.approx(tested["test/psnr"], rel=1e-6)
    assert record.weights.origin == "memory"


def test_standard_parts_are_those_of_the_configuration(tmp_path: Path) -> None:
    defaults = load_config_file("train")
    parameters = inspect.signature(fit).parameters
    for group in ("loss", "optimizer", "scheduler", "protocol"):
        assert parameters[group].default == defaults[group]
    made = {type(one).__name__ for one in standard_callbacks(tmp_path, Monitor("val/psnr", "max"))}
    assert made == set(targets("callbacks"))
    assert {type(one).__name__ for one in standard_loggers(tmp_path)} == set(
        targets("logger", "csv")
    )
    stated = load_config_file("evaluate")["efficiency"]
    assert {
        key: list(map(list, v)) if key == "latency_sizes" else v for key, v in COST.items()
    } == (stated)


@functools.cache
def load_config_file(verb: str) -> dict[str, Any]:
    import yaml

    from spikerec.configs import config_dir

    content = yaml.safe_load((config_dir() / f"{verb}.yaml").read_text(encoding="utf-8"))
    chosen = {
        k: v for part in content["defaults"] if isinstance(part, dict) for k, v in part.items()
    }
    return {**content, **chosen}


def targets(group: str, name: str = "default") -> list[str]:
    import yaml

    from spikerec.configs import config_dir

    content = yaml.safe_load((config_dir() / group / f"{name}.yaml").read_text(encoding="utf-8"))
    return [part["_target_"].rpartition(".")[2] for part in content.values()]


def modes_of(network: nn.Module) -> dict[str, bool]:
    return {name: part.training for name, part in network.named_modules()}


def test_each_part_has_its_own_mode_and_layout_again_after_a_fit(
    train: Callable[..., Run], reds: Path, tmp_path: Path
) -> None:
    network = Mine(body=nn.Sequential(nn.Conv2d(4, 4, 1), nn.Dropout()))
    network.norm.eval()  # frozen by its owner
    before = modes_of(network)
    strides = [one.stride() for one in network.parameters()]
    train(network, folder=tmp_path / "one")
    assert modes_of(network) == before
    assert [one.stride() for one in network.parameters()] == strides
    network.eval()
    with pytest.raises(ConfigError, match="another run"):
        train(network, folder=tmp_path / "one", loss=Loss(l1=L1(weight=2.0)))
    assert not any(modes_of(network).values())
    evaluate(network.train(), data_of(reds), efficiency={"latency_sizes": [[16, 16]]})
    assert all(modes_of(network).values())


class ModeNoted(Mine):
    """Notes in which mode it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.modes: list[bool] = []

    def forward(self, spikes: Tensor) -> Reconstruction:
        self.modes.append(self.training)
        return super().forward(spikes)


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # Lightning's own
@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
def test_a_trainer_of_ones_own_trains_a_loaded_network_in_training_mode(reds: Path) -> None:
    network = ModeNoted().eval()
    trainer = L.Trainer(
        **{"max_steps": 1, "limit_val_batches": 0, "accelerator": "cpu", "logger": False},
        **{"enable_progress_bar": False, "enable_checkpointing": False},
    )
    trainer.fit(ReconstructionModule(network, loss=Loss(l1=L1())), data_of(reds))
    assert network.modes == [True]


def test_arrays_and_videos_are_reconstructed_in_eval_mode() -> None:
    network = ModeNoted()
    spikes = torch.randint(2, (15, 8, 8)).numpy()
    network.reconstruct(spikes[:11], 0.5)
    assert network.modes == [False]
    means = network.norm.running_mean
    assert means is not None
    before = means.clone()
    video = spikerec.reconstruct(spikes, network, stride=2)
    assert len(list(video)) == len(video)
    assert network.training
    assert torch.equal(means, before)


def test_a_fit_prints_nothing_of_lightning(
    reds: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    fit(
        *(Mine(), data_of(reds)),
        **{"loss": Loss(l1=L1()), "max_epochs": 1, "folder": tmp_path / "quiet"},
        validation=["psnr"],
    )
    evaluate(Mine(), data_of(reds), efficiency=None)
    printed = "".join(capfd.readouterr())
    assert not printed
    assert not recwarn.list


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"lr": 1e38}, "the optimizer's lr is 1e\\+38, beyond what a step can hold, at step 0"),
        ({"eps": 1e300}, "the optimizer's eps is 1e\\+300"),
        ({"lr": 1e30}, "the loss of step 1 is (nan|inf)"),
    ],
)
def test_numbers_too_large_for_a_step_end_before_it(
    setting: dict[str, float], message: str, train: Callable[..., Run], tmp_path: Path
) -> None:
    network, folder = Mine(), tmp_path / "run"
    drawn = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(NonFiniteError, match=message):
        train(network, folder=folder, optimizer=partial(torch.optim.Adam, **setting), max_epochs=9)
    stopped = json.loads((folder / "nonfinite.json").read_text())
    assert len(stopped["batches"][0]["keys"][0]) == 2
    assert not (folder / "finished.json").exists()
    saved = TorchCheckpointIO().load_checkpoint(folder / "checkpoints/nonfinite.ckpt")
    state = {name: value for name, value in saved["state_dict"].items() if "running" not in name}
    assert all(value.isfinite().all() for value in state.values())
    if stopped["step"] == 0:
        assert all(
            torch.equal(state[f"network.{n}"], v) for n, v in drawn.items() if "norm" not in n
        )


class Blinking(Mine):
    """A network whose unit at the end is dead for all but some of the batches."""

    def __init__(self, period: int | None) -> None:
        super().__init__()
        self.period = period
        self.count = 0

    def forward(self, spikes: Tensor) -> Reconstruction:
        self.count += self.training
        lives = self.period is not None and self.count % self.period == 0
        return Reconstruction(torch.relu(super().forward(spikes).image + (10 if lives else -1e3)))


def test_a_gradient_that_stays_zero_ends_the_training(
    train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finite, "STALLED_STEPS", 3)
    with pytest.raises(StalledError, match=r"0 in 3 steps in a row, the last of them step 2: "):
        train(Blinking(period=None), folder=tmp_path / "dead", max_epochs=9)
    assert not (tmp_path / "dead" / "finished.json").exists()
    train(Blinking(period=3), folder=tmp_path / "alive", max_epochs=9)
    assert (tmp_path / "alive" / "finished.json").exists()


def test_a_rate_that_is_no_number_is_named_before_data_are_made(
    train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SpikeDataModule, "prepare_data", lambda _self: pytest.fail("data are made"))
    with pytest.raises(ConfigError, match=r"lr must be a number, found '\.inf'"):
        train(folder=tmp_path / "run", optimizer=partial(torch.optim.Adam, lr=".inf"))


def test_a_network_changed_by_hand_is_another_run(
    train: Callable[..., Run], tmp_path: Path
) -> None:
    folder = tmp_path / "own"
    train(Mine(), folder=folder)
    train(Mine(), folder=folder)
    frozen = Mine()
    frozen.first.weight.requires_grad_(False)
    set_later = Mine()
    set_later.gain = 3.0  # type: ignore[assignment]
    for changed, told in (
        (frozen, "parameters that are not trained"),
        (set_later, "attributes of the network"),
    ):
        before = [one.clone() for one in changed.parameters()]
        with pytest.raises(ConfigError, match=told):
            train(changed, folder=folder)
        assert all(map(torch.equal, before, changed.parameters()))

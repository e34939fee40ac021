from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from spikerec.training.curves import read_rows
from tests.fakes import fake_reds
from tests.training.command import call, start, words
from tests.training.wandb_files import read_runs


@pytest.fixture(scope="module")
def reds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reds")
    fake_reds(root)
    return root


def checkpoint(run: Path, name: str = "last") -> dict[str, Any]:
    path = run / "checkpoints" / f"{name}.ckpt"
    state: dict[str, Any] = torch.load(path, weights_only=True)  # noqa: TID251 (written by us)
    return state


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every tensor and plain value of a checkpoint, by its place."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, f"{name}/{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from leaves(item, f"{name}/{index}")
    else:
        yield name, value


#: Moments at which a training is killed; its result must not depend on them.
EXACT = (
    "state_dict",
    "current_model_state",
    "averaging_state",
    "optimizer_states",
    "lr_schedulers",
    "global_step",
    "epoch",
)


def assert_same_end(whole: Path, continued: Path) -> None:
    ends = [checkpoint(run) for run in (whole, continued)]
    for part in EXACT:
        expected, found = (dict(leaves(end.get(part, {}))) for end in ends)
        assert expected.keys() == found.keys(), part
        for name, value in expected.items():
            same = (
                torch.equal(value, found[name]) if torch.is_tensor(value) else value == found[name]
            )
            assert same, f"{part}{name}"
    reports = [json.loads((run / "finished.json").read_text()) for run in (whole, continued)]
    for figure in ("best", "steps", "epochs"):
        assert reports[0][figure] == reports[1][figure]
    assert curves(whole) == curves(continued)
    for run in (whole, continued):
        rows = read_rows(run / "metrics.csv").values()
        seconds = [float(row["time/training"]) for row in rows if "val/psnr" in row]
        assert seconds == sorted(seconds)
        assert seconds[0] > 0
    assert torch.equal(
        next(iter(checkpoint(whole, "best")["state_dict"].values())),
        next(iter(checkpoint(continued, "best")["state_dict"].values())),
    )


@pytest.mark.slow
def test_random_generators_are_continued(
    reds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = (words("train", reds, tmp_path / name, *OPTIONS, model="etnet") for name in "ab")
    call(monkeypatch, a)
    with pytest.raises(SystemExit):
        call(monkeypatch, [*b, interruption("SIGTERM", "on_train_batch_start", 8)])
    call(monkeypatch, b)
    assert_same_end(tmp_path / "a/train/run", tmp_path / "b/train/run")


def curves(run: Path) -> dict[int, dict[str, str]]:
    """Log of a run without its measurements of time."""
    rows = read_rows(run / "metrics.csv")
    return {
        step: {name: value for name, value in row.items() if not name.startswith("time/")}
        for step, row in rows.items()
    }


#: Averaged weights, a schedule by steps, and gradients of two batches: all must be continued.
OPTIONS = (
    "name=run",
    "callbacks=[default,ema]",
    "callbacks.ema.decay=0.9",
    "scheduler=cosine",
    "data.samples_per_epoch=24",
    "trainer.accumulate_grad_batches=2",
    "callbacks.last.every_n_steps=2",
)


def interruption(signum: str, hook: str, step: int) -> str:
    target = "_target_:tests.training.interruptions.SendSignal"
    # In the place of a callback that is no part of a run's identity.
    return f"callbacks.progress={{{target},signum:{signum},hook:{hook},step:{step}}}"


@pytest.fixture(scope="module")
def whole(reds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 18 steps in 3 epochs that nothing interrupts."""
    outputs = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        call(patch, words("train", reds, outputs, *OPTIONS))
    return outputs / "train/run"


def assert_exact_after_kill(
    hook: str, step: int, whole: Path, reds: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = words("train", reds, outputs, *OPTIONS)
    assert start([*command, interruption("SIGKILL", hook, step)]).returncode == -9
    run = outputs / "train/run"
    assert not (run / "finished.json").exists()
    call(monkeypatch, command)
    assert_same_end(whole, run)


def test_killed_run_ends_as_one_never_killed(
    whole: Path, reds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_exact_after_kill("on_train_batch_end", 9, whole, reds, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hook", "step"),
    [
        ("on_train_batch_end", 1),  # before the first checkpoint
        ("on_before_backward", 4),  # between the batches of a step
        ("on_train_batch_end", 6),  # the last step of an epoch
        ("on_validation_batch_end", 12),
        ("on_validation_end", 6),  # the best is written, the last is not
        ("on_save_checkpoint", 10),  # while writing
        ("on_train_epoch_start", 12),
        ("on_train_end", 18),  # all done, but not said so
    ],
)
def test_killed_anywhere_ends_the_same(
    hook: str,
    step: int,
    whole: Path,
    reds: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert_exact_after_kill(hook, step, whole, reds, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("signum", "hook", "step", "written"),
    [
        ("SIGTERM", "on_train_batch_start", 8, 9),
        ("SIGINT", "on_train_batch_start", 8, 9),
        ("SIGUSR1", "on_validation_batch_start", 12, 10),
    ],
)
def test_signal_writes_a_checkpoint_first(
    signum: str,
    hook: str,
    step: int,
    written: int,
    whole: Path,
    reds: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = words("train", reds, tmp_path, *OPTIONS)
    with pytest.raises(SystemExit) as ended:
        call(monkeypatch, [*command, interruption(signum, hook, step)])
    assert ended.value.code == 128 + signal.Signals[signum]
    run = tmp_path / "train/run"
    assert checkpoint(run)["global_step"] == written
    call(monkeypatch, command)
    assert_same_end(whole, run)


@pytest.mark.slow
def test_two_processes_learn_as_one_of_twice_the_batch(
    reds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without batch norm, whose statistics are each process's. Under -m, where each job must end
    # with its processes.
    one, two = tmp_path / "one", tmp_path / "two"
    common = ("seed=0,1", "data.samples_per_epoch=24", "trainer.max_epochs=2")
    common += ("name=seed${seed}",)
    _, *alone = words("train", reds, one, *common, "data.batch_size=4", model="wgse")
    call(monkeypatch, ["train", "-m", *alone])
    _, *shared = words("train", reds, two, *common, "trainer=ddp_cpu", model="wgse")
    ended = start(["train", "-m", *shared])
    assert ended.returncode == 0, ended.stderr
    for seed in (0, 1):
        expected, found = (curves(outputs / f"train/seed{seed}") for outputs in (one, two))
        assert expected.keys() == found.keys()
        for step, row in expected.items():
            for name, value in row.items():
                assert float(found[step][name]) == pytest.approx(float(value), rel=1e-4), name
    assert sorted(path.name for path in (two / "train").iterdir()) == ["seed0", "seed1"]
    assert {path.name for path in two.rglob("*.log")} == {"train.log"}
    log = (two / "train/seed1/train.log").read_text(encoding="utf-8")
    assert log.count("effective batch 4 = 2 processes × 2 samples × 1 accumulated") == 1
    assert json.loads((two / "train/seed1/finished.json").read_text())["processes"] == 2


@pytest.mark.slow
@pytest.mark.parametrize(("hook", "step"), [("on_train_batch_end", 5), ("on_validation_end", 3)])
def test_two_killed_processes_end_as_two_never_killed(
    hook: str, step: int, reds: Path, tmp_path: Path
) -> None:
    # Three epochs of three steps; both processes kill themselves at the same place.
    whole, killed = (
        words("train", reds, tmp_path / name, *OPTIONS, "trainer=ddp_cpu", model="wgse")
        for name in ("whole", "killed")
    )
    assert start(whole).returncode == 0
    assert start([*killed, interruption("SIGKILL", hook, step)]).returncode == -9
    run = tmp_path / "killed/train/run"
    assert not (run / "finished.json").exists()
    assert 0 < checkpoint(run)["global_step"] <= step
    assert start(killed).returncode == 0
    assert_same_end(tmp_path / "whole/train/run", run)
    assert json.loads((run / "finished.json").read_text())["processes"] == 2


def test_overfit_learns_one_batch_by_heart(
    reds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (
        "name=run",
        "debug=overfit",
        "data.samples_per_epoch=2",
        "trainer.max_epochs=60",
        "optimizer.lr=1e-2",
    )
    call(monkeypatch, words("train", reds, tmp_path, *options, model="wgse"))
    rows = curves(tmp_path / "train/run").values()
    losses = [float(row["train/loss"]) for row in rows if "train/loss" in row]
    assert len(losses) == 60
    assert losses[-1] < 0.5 * losses[0]


def test_profile_tells_where_the_time_goes(
    reds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(monkeypatch, words("train", reds, tmp_path, "name=run", "debug=profile"))
    [profile] = (tmp_path / "train/run").glob("*profile*.txt")
    assert "run_training_batch" in profile.read_text(encoding="utf-8")
    log = (tmp_path / "train/run/train.log").read_text(encoding="utf-8")
    assert re.search(r"epoch 0: .* s \(data \d+ %, forward \d+ %, backward \d+ %", log)


def test_one_batch_leaves_nothing_that_passes_for_a_run(
    reds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(monkeypatch, words("train", reds, tmp_path, "name=run", "debug=one_batch"))
    assert not (tmp_path / "train/run/finished.json").exists()


def test_early_stopping_clipping_and_half_precision_together(
    reds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (
        "name=run",
        "callbacks=[default,early_stopping]",
        "callbacks.early_stopping.patience=1",
        *("logger=[]", "callbacks.learning_rate=null"),
        "optimizer.lr=0",  # no step is better than another
        "trainer.precision=bf16-mixed",
        "trainer.gradient_clip_val=1.0",
        "trainer.deterministic=true",
    )
    call(monkeypatch, words("train", reds, tmp_path, *options))
    report = json.loads((tmp_path / "train/run/finished.json").read_text())
    assert report["epochs"] == 2


@pytest.mark.slow
def test_found_learning_rate_is_used_and_told(
    reds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("name=run", "find_lr=true", "data.samples_per_epoch=240", "trainer.max_epochs=1")
    call(monkeypatch, words("train", reds, tmp_path, *options, model="wgse"))
    log = (tmp_path / "train/run/train.log").read_text(encoding="utf-8")
    told = re.search(r"learning rate (\S+), found", log)
    assert told
    last = curves(tmp_path / "train/run")[0]
    assert float(last["lr-Adam"]) == pytest.approx(float(told[1]), rel=1e-4)
    assert not list((tmp_path / "train/run").glob("*lr_find*"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of wandb's own code
def test_csv_tensorboard_and_wandb_have_the_same_curves_at_once(
    reds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("name=run", "logger=[tensorboard,wandb]", "trainer.max_epochs=1")
    call(monkeypatch, words("train", reds, tmp_path, *options))
    events = EventAccumulator(str(tmp_path / "train/run/tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"train/loss", "train/gradient_norm", "val/psnr", "best/val/psnr"} <= {*tags["scalars"]}
    assert any(name.startswith("val/images/") for name in tags["images"])
    [written] = read_runs(tmp_path / "train/run")
    rows = curves(tmp_path / "train/run").values()
    losses = [float(row["train/loss"]) for row in rows if "train/loss" in row]
    assert len(losses) == 6
    assert [event.value for event in events.Scalars("train/loss")] == pytest.approx(losses)
    assert written.values("train/loss") == pytest.approx(losses)


#: Windows through which a state is carried: the second is learnt from.
SEQUENCES = ("data.sequence=2", "data.warm_up=1", "detach_every=1")


@pytest.mark.slow
def test_two_processes_learn_sequences_as_one_of_twice_the_batch(
    reds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without dropout, whose draws are each process's.
    common = ("name=run", "trainer.max_epochs=1", "model.dropout=0.0", *SEQUENCES)
    one, two = tmp_path / "one", tmp_path / "two"
    call(monkeypatch, words("train", reds, one, *common, "data.batch_size=4", model="etnet"))
    ended = start(words("train", reds, two, *common, "trainer=ddp_cpu", model="etnet"))
    assert ended.returncode == 0, ended.stderr
    expected, found = (curves(outputs / "train/run") for outputs in (one, two))
    assert expected.keys() == found.keys()
    for step, row in expected.items():
        for name, value in row.items():
            assert float(found[step][name]) == pytest.approx(float(value), rel=1e-4), name


@pytest.mark.slow
def test_a_killed_training_over_sequences_ends_as_one_never_killed(
    reds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = (
        words("train", reds, tmp_path / name, *OPTIONS, *SEQUENCES) for name in ("whole", "killed")
    )
    call(monkeypatch, whole)
    assert start([*killed, interruption("SIGKILL", "on_train_batch_end", 9)]).returncode == -9
    call(monkeypatch, killed)
    assert_same_end(tmp_path / "whole/train/run", tmp_path / "killed/train/run")

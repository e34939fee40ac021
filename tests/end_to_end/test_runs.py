"""Runs whose command changes, whose numbers become infinite, or whose machine fails."""

from __future__ import annotations

import json
import logging
import re
import shlex
import statistics
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from spikerec.spikes.files import lock_folder
from spikerec.training.curves import read_rows
from tests.end_to_end.command import Command, Outcome
from tests.fakes import fake_image, fake_reds, fake_spikes, write_dat, write_image
from tests.training.command import words
from tests.training.interruptions import Watch

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),  # Lightning 2.6 with PyTorch 2.15
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
]

QUIET = ("callbacks.video=null", "callbacks.images=null", "trainer.max_epochs=1")


class Training:
    """`spikerec train` on a tiny network, in a folder of its own, under the name `run`."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.reds = command.folder / "reds"
        self.folder = command.folder / "outputs/train/run"
        fake_reds(self.reds)

    def words(self, *more: str) -> list[str]:
        return words("train", self.reds, Path("outputs"), *QUIET, "name=run", *more)

    def __call__(self, *more: str) -> Outcome:
        return self.command(*self.words(*more))

    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads((self.folder / "finished.json").read_text())
        return report


@pytest.fixture
def train(spikerec_command: Command) -> Training:
    return Training(spikerec_command)


def test_a_finished_run_is_skipped_refused_continued_or_replaced(train: Training) -> None:
    assert train().status == 0
    first = train.report()
    assert first["steps"] == 6
    assert "finished before, skipped" in train("data.num_workers=0", "logger=tensorboard").out
    refused = train("optimizer.lr=1e-30", "loss=mse")
    assert refused.status == 2
    assert "run holds another run: loss.terms.l1" in refused.err
    assert "optimizer.lr=0.0001, now 1e-30" in refused.err
    assert refused.err.count("\n") == 1
    assert train.report() == first
    assert train("trainer.max_epochs=2").status == 0
    assert train.report()["steps"] == 12  # not 18: it went on
    assert train("trainer.max_epochs=1").status == 2
    assert train("trainer.max_epochs=1", "overwrite=true").status == 0
    assert train.report()["best"] == first["best"]
    assert set(read_rows(train.folder / "metrics.csv")) == set(range(7))


def test_a_finished_run_without_its_checkpoint_is_no_finished_run(train: Training) -> None:
    assert train().status == 0
    best = train.folder / "checkpoints/best.ckpt"
    content = best.read_bytes()
    best.write_bytes(content[:-1] + b"?")
    refused = train()
    assert refused.status == 1
    assert refused.err.startswith("spikerec: WeightsError: ")
    assert "outputs/train/run/checkpoints/best.ckpt is not the file with which" in refused.err
    assert refused.err.count("\n") == 1
    best.unlink()
    assert "best.ckpt is gone" in train().err
    best.write_bytes(content)
    assert "finished before, skipped" in train().out


def test_the_commands_named_at_the_end_are_typed_as_they_stand(train: Training) -> None:
    folder = train.command.folder / "it's [1], a=b"
    train.reds.rename(folder)
    train.reds = folder
    done = train()
    assert done.status == 0, done.err
    (line,) = re.findall("score them: spikerec (.*)", done.out)
    scored = train.command(*shlex.split(line), "efficiency=null")
    assert scored.status == 0, scored.err
    (line,) = re.findall("use them: spikerec (.*)", done.out)
    verb, _, *rest = shlex.split(line)
    made = train.command(verb, str(next(folder.glob("test/spike/*.dat"))), "one.mp4", *rest)
    assert "height" in made.err  # a bare .dat; the network and its checkpoint were taken


def test_the_commands_named_carry_the_state_that_was_trained_with(train: Training) -> None:
    words = ("model=ssir", "model.channels=4", "data.sequence=2", "data.warm_up=1")
    done = train(*words)
    assert done.status == 0, done.err
    (line,) = re.findall("score them: spikerec (.*)", done.out)
    assert "data.carry=1" in shlex.split(line)
    scored = train.command(*shlex.split(line), "efficiency=null")
    assert scored.status == 0, scored.err
    (line,) = re.findall("use them: spikerec (.*)", done.out)
    assert shlex.split(line)[-1] == "carry=1"


def test_a_report_says_what_a_row_was_trained_on(train: Training) -> None:
    assert train().status == 0
    report = train.report()
    assert report["samples"] == 12
    assert list(report["data"]) == ["reds"]
    assert report["parameters"] > 1000
    assert report["macs"] > 1e6
    assert {"machine", "seconds", "device", "precision", "crop"} <= report.keys()


@pytest.mark.parametrize("wrong", ["monitor.name=x", "data.batch_size=64", "validation=[nothing]"])
def test_a_command_that_fails_leaves_nothing(wrong: str, train: Training) -> None:
    outcome = train(wrong)
    assert outcome.status == 2
    assert outcome.err.startswith("spikerec: ConfigError: ")
    assert not (train.command.folder / "outputs").exists()


def test_numbers_that_are_not_finite_end_a_run_before_they_spoil_it(train: Training) -> None:
    wrong = ("optimizer.lr=1e30",)
    ended = train(*wrong)
    assert ended.status == 1
    assert ended.err.startswith("spikerec: NonFiniteError: ")
    assert "training ended before that step, and the weights are unharmed. Samples: 20" in ended.err
    found = json.loads((train.folder / "nonfinite.json").read_text())
    assert found["step"] == 1  # the first step was sound, and spoiled the weights
    assert not (train.folder / "finished.json").exists()
    assert not (train.folder / "checkpoints/best.ckpt").exists()
    for path in train.folder.glob("*.json"):
        json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
    again = train(*wrong, "debug=replay")
    assert again.status == 0
    assert all(
        key in again.out for batch in found["batches"] for keys in batch["keys"] for key in keys
    )
    assert not (train.folder / "finished.json").exists()


def test_a_rate_beyond_what_a_step_can_hold_ends_a_run_before_its_first_step(
    train: Training,
) -> None:
    ended = train("optimizer.lr=1e38")
    assert ended.status == 1
    assert ended.err.count("\n") == 1
    assert "NonFiniteError: the optimizer's lr is 1e+38" in ended.err
    assert json.loads((train.folder / "nonfinite.json").read_text())["step"] == 0
    assert not (train.folder / "finished.json").exists()
    assert train("optimizer.lr=1e38", "debug=replay").status == 0


def test_one_job_is_shown_at_a_time(spikerec_command: Command) -> None:
    for flag, what in {"--cfg": "job", "--info": "all"}.items():
        outcome = spikerec_command("train", "-m", "seed=0,1", flag, what)
        assert outcome.status == 2
        assert outcome.err.startswith(f"spikerec: ConfigError: {flag} shows one job")


def test_a_run_without_such_a_step_has_nothing_to_replay(train: Training) -> None:
    outcome = train("debug=replay")
    assert outcome.status == 2
    assert "no step of that run was stopped" in outcome.err


def test_a_first_validation_clip_shorter_than_the_window_is_drawn(train: Training) -> None:
    test = train.reds / "test"
    for part in ("spike", "gt"):
        next((test / part).glob("200_*")).unlink()
    write_dat(test / "spike/200_part1_key_id11.dat", fake_spikes(21, 24, 40))
    write_image(test / "gt/200_part1_key_id11.png", fake_image(24, 40, 7))
    video = "callbacks.video={_target_:spikerec.training.callbacks.ValidationVideo,"
    video += "folder:'${run}/images',frames:3,stride:4,every_n_epochs:1}"
    outcome = train(video, "data.margin=0")
    assert outcome.status == 0, outcome.err
    assert (train.folder / "images/epoch_0000/video.gif").exists()


def test_damaged_files_fall_back_to_those_before_them(train: Training) -> None:
    assert train("callbacks.last.every_n_steps=4").status == 0
    first = train.report()
    for path in (train.folder / "finished.json", train.folder / "checkpoints/last.ckpt"):
        path.write_bytes(path.read_bytes()[:100])
    outcome = train("callbacks.last.every_n_steps=4")
    assert outcome.status == 0, outcome.err
    assert "finished.json is damaged: the run goes on from its last checkpoint" in outcome.out
    assert "last.ckpt is damaged" in outcome.out
    assert "going on from the checkpoint before it" in outcome.out
    measured = ("seconds", "sha256")  # a checkpoint states the seconds too
    assert {k: v for k, v in train.report().items() if k not in measured} == {
        k: v for k, v in first.items() if k not in measured
    }


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_best_score_is_forgotten_with_its_weights(train: Training, damage: str) -> None:
    assert train().status == 0
    best = train.folder / "checkpoints/best.ckpt"
    (train.folder / "finished.json").unlink()  # as of a run that was killed at its end
    if damage == "gone":
        best.unlink()
    else:
        best.write_bytes(best.read_bytes()[:100])
    outcome = train()
    assert outcome.status == 0, outcome.err
    assert "its score" in outcome.out
    assert "is forgotten" in outcome.out
    assert train.report()["best"] is None
    assert Path(train.report()["checkpoint"]).name == "last.ckpt"
    assert best.with_name("best.ckpt.damaged").exists() == (damage == "cut")


def test_a_damaged_identity_is_told(train: Training) -> None:
    assert train().status == 0
    (train.folder / "identity.json").write_bytes(b"{")
    outcome = train()
    assert outcome.status == 0, outcome.err
    assert "identity.json is damaged: this command is compared with config.yaml" in outcome.out
    assert "finished before" in outcome.out


def test_a_second_process_waits_for_the_first(train: Training) -> None:
    locked, release = threading.Event(), threading.Event()

    def first() -> None:
        with lock_folder(train.folder):
            locked.set()
            release.wait(60)

    class Heard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("waiting for"):
                release.set()

    heard, log = Heard(), logging.getLogger("spikerec.spikes.files")
    log.addHandler(heard)
    holder = threading.Thread(target=first)
    holder.start()
    locked.wait(60)
    outcome = train()
    holder.join()
    log.removeHandler(heard)
    assert release.is_set()
    assert outcome.status == 0
    assert outcome.out.index("waiting for") < outcome.out.index("effective batch")
    assert not (train.folder / ".lock").exists()


@pytest.mark.slow
def test_a_full_disk_is_told_in_one_line_and_the_run_continues(train: Training) -> None:
    program = str(Path(sys.executable).with_name("spikerec"))
    limited = ["bash", "-c", 'ulimit -f 24; exec "$0" "$@"', program, *train.words()]
    ended = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    [line] = [one for one in ended.stderr.splitlines() if one.startswith("spikerec: ")]
    assert "Traceback" not in ended.stderr
    assert "ulimit -f" in line
    assert "the same command" in line
    assert train().status == 0


def budgeted(*more: str) -> tuple[str, ...]:
    return ("budget={seconds:0.5}", "data.samples_per_epoch=null", "scheduler=cosine", *more)


def test_a_budget_finds_its_steps_once_and_the_schedule_follows(train: Training) -> None:
    epochs = "trainer.max_epochs=2"
    assert train(*budgeted(epochs)).status == 0
    report = train.report()
    found = report["budget"]
    assert found == json.loads((train.folder / "budget.json").read_text())
    assert report["steps"] == found["steps"] == 2 * found["steps_per_epoch"]
    assert report["samples"] == found["samples"] == 2 * found["steps"]
    expected = max(1, round(0.5 / 2 / found["seconds_per_step"]))
    assert found["steps_per_epoch"] == expected
    rates = [
        row["lr-Adam"]
        for row in read_rows(train.folder / "metrics.csv").values()
        if "lr-Adam" in row
    ]
    assert float(rates[-1]) == pytest.approx(1e-4 * 0.01, rel=0.05)  # the schedule's floor
    # As on a machine of another speed: what was found stays.
    (train.folder / "finished.json").unlink()
    assert train(*budgeted(epochs)).status == 0
    assert train.report()["budget"] == found
    assert (
        "holds another run: trainer.max_epochs=2, now 3"
        in train(*budgeted("trainer.max_epochs=3")).err
    )


def test_a_budget_that_is_also_counted_is_refused(train: Training) -> None:
    outcome = train("budget={seconds:0.5}")
    assert outcome.status == 2
    assert "data.samples_per_epoch=12 is found by measuring under a budget" in outcome.err


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_memory_files_and_steps_stay_flat_in_a_long_run(train: Training) -> None:
    # A short stand-in for hours: an epoch of 40 steps with its validation, pictures, logs and
    # checkpoints, 15 times.
    Watch.notes.clear()
    watch = "callbacks.progress={_target_:tests.training.interruptions.Watch,every_n_steps:40}"
    often = ("callbacks.last.every_n_steps=10", "logger.csv.flush_every=5")
    outcome = train(watch, *often, "trainer.max_epochs=15", "data.samples_per_epoch=80")
    assert outcome.status == 0, outcome.err
    memory, files, seconds = zip(*Watch.notes[4:], strict=True)  # caches are full by then
    assert len(memory) == 11
    assert max(memory) - memory[0] < 24 << 20
    assert max(files) <= files[0] + 2
    assert statistics.median(seconds[-4:]) < 1.5 * statistics.median(seconds[:4])

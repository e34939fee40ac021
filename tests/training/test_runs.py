"""A run's folder is never taken for another run's, and is read though it be damaged."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from spikerec.errors import ConfigError, WeightsError
from spikerec.training import Run
from spikerec.training.identity import Identity, settings_of

CONFIG = {"seed": 0, "optimizer": {"lr": 1e-3}, "trainer": {"max_epochs": 3}}
REPORT = {"best": 30.0, "monitor": "val/psnr", "mode": "max"}


def identity(**changes: object) -> Identity:
    return Identity({**settings_of(CONFIG), **changes})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run that was begun and has written its first checkpoint."""
    run = Run(tmp_path / "run")
    assert run.check(identity(), CONFIG) is None
    run.begin(identity(), CONFIG)
    write_checkpoint(run.last)
    return run


def write_checkpoint(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    torch.save({"state_dict": {"weight": torch.arange(4096.0)}}, path)


def test_the_same_run_is_skipped_once_it_is_finished(run: Run) -> None:
    assert run.check(identity(), CONFIG) is None
    run.finish(REPORT)
    report = run.check(identity(), CONFIG)
    assert report is not None
    assert report | REPORT == report
    assert len(report["sha256"]) == 64


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), r"best\.ckpt is gone, with which this run ended"),
        (lambda path: path.write_bytes(bytes(path.stat().st_size)), "was changed or replaced"),
        (lambda path: path.write_bytes(b""), "was changed or replaced"),
        (lambda path: torch.save({"state_dict": {}}, path), "was changed or replaced"),
    ],
)
def test_a_finished_run_whose_checkpoint_is_not_the_same_is_neither_skipped_nor_continued(
    spoil: Callable[[Path], object],
    message: str,
    run: Run,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write_checkpoint(run.best)
    run.finish({**REPORT, "checkpoint": str(run.best), "samples": 8})
    assert run.budget() == {**REPORT, "samples": 8, "recipe": identity().recipe}
    spoil(run.best)
    for asked in (identity(), identity(**{"trainer.max_epochs": 4})):
        with pytest.raises(WeightsError, match=message) as refused:
            run.check(asked, CONFIG)
        assert "(val/psnr 30.0) is that of other weights. Bring the file back" in str(refused.value)
    assert run.budget() == {}
    assert "with which this run ended" in caplog.text
    assert (run.folder / "finished.json").exists()


def test_a_report_of_an_earlier_version_states_no_digest(run: Run) -> None:
    write_checkpoint(run.best)
    old = {**REPORT, "checkpoint": "/elsewhere/checkpoints/best.ckpt"}
    (run.folder / "finished.json").write_text(json.dumps(old))
    assert run.check(identity(), CONFIG) == old
    run.best.unlink()
    with pytest.raises(WeightsError, match="is gone"):
        run.check(identity(), CONFIG)


@pytest.mark.parametrize("finished", [True, False])
def test_another_run_is_refused_with_what_differs_and_the_ways_out(
    finished: bool, run: Run
) -> None:
    if finished:
        run.finish(REPORT)
    other = identity(**{"optimizer.lr": 1e-30, "seed": 1})
    with pytest.raises(ConfigError) as refused:
        run.check(other, CONFIG)
    assert f"{run.folder} holds another run: seed=0, now 1; optimizer.lr=0.001, now 1e-30." in (
        str(refused.value)
    )
    assert "another `name`" in str(refused.value)
    assert "`overwrite`" in str(refused.value)


def test_a_longer_run_reopens_a_finished_one(run: Run) -> None:
    run.finish(REPORT)
    longer = identity(**{"trainer.max_epochs": 5})
    assert run.check(longer, CONFIG) is None
    assert run.best_score == REPORT["best"]  # a check writes nothing
    run.begin(longer, CONFIG)
    assert run.finished() is None
    assert run.check(longer, CONFIG) is None
    with pytest.raises(ConfigError, match=r"trainer\.max_epochs=5, now 3"):
        run.check(identity(), CONFIG)


def test_a_folder_of_an_earlier_version_is_compared_by_its_configuration(tmp_path: Path) -> None:
    run = Run(tmp_path)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**CONFIG, "gone": 1}))
    run.finish(REPORT)
    newer = {**CONFIG, "added": 2}
    assert run.check(Identity(settings_of(newer)), newer) == REPORT
    other = {**CONFIG, "optimizer": {"lr": 5.0}}
    with pytest.raises(ConfigError, match=r"optimizer\.lr=0\.001, now 5\.0"):
        run.check(Identity(settings_of(other)), other)


def test_a_configuration_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    run = Run(tmp_path)
    (tmp_path / "config.yaml").write_bytes(b"\x00\xff: [")
    run.finish(REPORT)
    with pytest.raises(ConfigError, match=r"config\.yaml cannot be read .*`overwrite`"):
        run.check(identity(), CONFIG)


@pytest.mark.parametrize(
    "content", ["", '{"best": 3', "[]", '{"best": -Infinity}', '{"best": NaN}']
)
def test_a_report_that_is_damaged_or_without_a_score_does_not_count(
    content: str, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    (run.folder / "finished.json").write_text(content)
    assert run.finished() is None
    with caplog.at_level(logging.WARNING):
        assert run.check(identity(), CONFIG) is None
    assert "finished.json is damaged: the run goes on from its last checkpoint" in caplog.text
    assert run.budget() == {}
    assert "how these weights were trained is not stated" in caplog.text


def test_no_report_holds_a_number_that_json_has_not(run: Run) -> None:
    with pytest.raises(ValueError, match="JSON"):
        run.finish({**REPORT, "best": float("-inf")})
    assert not (run.folder / "finished.json").exists()


def test_a_folder_without_a_checkpoint_is_anyones(run: Run) -> None:
    other = identity(seed=1)
    run.last.unlink()
    (run.folder / "metrics.csv").write_text("step,train/loss\n0,1.0\n")
    assert run.continuation() is None
    assert run.check(other, CONFIG) is None
    run.begin(other, CONFIG)
    assert not (run.folder / "metrics.csv").exists()
    write_checkpoint(run.last)
    with pytest.raises(ConfigError, match="seed=1, now 0"):
        run.check(identity(), CONFIG)


def test_the_checkpoint_before_a_damaged_one_is_used_and_named(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    for path in (run.best, run.previous, run.last):
        write_checkpoint(path)
    assert run.continuation() == run.last
    with run.last.open("rb+") as file:
        file.truncate(5000)
    with caplog.at_level(logging.WARNING):
        assert run.continuation() == run.previous
    assert f"{run.last} is damaged" in caplog.text
    assert f"going on from the checkpoint before it: {run.previous}" in caplog.text
    run.previous.write_bytes(b"")
    assert run.continuation() == run.best
    run.best.unlink()
    with pytest.raises(ConfigError, match=r"no checkpoint in .* can be read.*`overwrite`"):
        run.continuation()


def test_a_flipped_bit_of_an_unfinished_run_is_noticed(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    for path in (run.previous, run.last):
        write_checkpoint(path)
    content = bytearray(run.last.read_bytes())
    content[len(content) // 2] ^= 1  # within the weights, where PyTorch reads any bytes
    run.last.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert run.continuation() == run.previous
    assert f"{run.last} is damaged: its bytes are not those that were written" in caplog.text


def test_clearing_leaves_what_no_run_wrote(run: Run) -> None:
    run.finish(REPORT)
    (run.folder / "notes.txt").write_text("mine")
    run.clear()
    assert [path.name for path in run.folder.iterdir()] == ["notes.txt"]


def test_an_identity_is_what_it_was_when_read_back(run: Run) -> None:
    stored = json.loads((run.folder / "identity.json").read_text())
    assert stored["digest"] == identity().digest
    assert run.check(identity(), CONFIG) is None


@pytest.mark.parametrize("content", ["{}", "[]", '{"settings": 1, "facts": []}', "{"])
def test_an_identity_that_states_none_leaves_the_configuration(
    content: str, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    (run.folder / "identity.json").write_text(content)
    assert run.stored_fact("data") is None
    assert run.check(identity(), CONFIG) is None
    assert "identity.json is damaged: this command is compared with config.yaml" in caplog.text


def test_a_record_without_recipe_says_why(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run.finish(REPORT)
    assert "recipe" in run.budget()
    assert not caplog.text
    (run.folder / "identity.json").write_text("[]")
    assert "recipe" not in run.budget()
    assert run.budget()["best"] == REPORT["best"]
    assert "identity.json is damaged: the recipe and the learning curve" in caplog.text

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import spikerec
from spikerec.configs import build
from spikerec.data import REDS, Real
from spikerec.errors import ConfigError
from tests.fakes import fake_reds, fake_reds_base
from tests.training.command import call, start, words


@pytest.fixture
def reds(tmp_path: Path) -> Path:
    fake_reds(tmp_path / "reds", num_readouts=81)
    return tmp_path / "reds"


EVALUATION = (
    "efficiency=null",
    "save_images=-1",
    *(f"~protocol.metrics.{name}" for name in ("lpips", "niqe", "brisque")),
)


def records(outputs: Path) -> list[dict[str, Any]]:
    paths = (outputs / "results").rglob("*.json")
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(paths)]


@pytest.mark.slow
def test_two_processes_score_as_one(
    reds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Three samples on two processes: one is scored twice, and counts once.
    one, two = tmp_path / "one", tmp_path / "two"
    call(monkeypatch, words("evaluate", reds, one, *EVALUATION, model="tfp"))
    ended = start(words("evaluate", reds, two, *EVALUATION, "trainer=ddp_cpu", model="tfp"))
    assert ended.returncode == 0, ended.stderr
    [alone], [shared] = records(one), records(two)
    assert alone["samples"]["keys"] == shared["samples"]["keys"]
    for metric, values in alone["samples"][
        "values"
    ].items():  # sums of other threads round otherwise
        assert shared["samples"]["values"][metric] == pytest.approx(values, rel=1e-12)
    assert len(alone["samples"]["keys"]) == 3
    assert list(alone["samples"]["covariates"]) == ["firing_rate", "light_scale", "motion"]
    for facts in ("covariates", "conditions"):
        assert shared["samples"][facts] == alone["samples"][facts]
    for key, roles in shared["images"].items():
        assert roles.keys() == alone["images"][key].keys()
        for path in roles.values():
            assert (two / "results" / path).exists()
    assert [path.name for path in two.rglob("*.log")] == ["evaluate.log"]


@pytest.mark.parametrize("folder", ["spike", "input"])
def test_the_whole_of_reds_base_is_scored_and_says_what_was_mirrored(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_reds_base(tmp_path / "reds", folder=folder)
    for margin in (0, 30):
        outputs = tmp_path / str(margin)
        evaluation = words("evaluate", tmp_path / "reds", outputs, *EVALUATION, model="fast")
        call(monkeypatch, [*evaluation, f"data.margin={margin}"])
    [whole], [inside] = records(tmp_path / "0"), records(tmp_path / "30")
    short = [f"00{scene}_part1_key_id21/{readout}" for scene in (0, 1) for readout in KEY_READOUTS]
    assert whole["samples"]["keys"] == [*short, "200_part1_key_id151/150"]
    assert whole["samples"]["mirrored"] == [*MIRRORED, *MIRRORED, 0]
    assert len(whole["samples"]["values"]["psnr"]) == 11
    assert whole["dataset"]["margin"] == 0
    assert inside["samples"]["keys"] == ["200_part1_key_id151/150"]
    assert inside["samples"]["mirrored"] == [0]
    assert inside["dataset"]["margin"] == 30


#: True images of a stream of 41 readouts, and how many of a window of 61 lie outside of it.
KEY_READOUTS = (6, 13, 20, 27, 34)
MIRRORED = (24, 20, 20, 20, 24)


@pytest.mark.parametrize(
    ("name", "protocol", "reason"),
    [
        ("real", "equalised", "has no metric for images without a true one, and real has no"),
        ("reds", "video", "no clip of reds has two images"),
    ],
)
def test_data_that_a_protocol_cannot_judge_are_refused(
    reds: Path, name: str, protocol: str, reason: str
) -> None:
    network = build("model", "tfp")
    data = REDS(reds, height=24, width=40)
    if name == "real":
        data = Real(reds / "test" / "spike", height=24, width=40)
    with pytest.raises(ConfigError, match=reason):
        spikerec.evaluate(network, data, protocol, efficiency=None)


def test_a_trainer_that_stops_before_the_last_sample_is_refused(
    reds: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    evaluation = words("evaluate", reds, tmp_path / "out", *EVALUATION, model="tfp")
    with pytest.raises(SystemExit, match="2"):
        call(monkeypatch, [*evaluation, "trainer.limit_test_batches=1"])
    assert "ConfigError: trainer.limit_test_batches must be 1.0" in capsys.readouterr().err
    assert not records(tmp_path / "out")

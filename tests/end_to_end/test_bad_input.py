"""Wrong input: one line that names the file or key, status ≠ 0, and nothing overwritten."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from spikerec.cli import WRONG_ARGUMENTS
from spikerec.configs import build
from spikerec.weights import save_state
from tests.end_to_end.command import Command
from tests.fakes import fake_reds, fake_spikes, write_dat

#: Exit status of work that failed, whose arguments were sound.
FAILED = 1
GEOMETRY = ("geometry.height=250", "geometry.width=400")


def complaint(outcome: object, status: int = WRONG_ARGUMENTS) -> str:
    """The one line on standard error."""
    assert outcome.status == status  # type: ignore[attr-defined]
    lines = outcome.err.strip().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 1, lines
    assert "Traceback" not in lines[0]
    return lines[0]


def test_truncated_file(spikerec_command: Command) -> None:
    Path("car.dat").write_bytes(bytes(12_500 * 40 + 7))
    line = complaint(spikerec_command("reconstruct", "input=car.dat", "output=a.mp4", *GEOMETRY))
    assert re.search(
        r"car\.dat holds 500,007 bytes.*250 × 400 \(12,500 bytes each; 7 left over\)", line
    )


def test_file_without_geometry_names_the_sizes_that_fit(spikerec_command: Command) -> None:
    Path("car.dat").write_bytes(bytes(12_500 * 40))
    line = complaint(spikerec_command("reconstruct", "input=car.dat", "output=a.mp4"))
    assert "car.dat" in line
    assert "250 × 400" in line


def test_empty_file(spikerec_command: Command) -> None:
    Path("car.dat").touch()
    line = complaint(spikerec_command("reconstruct", "input=car.dat", "output=a.mp4", *GEOMETRY))
    assert "car.dat is empty" in line


def test_missing_file(spikerec_command: Command) -> None:
    line = complaint(spikerec_command("reconstruct", "input=no.dat", "output=a.mp4", *GEOMETRY))
    assert "no.dat does not exist" in line


def test_stream_too_short_to_be_mirrored(spikerec_command: Command) -> None:
    write_dat(Path("car.dat"), fake_spikes(2, 250, 400, rate=0.1))
    line = complaint(
        spikerec_command("reconstruct", "input=car.dat", "output=a.mp4", *GEOMETRY), FAILED
    )
    assert "car.dat holds 2 readouts" in line
    assert "at least 3" in line
    assert not Path("a.mp4").exists()


def test_output_that_exists_is_kept(spikerec_command: Command) -> None:
    np.save("car.npy", fake_spikes(70, 8, 8))
    Path("a.mp4").write_text("precious")
    line = complaint(spikerec_command("reconstruct", "input=car.npy", "output=a.mp4"), FAILED)
    assert "a.mp4" in line
    assert Path("a.mp4").read_text() == "precious"


def test_unknown_model_lists_those_there_are(spikerec_command: Command) -> None:
    line = complaint(spikerec_command("train", "model=stirr"))
    assert "model=stirr is unknown: did you mean stir" in line
    assert "spk2imgnet" in line


def test_misspelt_key_is_named(spikerec_command: Command) -> None:
    line = complaint(spikerec_command("train", "data.bach_size=4"))
    assert "bach_size" in line


def test_unknown_argument_of_a_class_is_named(spikerec_command: Command) -> None:
    line = complaint(spikerec_command("evaluate", "model=tfp", "+model.widow=3", "data=reds"))
    assert "widow" in line


def test_unknown_verb_lists_the_verbs(spikerec_command: Command) -> None:
    line = complaint(spikerec_command("trian"))
    assert "trian" in line
    assert "train" in line


def test_completion_for_nothing(spikerec_command: Command) -> None:
    line = complaint(spikerec_command("-sc", "instal=bash"))
    assert "-sc expects install=bash, uninstall=bash or query=bash, found instal=bash" in line


def test_checkpoint_of_another_network(spikerec_command: Command) -> None:
    save_state("wgse.safetensors", build("model", "wgse").state_dict(), {})
    words = ("model=ssir", "data=reds", "checkpoint=wgse.safetensors")
    line = complaint(spikerec_command("evaluate", *words), FAILED)
    assert "wgse.safetensors does not fit SSIR" in line


def test_network_without_weights_says_where_they_come_from(spikerec_command: Command) -> None:
    line = complaint(spikerec_command("evaluate", "model=stir", "data=reds"), FAILED)
    assert "STIR needs weights" in line
    assert "checkpoint=FILE" in line


def test_training_a_method_without_parameters(spikerec_command: Command) -> None:
    line = complaint(spikerec_command("train", "model=tfp"))
    assert "nothing to train" in line


def test_missing_data_set_says_how_to_get_it(spikerec_command: Command) -> None:
    line = complaint(spikerec_command("evaluate", "model=tfp", "data=reds"))
    assert "data.sets.reds.root" in line
    assert "spikerec data fetch reds-samples" in line


def test_term_that_needs_what_the_network_lacks(spikerec_command: Command) -> None:
    line = complaint(spikerec_command("train", "model=ssir", "loss=stir_no_perceptual"))
    assert "loss.terms.multiscale needs pyramid" in line


STIR = ("model=stir", "loss=stir_no_perceptual")
SPIKES_ALONE = ("model=ssir", "loss=self_supervised", "data=uhsr")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((*STIR, "loss.terms.multiscale.scales=[1,1,1,1,1]"), "names 5 levels below full size"),
        (("model=ssir", "loss=ms_ssim", "data.crop=[48,48]"), "enlarge the crop"),
        ((*SPIKES_ALONE, "loss.terms.firing_rate.windows=[61]"), "looks at 61 readouts"),
    ],
)
def test_term_that_does_not_fit_is_refused_before_training(
    words: tuple[str, ...], told: str, spikerec_command: Command
) -> None:
    line = complaint(spikerec_command("train", *words), FAILED)
    assert told in line
    assert not list(Path("outputs/train").glob("*/config.yaml"))


def test_metric_that_the_protocol_lacks(spikerec_command: Command) -> None:
    line = complaint(spikerec_command("train", "model=ssir", "validation=[psrn]"))
    assert (
        "validation names psrn, which protocol corrected does not have: expected some of psnr"
        in line
    )


def test_monitor_that_validation_does_not_give(spikerec_command: Command) -> None:
    line = complaint(spikerec_command("train", "model=ssir", "monitor.name=val/lpips"))
    assert "monitor val/lpips is not a score of validation" in line
    assert "val/psnr, val/ssim" in line


def test_monitor_of_the_wrong_way(spikerec_command: Command) -> None:
    line = complaint(spikerec_command("train", "model=ssir", "monitor.mode=min"))
    assert "monitor val/psnr must have the mode max, found min" in line


def test_crop_that_does_not_divide(spikerec_command: Command) -> None:
    line = complaint(spikerec_command("train", "model=stir", "data.crop=[40,40]"))
    assert "data.crop must be multiples of 16" in line


def test_training_folder_of_another_configuration_is_left_alone(spikerec_command: Command) -> None:
    fake_reds(Path("data/reds"))
    Path("outputs/train/mine/checkpoints").mkdir(parents=True)
    Path("outputs/train/mine/checkpoints/last.ckpt").touch()
    Path("outputs/train/mine/config.yaml").write_text("seed: 7\n")
    size = ("data.sets.reds.height=24", "data.sets.reds.width=40", "data.margin=20")
    words = (
        "name=mine",
        "model=ssir",
        "loss=l1",
        "data=reds",
        "data.crop=[16,16]",
        "data.batch_size=2",
        *size,
    )
    line = complaint(spikerec_command("train", *words))
    assert "outputs/train/mine holds another run: seed=7, now 0" in line
    assert Path("outputs/train/mine/config.yaml").read_text() == "seed: 7\n"


def test_spikerec_trace_shows_where_an_error_came_from(
    spikerec_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIKEREC_TRACE", "1")
    with pytest.raises(ValueError, match="nothing to train"):
        spikerec_command("train", "model=tfp")


@pytest.mark.parametrize(
    "words",
    [
        ("train", "model=stir", "model.light_scale=0.4"),
        ("train", "model=stir", "+model.light_scale=0.4"),
        ("train", "--config-dir", "conf", "experiment=older"),
        ("weights", "import", "stir.pth", "--model", "stir", "light_scale=0.4"),
    ],
    ids=["override", "addition", "experiment", "import"],
)
def test_a_renamed_key_is_named(spikerec_command: Command, words: tuple[str, ...]) -> None:
    older = Path("conf/experiment/older.yaml")
    older.parent.mkdir(parents=True)
    older.write_text("# @package _global_\nmodel:\n  light_scale: 0.4\n")
    torch.save({"weight": torch.zeros(1)}, "stir.pth")
    line = complaint(spikerec_command(*words))
    prefix = "" if words[0] == "weights" else "model."  # as it was typed
    assert f"{prefix}light_scale was renamed {prefix}output_scale" in line

"""`spikerec weights`: published checkpoints in, safetensors out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from spikerec.apps.weights import main
from spikerec.errors import ConfigError, WeightsError
from spikerec.weights import read_metadata
from tests.golden_cases import load_case


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, with an empty cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPIKEREC_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "300")
    return tmp_path


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    return {f"module.{name}": tensor for name, tensor in load_case("stir").state().items()}


def test_import_writes_a_file_that_list_then_shows(
    folder: Path, published: dict[str, Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(published, folder / "STIR.pth")
    main(["import", "STIR.pth", "--model", "stir", "output_scale=0.6"])
    metadata = read_metadata(folder / "weights" / "stir.safetensors")
    assert '"output_scale": 0.6' in metadata["arguments"]
    assert "checkpoint=weights/stir.safetensors" in capsys.readouterr().out
    main(["list"])
    listed = capsys.readouterr().out
    assert metadata["digest"][:12] in listed
    assert "STIR.pth" in listed


def test_output_is_replaced_only_when_asked(folder: Path, published: dict[str, Tensor]) -> None:
    torch.save(published, folder / "STIR.pth")
    (folder / "mine.safetensors").write_bytes(b"precious")
    words = ["import", "STIR.pth", "--model", "stir", "--output", "mine.safetensors"]
    with pytest.raises(WeightsError, match=r"mine\.safetensors exists already"):
        main(words)
    main([*words, "--overwrite"])
    assert read_metadata(folder / "mine.safetensors")["source"] == "STIR.pth"


def test_list_gives_the_command_for_what_is_missing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["list"])
    listed = capsys.readouterr().out
    assert "spikerec weights fetch NAME" in listed
    assert "stir/spikezoo" in listed
    assert str(folder / "cache") in listed


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("word", "message"),
    [("0.6", "'0.6' is no argument"), ("=3", "'=3' is no argument"), ("a=[1", "no YAML")],
)
def test_word_that_is_no_argument_is_named(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        main(["import", "STIR.pth", "--model", "stir", word])


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["list", "more"], "more is no option"),
        (["list", "--hel"], r"did you mean --help\?$"),
        (["import", "a.pth"], "required: --model"),
        (["import", "a.pth", "--model", "stirr"], "did you mean stir"),
        (["import", "a.pth", "--model", "stir", "--overwrit"], "did you mean --overwrite"),
        (["lst"], "did you mean list"),
    ],
)
def test_wrong_usage_says_how(words: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        main(words)


@pytest.mark.usefixtures("folder")
def test_list_and_a_fetch_that_fails_load_nothing_heavy() -> None:
    ask = (
        "import sys\nfrom spikerec.apps.weights import main\nmain(['list'])\n"
        "from spikerec.errors import SpikerecError\n"
        "try: main(['fetch', 'stir'])\n"
        "except SpikerecError as error: assert 'By hand' in str(error), error\n"
        "else: raise AssertionError\n"
        "assert not {'torch', 'lightning', 'scipy'} & set(sys.modules)"
    )
    environment = os.environ | {"SPIKEREC_MIRROR": "https://host.invalid/"}
    subprocess.run([sys.executable, "-c", ask], check=True, env=environment)


@pytest.mark.parametrize("verb", ["list", "fetch", "install", "import", "pack"])
def test_help_fits_80_columns(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80

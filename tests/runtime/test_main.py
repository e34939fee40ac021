from __future__ import annotations

import re
from pathlib import Path

import pytest

from spikerec.models.base import Network
from spikerec.runtime.main import main
from spikerec.spikes import SpikeStream

Pair = tuple[Network, Path]


def status(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["spikerec-run", *map(str, words)])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_it_writes_what_is_asked_for(
    small: Pair,
    stream: SpikeStream,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "a.mp4"
    assert status(monkeypatch, stream.path, small[1], output, "stride=50", "--gamma", "2.2") == 0
    told = capsys.readouterr().out
    assert told.startswith(f"4 images in {output}\nby Fast (window 9, weights ")
    assert "onnxruntime in float32; measured: white fires at" in told
    assert output.stat().st_size > 500
    assert status(monkeypatch, stream.path, small[1], output, "stride=50", "--gamma", "2.2") == 0
    assert capsys.readouterr().out.startswith("done before by the same settings: 4 images")
    picture = tmp_path / "a.png"
    assert status(monkeypatch, stream.path, small[1], picture, "at=[150]") == 0
    assert picture.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.mp4", "strid=4"], "strid=4 is no option: did you mean --stride"),
        (["a.mp4", "exposure=dark"], "exposure must be light_scale, auto or a number, found dark"),
        (["a.mp4", "mask_defects=maybe"], "mask_defects must be true or false, found maybe"),
        (["a.mp4", "at=900"], "at=900 is no readout of .*: expected 0 to 199"),
        (["a.mp4", "stride=2", "at=7"], "at names readouts: leave out stride"),
        (["a.xyz"], "expected .mp4, .webm, .gif, .png, .npy, .h5, .hdf5 or a folder"),
        (["a.png"], "is one picture: say which, at=READOUT"),
        (["a.mp4", "engine=openvivo"], "engine=openvivo is unknown: did you mean openvino"),
        ([], "the following arguments are required: output"),
    ],
)
def test_wrong_words_are_answered_in_one_line(
    small: Pair,
    stream: SpikeStream,
    words: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert status(monkeypatch, stream.path, small[1], *words) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.startswith("spikerec-run: ")
    assert line.count("spikerec") == 1 + line.count("spikerec-run --help")
    assert re.search(message, line), line

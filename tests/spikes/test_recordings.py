from __future__ import annotations

from pathlib import Path

import pytest

from spikerec.errors import ConfigError, DataError, DataNotFoundError
from spikerec.spikes.recordings import find_recordings, output_paths, placed


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def found(*names: str, folder: str | None = None, joins: bool = False) -> list[str]:
    return [str(path) for path in find_recordings(names, folder, joins=joins)]


def test_a_pattern_takes_streams_alone_in_order_of_their_numbers() -> None:
    made("rec/c_10.dat", "rec/c_2.DAT", "rec/c_2.yaml", "rec/._c_2.DAT", "rec/c_3.npy", "rec/a.txt")
    assert found("rec/*") == ["rec/c_2.DAT", "rec/c_3.npy", "rec/c_10.dat"]
    assert found("rec/c_[0-9].*") == ["rec/c_2.DAT", "rec/c_3.npy"]


def test_a_name_that_exists_is_no_pattern() -> None:
    made("car[1].dat", "car1.dat", "*.dat")
    assert found("car[1].dat", "*.dat") == ["car[1].dat", "*.dat"]


def test_each_recording_counts_once() -> None:
    made("a.dat", "b.dat")
    assert found("b.dat", "*.dat") == ["b.dat", "a.dat"]


def test_a_folder_tells_what_it_holds() -> None:
    made("parts/p_1.dat", "parts/p_2.dat", "parts.yaml")
    made("streams/a.dat", "streams/b.npy")
    made("stated/a.dat", "stated/b.dat", "stated/a.yaml")
    made("deep/mon/a.dat", "deep/tue/b.h5", "deep/.hidden/c.dat")
    assert found("parts") == ["parts"]
    assert found("streams") == ["streams/a.dat", "streams/b.npy"]
    assert found("stated") == ["stated/a.dat", "stated/b.dat"]
    assert found("deep") == ["deep/mon/a.dat", "deep/tue/b.h5"]


def test_a_folder_that_does_not_tell_is_asked_for() -> None:
    made("rec/a.dat", "rec/b.dat")
    with pytest.raises(DataError, match=r"rec holds 2 .dat files.*folder=parts or folder=record"):
        found("rec")
    assert found("rec", joins=True) == ["rec"]
    assert found("rec", folder="parts") == ["rec"]
    assert found("rec", folder="recordings") == ["rec/a.dat", "rec/b.dat"]
    with pytest.raises(ConfigError, match="folder must be parts or recordings, found all"):
        found("rec", folder="all")


@pytest.mark.parametrize("name", ["rec/*.dat", "empty"])
def test_nothing_is_said(name: str) -> None:
    Path("empty").mkdir()
    with pytest.raises(DataNotFoundError, match=r"rec/\*\.dat matches|empty holds no spike stream"):
        found(name)


def outputs(output: str, *recordings: str) -> list[str]:
    return [str(path) for path in output_paths([*map(Path, recordings)], output, ".mp4")]


def test_results_are_named_by_their_recordings() -> None:
    assert outputs("out", "r/a.dat", "r/b.x.npy") == ["out/a.mp4", "out/b.x.mp4"]
    assert outputs("v/{stem}.gif", "r/a.dat", "r/b.npy") == ["v/a.gif", "v/b.gif"]
    assert outputs("{folder}/{name}", "r/a.dat", "s/a.dat") == ["r/a.dat", "s/a.dat"]
    assert placed("{car}{stem}", Path("{name}.dat")) == "{car}{name}"


def test_names_that_are_alike_stay_apart() -> None:
    assert outputs("out", "mon/a.dat", "tue/a.dat") == ["out/mon/a.mp4", "out/tue/a.mp4"]
    assert outputs("out", "r/a.dat", "r/a.npy") == ["out/a.dat.mp4", "out/a.npy.mp4"]
    with pytest.raises(ConfigError, match=r"mon/a.dat and tue/a.dat the same name, v/a.gif"):
        outputs("v/{stem}.gif", "mon/a.dat", "tue/a.dat")


def test_one_file_for_several_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"car.mp4 is one file.*videos/\{stem\}.mp4"):
        outputs("car.mp4", "a.dat", "b.dat")

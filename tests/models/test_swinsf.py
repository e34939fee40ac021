from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from spikerec.configs import build
from spikerec.errors import ConfigError
from spikerec.models.swinsf import (
    MASKED,
    Block,
    SwinSF,
    _unwindowed,
    _windows,
    interchanged,
    relative_positions,
    shift_mask,
)
from spikerec.weights import load_published
from tests.golden_cases import GoldenCase, load_case

#: Choices of conf/model and their golden cases, with what the published networks never use.
CASES = {"swinsf": ("swinsf_250", 306_528), "swinsf_1000": ("swinsf_1000", 136_768)}


@pytest.fixture(scope="module", params=CASES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def case(name: str) -> GoldenCase:
    return load_case(CASES[name][0])


def random_spikes(*shape: int) -> Tensor:
    return (torch.rand(shape) < 0.3).float()


def small(**arguments: Any) -> SwinSF:
    return SwinSF(**{"channels": 8, "depth": 2} | arguments)


def without_dropping(network: SwinSF) -> SwinSF:
    """In training mode, where the sides are given, with every block kept."""
    for module in network.modules():
        if isinstance(module, Block):
            module.rate = 0.0
    return network.train()


def test_images_are_the_published_networks(name: str, case: GoldenCase) -> None:
    network = load_published(name, case.state())
    assert isinstance(network, SwinSF)
    with torch.no_grad():
        evaluated = network(case.spikes()).image
        image, extras = without_dropping(network)(case.spikes())
    assert (255 * evaluated - case.output("image")).abs().max() <= 1e-4
    assert torch.equal(image, evaluated)
    for side, found in zip(("left", "right"), extras["sides"], strict=True):
        assert (255 * found - case.output(side)).abs().max() <= 1e-4


def test_blocks_and_groups_are_the_published_networks(name: str, case: GoldenCase) -> None:
    network = load_published(name, case.state())
    group = network.groups[0]
    seen: dict[str, Tensor] = {}

    def watch(module: torch.nn.Module, key: str) -> None:
        module.register_forward_hook(lambda *_args: seen.update({key: _args[2]}))

    watch(group.blocks[0], "block0")
    watch(group.blocks[1], "block1")
    watch(group, "group0")
    with torch.no_grad():
        network(case.spikes())
    for key, tokens in seen.items():
        streams = tokens.permute(0, 3, 1, 2)[:, :4].chunk(3)
        for stream, found in zip(("left", "middle", "right"), streams, strict=True):
            expected = f"{key}_{stream}"
            tolerance = case.facts["outputs"][expected]["tolerance"]
            assert (found - case.output(expected)).abs().max() <= tolerance, expected


def test_published_sizes(name: str, case: GoldenCase) -> None:
    size = sum(p.numel() for p in build("model", name).parameters())
    assert size == case.facts["parameters"] - CASES[name][1]


def test_published_buffers_are_left_out(name: str, case: GoldenCase) -> None:
    block = "layers.0.residual_group.blocks.1."
    buffers = {
        f"{block}attn_mask": torch.zeros(1000, 25, 25),
        f"{block}attn.relative_position_index": torch.zeros(25, 25, dtype=torch.int64),
        f"{block}attn_mul.relative_position_index": torch.zeros(25, 25, dtype=torch.int64),
    }
    whole = load_published(name, {f"module.{k}": v for k, v in (case.state() | buffers).items()})
    assert whole.output_scale == 0.6


def test_windows_are_squares_row_by_row() -> None:
    x = torch.arange(2 * 4 * 6).view(2, 4, 6, 1)
    windows = _windows(x, 2)
    assert windows.shape == (12, 4, 1)
    assert windows[1, :, 0].tolist() == [2, 3, 8, 9]
    assert torch.equal(_unwindowed(windows, 2, 4, 6), x)


def test_relative_positions_count_from_the_far_corner() -> None:
    index = relative_positions(5).view(25, 25)
    assert index[0, 0] == index[24, 24] == 4 * 9 + 4
    assert index[24, 0] == 80  # query below and right of the key
    assert index[0, 24] == 0


def test_interchanged_tokens_follow_the_published_rule() -> None:
    x = torch.rand(2, 25, 8)
    out = interchanged(x)
    for token, channel in ((0, 0), (3, 5), (24, 7)):
        k = token * 8 + channel
        assert torch.equal(out[:, token, channel], x[:, k % 25, k // 25])


def test_masks_part_only_what_the_roll_brought_together() -> None:
    mask = shift_mask(15, 10, 5, torch.device("cpu"))
    assert mask.shape == (6, 25, 25)
    assert (mask[0] == 0).all()  # away from the last row and column of squares
    rows = mask[4].view(5, 5, 5, 5)[:, 0, :, 0]  # the last row of squares: 3 rows against 2
    expected = torch.zeros(5, 5)
    expected[:3, 3:] = expected[3:, :3] = MASKED
    assert torch.equal(rows, expected)


def test_any_size_is_reconstructed_and_sides_are_cropped_with_it() -> None:
    network = small().train()
    image, extras = network.reconstruct(random_spikes(2, 41, 13, 18), 0.5)
    assert image.shape == (2, 1, 13, 18)
    assert [side.shape for side in extras["sides"]] == [image.shape] * 2


def test_sides_are_scaled_as_the_image_is() -> None:
    network = without_dropping(small())
    spikes = random_spikes(1, 41, 10, 10)
    with torch.no_grad():
        (bright, brights), (dim, dims) = (network.reconstruct(spikes, a) for a in (0.25, 1.0))
    torch.testing.assert_close(bright, 4 * dim)
    torch.testing.assert_close(brights["sides"], tuple(4 * side for side in dims["sides"]))


def test_training_drops_blocks_of_single_samples() -> None:
    network = small(drop_path=0.9).train()
    spikes = random_spikes(1, 41, 10, 10).expand(8, -1, -1, -1)
    images = network(spikes).image
    assert any(not torch.allclose(images[0], image) for image in images[1:])
    with torch.no_grad():
        images = network.eval()(spikes).image
    torch.testing.assert_close(images[0], images[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"side_window": 42}, "side_window must be 1 to window=41, found 42"),
        ({"heads": 3}, "heads must divide channels=8, found 3"),
        ({"patch": 0}, "patch must be at least 1, found 0"),
        ({"depth": 0}, "depth must be at least 1, found 0"),
        ({"drop_path": 1.0}, r"drop_path must be in \[0, 1\), found 1.0"),
    ],
)
def test_an_argument_out_of_range_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small(**arguments)

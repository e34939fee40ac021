"""STIR: parity with the published network, and the laws that its ablations keep."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikerec.configs import build
from spikerec.errors import ConfigError
from spikerec.models.blocks import Blocks
from spikerec.models.stir import STIR, ResidualBlock, warp
from spikerec.weights import load_published
from tests.golden_cases import GoldenCase, load_case

ABLATIONS: list[dict[str, Any]] = [
    {"representation": "tfp"},
    {"representation": "learned"},
    {"attention": "one_sided"},
    {"attention": "none"},
    {"motion_fields": 0},
    {"motion_fields": 1},
    {"hidden_channels": 0},
    {"image_guidance": False},
    {"window": 41},
    {"channels": [16, 24, 32]},
    {"channels": [16, 24, 32, 64], "motion_fields": 2},
]


def spikes(window: int = 61, batch: int = 1, height: int = 16, width: int = 32) -> Tensor:
    return (torch.rand(batch, window, height, width) < 0.3).float()


@pytest.fixture(scope="module")
def case() -> GoldenCase:
    return load_case("stir")


@pytest.fixture
def published(case: GoldenCase) -> STIR:
    network = load_published("stir", case.state())
    assert isinstance(network, STIR)
    return network


def test_image_is_the_published_one(case: GoldenCase, published: STIR) -> None:
    with torch.no_grad():
        image = published(case.spikes()).image
    torch.testing.assert_close(image, case.output("image"), rtol=0, atol=1e-4)


def test_training_output_and_statistics_are_the_published_ones(
    case: GoldenCase, published: STIR
) -> None:
    published.train()
    with torch.no_grad():
        image, extras = published(case.spikes("train_input"))
    torch.testing.assert_close(image, case.output("train_image"), rtol=0, atol=1e-4)
    for level, found in enumerate(extras["pyramid"]):
        expected = case.output(f"train_pyramid_{level}")
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    for level, pair in enumerate(extras["flows"]):
        for found, side in zip(pair, ("earlier", "later"), strict=True):
            expected = case.output(f"train_flow_{side}_{level}")
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
    assert len(extras["pyramid"]) == 5
    assert len(extras["flows"]) == 4
    norm = published.embedding.learned.bn1
    for name in ("running_mean", "running_var"):
        expected = case.output(f"train_{name}_bn1")
        torch.testing.assert_close(getattr(norm, name), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, 5_107_960),
        ({"motion_fields": 1}, 4_944_776),
        ({"motion_fields": 2}, 5_014_448),
        ({"motion_fields": 4}, 5_225_312),
        ({"motion_fields": 5}, 5_366_504),
        ({"attention": "none"}, 4_966_946),
    ],
)
def test_parameters_are_as_many_as_published(arguments: dict[str, Any], expected: int) -> None:
    network = build("model", "stir", **arguments)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


@pytest.mark.parametrize("arguments", [{}, *ABLATIONS], ids=str)
def test_every_parameter_of_every_ablation_learns(arguments: dict[str, Any]) -> None:
    network = build("model", "stir", **arguments).train()
    result = network(spikes(network.window, batch=2))
    levels = len(arguments.get("channels", range(5)))
    assert result.image.shape == (2, 1, 16, 32)
    assert [tuple(image.shape[-2:]) for image in result.extras["pyramid"]] == [
        (16 >> level, 32 >> level) for level in range(levels)
    ]
    assert len(result.extras["flows"]) == (0 if network.decoders[0].up_flow is None else levels - 1)
    sum(image.sum() for image in result.extras["pyramid"]).backward()
    unused = [name for name, p in network.named_parameters() if p.grad is None]
    assert not unused


@pytest.mark.parametrize("representation", ["hybrid", "tfp", "learned"])
def test_representation_keeps_its_number_of_channels(representation: str) -> None:
    network = build("model", "stir", representation=representation)
    assert network.embedding(spikes(21)).shape == (1, 16, 16, 32)


def test_features_of_a_block_may_be_kept_and_joined_again(published: STIR) -> None:
    window = spikes(batch=2)
    with torch.no_grad():
        alone = [published.encode(block) for block in published.blocks.split(window)]
        streamed = published.join(alone).image
        whole = published(window).image
    torch.testing.assert_close(streamed, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("window", "blocks"),
    [
        (61, Blocks(21, 20, 3)),
        (41, Blocks(15, 13, 3)),
        (31, Blocks(11, 10, 3)),
        (7, Blocks(3, 2, 3)),
    ],
)
def test_blocks_cover_the_window_around_the_key_readout(window: int, blocks: Blocks) -> None:
    network = build("model", "stir", window=window)
    assert network.blocks == blocks
    assert (blocks.count - 1) * blocks.stride + blocks.length == window
    assert blocks.stride + blocks.length // 2 == network.key_readout


def test_blocks_beyond_the_centre_do_reach_the_image(published: STIR) -> None:
    window = spikes()
    changed = window.clone()
    changed[:, :20] = 1 - changed[:, :20]
    with torch.no_grad():
        assert not torch.equal(published(window).image, published(changed).image)


def test_image_scales_to_the_streams_light_scale(published: STIR) -> None:
    window = spikes()
    with torch.no_grad():
        at_training_scale = published.reconstruct(window, 0.4).image
        at_half_of_it = published.reconstruct(window, 0.2).image
    assert at_training_scale.max() <= 1
    torch.testing.assert_close(at_half_of_it, 2 * at_training_scale)


def test_zero_flow_leaves_features_as_they_are() -> None:
    features = torch.randn(2, 3, 5, 7)
    torch.testing.assert_close(warp(features, torch.zeros(2, 2, 5, 7)), features)


def test_whole_flow_moves_features_and_repeats_the_border() -> None:
    features = torch.randn(1, 3, 5, 7)
    flow = torch.zeros(1, 2, 5, 7)
    flow[:, 0], flow[:, 1] = 2, -1
    columns, rows = torch.arange(7).add(2).clamp(max=6), torch.arange(5).sub(1).clamp(min=0)
    warped = warp(features, flow)
    torch.testing.assert_close(warped, features[..., rows, :][..., columns])


def test_a_picture_of_one_pixel_has_no_extent_to_move_in() -> None:
    features = torch.randn(1, 3, 1, 1)
    torch.testing.assert_close(warp(features, torch.full((1, 2, 1, 1), 5.0)), features)


def test_half_flow_lies_between_neighbours_in_bfloat16_too() -> None:
    ramp = torch.arange(1280.0).expand(1, 1, 2, -1).bfloat16()
    flow = torch.zeros(1, 2, 2, 1280, dtype=torch.bfloat16)
    flow[:, 0] = 4
    found = warp(ramp, flow)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found[..., :1276], ramp[..., 4:])


def test_initialisation_is_the_one_that_acts_in_the_published_code() -> None:
    network = build("model", "stir")
    blocks = [module for module in network.modules() if isinstance(module, ResidualBlock)]
    assert len(blocks) == 9
    convs = [conv for block in blocks for conv in (block.conv1, block.conv2)]
    for conv in convs:
        fan = 9 * conv.in_channels
        torch.testing.assert_close(conv.weight.std().item(), fan**-0.5, rtol=0.1, atol=0)
    strided = [network.encoder.stem[0], *(stage[0] for stage in network.encoder.stages)]
    for conv in strided:
        fans = conv.weight[0, 0].numel() * (conv.in_channels + conv.out_channels)
        assert 0.95 * (6 / fans) ** 0.5 < conv.weight.abs().max() <= (6 / fans) ** 0.5
    assert not any(conv.bias.any() for conv in convs + strided)
    slopes = [module.weight for module in network.modules() if isinstance(module, nn.PReLU)]
    assert all(slope.eq(0.25).all() for slope in slopes)


def test_autocast_gives_a_float32_image_near_the_exact_one(
    case: GoldenCase, published: STIR
) -> None:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        image = published(case.spikes()).image
    assert image.dtype == torch.float32
    assert (image - case.output("image")).abs().mean() < 0.02


def test_channels_last_gives_the_same_image(case: GoldenCase, published: STIR) -> None:
    published.to(memory_format=torch.channels_last)
    with torch.no_grad():
        image = published(case.spikes().to(memory_format=torch.channels_last)).image
    torch.testing.assert_close(image, case.output("image"), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_export_serves_any_size(case: GoldenCase, published: STIR) -> None:
    size = {2: 16 * torch.export.Dim("rows", max=64), 3: 16 * torch.export.Dim("columns", max=64)}
    program = torch.export.export(published, (spikes(height=32),), dynamic_shapes=(size,))
    image = program.module()(case.spikes()).image
    torch.testing.assert_close(image, case.output("image"), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_compiled_network_gives_the_same_image_in_one_graph(
    case: GoldenCase, published: STIR
) -> None:
    compiled = torch.compile(published, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        image = compiled(case.spikes()).image
    torch.testing.assert_close(image, case.output("image"), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": 60}, "window must be odd"),
        ({"window": 5}, "window must be odd and at least 7"),
        ({"channels": [16, 24]}, "channels must name 3 to 5 widths"),
        ({"channels": [5, 24, 32]}, r"channels\[0\] must exceed the 5 nested means"),
        ({"heads": 5}, "heads must divide"),
        ({"attention": "self"}, "attention must be symmetric, one_sided or none"),
        ({"representation": "raw"}, "representation must be hybrid, tfp or learned"),
        ({"motion_fields": -1}, "motion_fields"),
    ],
)
def test_argument_out_of_range_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build("model", "stir", **arguments)


@pytest.mark.slow
def test_overfits_one_sample(case: GoldenCase) -> None:
    torch.manual_seed(0)
    network, loss = build("model", "stir").train(), build("loss", "stir_no_perceptual")
    window = case.spikes()[..., :32, :32]
    batch = {"target": window.mean(1, keepdim=True)}
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-4)
    psnr = 0.0
    for _ in range(600):
        reconstruction = network(window)
        optimizer.zero_grad()
        loss(reconstruction, batch)[0].backward()
        optimizer.step()
        psnr = -10 * (reconstruction.image - batch["target"]).square().mean().log10().item()
        if psnr > 30:
            break
    assert psnr > 30

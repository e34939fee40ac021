"""ET-Net: parity with the published network, and what must hold of any size of it."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from spikerec.configs import build
from spikerec.errors import ConfigError, InputError
from spikerec.models.etnet import Attention, ETNet, position_table
from spikerec.weights.published import load_published
from tests.golden_cases import fill, load_case

CASE = load_case("etnet")


def tiny(**changes: object) -> ETNet:
    arguments = {"window": 13, "num_bins": 5, "channels": 2, "dropout": 0.0} | changes
    return build("model", "etnet", **arguments)


def random_spikes(*shape: int) -> Tensor:
    return (torch.rand(shape) < 0.4).float()


@pytest.fixture(scope="module")
def published() -> ETNet:
    return load_published("etnet", CASE.state(), num_bins=5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("prefix", "shape"), [("", (1, 15, 32, 48)), ("odd_", (1, 15, 30, 45))], ids=["even", "odd"]
)
def test_a_sequence_matches_the_published_network(
    published: ETNet, prefix: str, shape: tuple[int, ...]
) -> None:
    spikes = fill.fill_spikes(shape, CASE.facts["input_seed"])
    state = None
    for call, block in enumerate(spikes.split(5, dim=1)):
        reconstruction, state = published.call(block, state)
        name = f"{prefix}image_{call}"
        tolerance = CASE.facts["outputs"][name]["tolerance"]
        torch.testing.assert_close(reconstruction.image, CASE.output(name), atol=tolerance, rtol=0)


@torch.no_grad()
def test_core_maps_a_voxel_grid_and_a_state(published: ETNet) -> None:
    first, second = CASE.spikes().split(5, dim=1)[:2]
    image, state = published.core(first)
    torch.testing.assert_close(image, CASE.output("image_0"), atol=1e-4, rtol=0)
    image, _ = published.core(second, state)
    torch.testing.assert_close(image, CASE.output("image_1"), atol=1e-4, rtol=0)


def test_published_names_are_all_translated(published: ETNet) -> None:
    assert set(ETNet.from_published(CASE.state())) == set(published.state_dict())
    assert ETNet.from_published({"unknown.weight": torch.zeros(1)}).keys() == {"unknown.weight"}


@pytest.mark.parametrize(("num_bins", "millions"), [(5, 22.175), (21, 22.188), (61, 22.220)])
def test_parameter_count_is_the_published_one(num_bins: int, millions: float) -> None:
    with torch.device("meta"):  # counting needs no values
        network = build("model", "etnet", window=61, num_bins=num_bins)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert round(count / 1e6, 3) == millions
    if num_bins == 5:
        assert count == CASE.facts["parameters"]


def test_positions_follow_the_formula_beyond_the_published_table() -> None:
    table = position_table(14_400, 256)
    for token, channel in [(0, 0), (1, 1), (7999, 40), (14_399, 2), (14_399, 3)]:
        angle = token / 10000 ** (2 * (channel // 2) / 256)
        expected = math.cos(angle) if channel % 2 else math.sin(angle)
        assert table[token, channel].item() == pytest.approx(expected, abs=1e-7)


def test_attention_is_that_of_torch() -> None:
    ours = Attention(32, dropout=0.0)
    theirs = nn.MultiheadAttention(32, 8, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    query, memory = torch.randn(2, 7, 32), torch.randn(2, 5, 32)
    torch.testing.assert_close(ours(query, memory), theirs(query, memory, memory)[0])


class LargestTensor(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor that any operation returned."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        out = func(*args, **(kwargs or {}))
        tensors = out if isinstance(out, (tuple, list)) else [out]
        sizes = [t.numel() for t in tensors if isinstance(t, Tensor)]
        self.elements = max([self.elements, *sizes])
        return out


@torch.no_grad()
def test_attention_never_forms_a_matrix_of_tokens_by_tokens() -> None:
    tokens, width = 600, 64
    attention = Attention(width, dropout=0.0).eval()
    x = torch.randn(1, tokens, width)
    with LargestTensor() as largest:
        attention(x, x)
    assert largest.elements <= 3 * tokens * width < tokens * tokens


@torch.no_grad()
@pytest.mark.parametrize("window", [41, 61])
def test_a_window_gives_one_image_of_its_size(window: int) -> None:
    network = tiny(window=window, num_bins=21).eval()
    image = network.reconstruct(random_spikes(2, window, 17, 30), 1.0).image
    assert image.shape == (2, 1, 17, 30)
    assert image.min() > 0
    assert image.max() < 1


@torch.no_grad()
def test_samples_of_a_batch_do_not_mix() -> None:
    network = tiny().eval()
    spikes = random_spikes(3, 13, 16, 24)
    alone = torch.cat([network(sample[None]).image for sample in spikes])
    torch.testing.assert_close(network(spikes).image, alone, atol=1e-6, rtol=0)


@torch.no_grad()
def test_the_state_matters() -> None:
    network = tiny().eval()
    block = random_spikes(1, 5, 16, 16)
    first, state = network.call(block)
    second, _ = network.call(block, state)
    assert (first.image - second.image).abs().max() > 1e-5


@torch.no_grad()
def test_a_zero_state_is_no_state() -> None:
    network = tiny().eval()
    block = random_spikes(1, 5, 16, 16)
    first, state = network.call(block)
    zeros = state._replace(memory=tuple((hidden * 0, cell * 0) for hidden, cell in state.memory))
    torch.testing.assert_close(network.call(block, zeros)[0].image, first.image)


def test_a_state_of_another_size_is_refused() -> None:
    network = tiny().eval()
    _, state = network.call(random_spikes(1, 5, 16, 16))
    with pytest.raises(InputError, match=r"state must hold maps of \(2, 4, 8, 8\)"):
        network.call(random_spikes(2, 5, 16, 16), state)


@torch.no_grad()
def test_channels_last_changes_nothing() -> None:
    network = tiny().eval()
    spikes = random_spikes(2, 13, 16, 16)
    expected = network(spikes).image
    network = network.to(memory_format=torch.channels_last)
    image = network(spikes.to(memory_format=torch.channels_last)).image
    torch.testing.assert_close(image, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_bfloat16_autocast_stays_close_and_returns_float32() -> None:
    network = tiny().eval()
    spikes = random_spikes(1, 13, 16, 16)
    expected = network(spikes).image
    with torch.autocast("cpu", torch.bfloat16):
        image = network(spikes).image
        _, state = network.call(spikes[:, :5])
    assert image.dtype == torch.float32
    assert all(cell.dtype == torch.float32 for _, cell in state.memory)
    torch.testing.assert_close(image, expected, atol=0.02, rtol=0)


def test_gradients_reach_every_parameter() -> None:
    network = tiny(dropout=0.1).train()
    network(random_spikes(2, 13, 16, 16)).image.square().sum().backward()
    dead = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert dead == []


def test_gradients_reach_the_first_block_through_the_state() -> None:
    network = tiny()
    spikes = random_spikes(1, 13, 16, 16).requires_grad_()
    network(spikes).image.sum().backward()
    assert spikes.grad[:, :4].any()


def test_dropout_acts_in_training_only() -> None:
    network = tiny(dropout=0.5)
    spikes = random_spikes(1, 13, 16, 16)
    assert not torch.equal(network.train()(spikes).image, network(spikes).image)
    assert torch.equal(network.eval()(spikes).image, network(spikes).image)


def test_wrong_arguments_name_their_key() -> None:
    with pytest.raises(ConfigError, match=r"channels must be at least 1, found 0"):
        tiny(channels=0)
    with pytest.raises(ConfigError, match=r"dropout must be in \[0, 1\), found 1"):
        tiny(dropout=1.0)


@pytest.mark.slow
def test_one_sample_is_learnt_past_30_db() -> None:
    network = tiny(window=41, num_bins=21, channels=8).train()
    spikes = random_spikes(1, 41, 32, 32)
    rows = torch.linspace(0, 3, 32)
    target = (0.5 + 0.4 * torch.outer(rows.sin(), rows.cos()))[None, None]
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(200):
        optimizer.zero_grad()
        loss = (network(spikes).image - target).square().mean()
        loss.backward()
        optimizer.step()
        if loss.item() < 1e-3:
            return
    pytest.fail(f"PSNR is {-10 * math.log10(loss.item()):.1f} dB after 200 steps")


@pytest.mark.slow
@torch.no_grad()
def test_export_gives_the_same_image() -> None:
    network = tiny().eval()
    spikes = random_spikes(1, 13, 16, 16)

    class Image(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, spikes: Tensor) -> Tensor:
            return self.network(spikes).image

    exported = torch.export.export(Image(), (spikes,)).module()
    torch.testing.assert_close(exported(spikes), network(spikes).image)


@pytest.mark.slow
@torch.no_grad()
def test_the_network_is_captured_as_one_graph_with_the_same_image() -> None:
    network = tiny().eval()
    spikes = random_spikes(1, 13, 16, 16)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    image = compiled(spikes).image
    torch.testing.assert_close(image, network(spikes).image, atol=1e-5, rtol=0)

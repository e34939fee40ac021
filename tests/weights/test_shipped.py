"""Weights that come with the package."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

import pytest
import torch

import spikerec
from spikerec.configs import build, compose_verb, config_dir
from spikerec.errors import WeightsError, WeightsNotFoundError
from spikerec.inference.ready import MOST_LOSS_DB, losses_db
from spikerec.simulation import Camera, RandomScene, bundled_images
from spikerec.weights.checkpoint import digest, read_arguments, read_metadata
from spikerec.weights.shipped import DEFAULT_MODEL, pack_weights, shipped_weights

OLDER = Path(__file__).parent / "older"
SHIPPED = ["fast", "fast_wide", "fast_large"]
SMALL = {"window": 9, "filters": 3, "channels": [4], "blocks": [1], "output_scale": 0.5}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    network = build("model", "fast", **SMALL)
    torch.nn.init.normal_(network.tail.weight)
    with torch.no_grad():
        network.tail.bias.fill_(-1e-9)  # in half precision, a zero with a sign
    path = tmp_path / "run" / "checkpoints" / "best.ckpt"
    path.parent.mkdir(parents=True)
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    content = {"state_dict": state, "spikerec": {"network": "Fast", "model": SMALL}}
    torch.save(content | {"pytorch-lightning_version": "2.6"}, path)
    return path


@pytest.mark.parametrize("half", [False, True])
def test_a_packed_checkpoint_is_the_same_network(
    checkpoint: Path, tmp_path: Path, half: bool
) -> None:
    packed = tmp_path / "packed.safetensors"
    metadata = pack_weights(
        checkpoint,
        "fast",
        packed,
        training={"steps": 7},
        precision_loss_db={"bf16": 0.01},
        half=half,
    )
    assert read_metadata(packed) == metadata
    assert losses_db(spikerec.load("fast", packed, **SMALL)) == {"bf16": 0.01}
    assert losses_db(spikerec.load("fast", checkpoint, **SMALL)) == {}
    assert metadata["source"] == "run"
    assert read_arguments(packed)["output_scale"] == 0.5
    before, after = (spikerec.load("fast", path, **SMALL) for path in (checkpoint, packed))
    spikes = torch.randint(2, (1, 9, 16, 16), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        one, other = (network.reconstruct(spikes, 0.5).image for network in (before, after))
    torch.testing.assert_close(one, other, atol=2e-3 if half else 0.0, rtol=0.0)
    assert next(after.parameters()).dtype == torch.float32
    assert metadata["digest"] == digest(after.state_dict())


def test_packing_does_not_overwrite(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "packed.safetensors"
    pack_weights(checkpoint, "fast", path)
    before = path.read_bytes()
    pack_weights(checkpoint, "fast", path)  # done before
    with pytest.raises(WeightsError, match="exists already with other weights"):
        pack_weights(checkpoint, "fast", path, half=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["fast.ckpt", "fast.safetensors"])
def test_weights_of_an_older_version_keep_their_output_scale(name: str, tmp_path: Path) -> None:
    path = OLDER / name
    own = {key: SMALL[key] for key in SMALL if key != "output_scale"}
    assert spikerec.load("fast", path, **own).output_scale == 0.5
    pack_weights(path, "fast", tmp_path / "new.safetensors")
    arguments = read_arguments(tmp_path / "new.safetensors")
    assert arguments["output_scale"] == 0.5
    assert "light_scale" not in arguments


def test_weights_of_another_shape_do_not_serve() -> None:
    assert shipped_weights(build("model", "fast", channels=[16, 32])) is None
    assert shipped_weights(build("model", "tfp")) is None
    with pytest.raises(WeightsNotFoundError, match="checkpoint=FILE"):
        spikerec.load("fast", channels=[16, 32])


def test_the_default_model_is_the_one_of_the_command_line() -> None:
    text = (config_dir() / "reconstruct.yaml").read_text(encoding="utf-8")
    assert f"  - model: {DEFAULT_MODEL}\n" in text
    assert DEFAULT_MODEL in SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_are_small_and_carry_their_budget(name: str) -> None:
    path = shipped_weights(build("model", name))
    assert path is not None
    assert path.stat().st_size <= 12e6
    metadata = read_metadata(path)
    assert metadata["model"] == name
    assert '"steps"' in metadata["training"]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_card_states_the_losses_in_fewer_bits_that_the_files_state(name: str) -> None:
    card = files("spikerec.weights").joinpath("shipped/README.md").read_text(encoding="utf-8")
    losses = losses_db(spikerec.load(name))
    assert losses.keys() == {"bf16", "int8"}
    for precision, loss in losses.items():
        assert 0 < loss < MOST_LOSS_DB
        assert re.search(rf"\| {name}, {precision} \|.*\b{loss:.3f}\b", card)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_card_says_what_the_weights_and_their_recipe_say(name: str) -> None:
    folder = files("spikerec.weights").joinpath("shipped")
    card = folder.joinpath("README.md").read_text(encoding="utf-8")
    section = " ".join(card.split(f"## {name}\n")[1].split("\n## ")[0].split())
    network = build("model", name)
    path = shipped_weights(network)
    assert path is not None
    training = json.loads(read_metadata(path)["training"])
    assert f"{sum(p.numel() for p in network.parameters()):,} parameters" in section
    assert re.search(rf"\b({training['steps']}|{training['steps']:,}) steps", section)
    seconds = training["seconds"]
    assert f"{seconds:.0f} seconds" in section or f"{seconds / 60:.0f} minutes" in section


def test_the_card_counts_the_windows_of_the_recipes_it_names() -> None:
    card = files("spikerec.weights").joinpath("shipped/README.md").read_text(encoding="utf-8")
    pattern = r"([\d,]+) steps of (\d+) crops of 96×96 \(([\d,]+) windows\) by `experiment=(\w+)`"
    named = re.findall(pattern, " ".join(card.split()))
    assert named
    for steps, batch, windows, recipe in named:
        experiment = compose_verb("train", [f"experiment={recipe}"])
        data, epochs = experiment["data"], experiment["trainer"]["max_epochs"]
        assert int(batch) == data["batch_size"]
        assert epochs * data["samples_per_epoch"] == int(windows.replace(",", ""))
        assert int(steps.replace(",", "")) * int(batch) == int(windows.replace(",", ""))


@pytest.mark.parametrize("light_scale", [0.25, 0.6, 1.0])
@pytest.mark.parametrize("name", SHIPPED)
def test_default_weights_beat_the_firing_rate_at_any_light_scale(
    name: str, light_scale: float
) -> None:
    def psnr(estimate: torch.Tensor) -> float:
        return -10 * (estimate.clamp(0, 1) - truth).square().mean().log10().item()

    image = [one.image for one in bundled_images() if one.name == "astronaut.png"]
    scene = RandomScene(image, height=64, width=64, seed=5)
    truth = scene.frames(30, 31)[None]
    stream = Camera(light_scale).expose(scene.frames(0, 61), seed=1)[None]
    with torch.inference_mode():
        network = spikerec.load(name).reconstruct(stream, light_scale).image
        rate = spikerec.load("tfp", window=31).reconstruct(stream[:, 15:46], light_scale).image
    assert psnr(network) > psnr(rate) + 2

"""The classifier of the metric `recognition`, and the metric, on three shapes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import default_collate

from spikerec.configs import build
from spikerec.data import UHSR, Windows
from spikerec.data.windows import decode
from spikerec.errors import DataError, WeightsError, WeightsNotFoundError
from spikerec.metrics import Protocol, Recognition, Recording
from spikerec.simulation import Camera
from spikerec.spikes.representations import tfp
from spikerec.training.module import ReconstructionModule
from spikerec.training.recognition import Trained, main, read_pictures, train_classifier

SHAPES = ("bar", "disc", "ring")
SIDE = 64
FEW = 7  # readouts, whose TFP shows next to nothing
LIGHT_SCALE = 0.05  # of the clips: six spikes a pixel in the brightest places


def draw(shape: str, random: np.random.Generator) -> Tensor:
    """A bright shape (64, 64) on a dark slope, or the reverse, at any place."""
    y, x = np.mgrid[:SIDE, :SIDE] - random.uniform(24, 40, size=(2, 1, 1))
    radius, size = np.hypot(y, x), random.uniform(12, 18)
    inside = {
        "bar": (np.abs(y) < size / 4) & (np.abs(x) < size),
        "disc": radius < size,
        "ring": np.abs(radius - size) < size / 5,
    }[shape]
    slope = 0.2 + 0.1 * x / SIDE
    picture = np.where(inside, random.uniform(0.7, 0.9), slope)
    return torch.from_numpy(picture if random.integers(2) else 1 - picture).float().clamp(0, 1)


@pytest.fixture(scope="module")
def trained() -> Trained:
    random = np.random.default_rng(0)
    pictures = {shape: [draw(shape, random) for _ in range(15)] for shape in SHAPES}
    return train_classifier(pictures, epochs=6)


@pytest.fixture(scope="module")
def weights(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("classifier") / "shapes.safetensors"
    trained.save(path)
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of new pictures in the layout of UHSR."""
    folder, random = tmp_path_factory.mktemp("uhsr"), np.random.default_rng(1)
    for number in range(24):
        shape = SHAPES[number % 3]
        picture = draw(shape, random).expand(121, -1, -1)
        np.savez_compressed(
            folder / f"{number}_{shape}.npz",
            spk=Camera(LIGHT_SCALE).expose(picture, seed=number).numpy(),
            label=np.int64(number % 3),
            label_name=np.array(f"{number}_{shape}.jpg"),
        )
    return folder


def accuracy(weights: Path, clips: Path, readouts: int) -> float:
    """Share of the clips that are recognised in their TFP of so many readouts."""
    metric = Recognition(weights)
    values = []
    for clip in UHSR(clips).clips("test"):
        spikes = torch.from_numpy(np.asarray(clip.open()[:]))[None]
        image = tfp(spikes, key_readout=60, window=readouts)
        labels = [clip.conditions["label"]]
        recording = Recording(spikes, torch.ones(1), labels=labels)
        values.append(metric.score(image, recording=recording).item())
    return sum(values) / len(values)


def test_shapes_are_recognised_in_unseen_recordings(trained: Trained) -> None:
    assert trained.chance == pytest.approx(1 / 3)
    assert trained.accuracy > 0.7


def test_a_noisier_reconstruction_of_the_same_clips_is_recognised_less_often(
    weights: Path, clips: Path
) -> None:
    good, poor = accuracy(weights, clips, 121), accuracy(weights, clips, 1)
    assert good > 0.8
    assert good - poor > 0.2


def score(metric: Recognition, image: Tensor, labels: Sequence[str] | None) -> list[float]:
    spikes = torch.zeros(len(image), 3, SIDE, SIDE)
    recording = Recording(spikes, torch.ones(len(image)), labels=labels)
    return [round(value, 3) for value in metric.score(image, recording=recording).tolist()]


def test_neither_gain_nor_offset_nor_size_of_an_image_counts(weights: Path) -> None:
    metric, random = Recognition(weights), np.random.default_rng(3)
    image = torch.stack([draw(shape, random)[None] for shape in SHAPES])
    assert score(metric, image, SHAPES) == [1, 1, 1]
    assert score(metric, 0.03 * image + 0.1, SHAPES) == [1, 1, 1]
    assert score(metric, image, SHAPES[::-1]) == [0, 1, 0]
    large = image.repeat_interleave(3, -1).repeat_interleave(3, -2)
    recording = Recording(torch.zeros(3, 3, 192, 192), torch.ones(3), labels=SHAPES)
    assert metric.score(large, recording=recording).tolist() == [1, 1, 1]


def test_an_evaluation_hands_the_metric_the_labels_of_the_clips(weights: Path, clips: Path) -> None:
    windows = Windows(UHSR(clips, key_stride=121).clips("test"), window=FEW, margin=0)
    protocol = Protocol("test", {"recognition": partial(Recognition, weights)})
    module = ReconstructionModule(build("model", "tfp", window=FEW), protocol=protocol)
    samples = [windows[item] for item in range(len(windows))]
    scored = module._score("set", decode(default_collate(samples)))["scores"].values()
    values = [one["recognition"] for one in scored]
    assert set(values) == {0, 1}
    assert sum(values) / len(values) == accuracy(weights, clips, FEW)


def test_a_clip_whose_class_is_not_known_has_no_value(weights: Path) -> None:
    metric = Recognition(weights)
    image = torch.rand(2, 1, SIDE, SIDE)
    assert np.isnan(score(metric, image, ["", "helicopter"])).all()
    assert np.isnan(score(metric, image, None)).all()
    assert metric.why_missing().endswith(
        "such as 'helicopter'; it knows 3 classes, such as "
        "'bar', 'disc', 'ring', spelled alike with their capitals."
    )
    assert Recognition(weights).why_missing().endswith("not defined for clips without a label.")


def test_the_definition_holds_the_classifier_not_its_place(
    weights: Path, trained: Trained, tmp_path: Path
) -> None:
    def digest_of(path: Path) -> str:
        return Protocol("mine", {"recognition": partial(Recognition, path)}).digest

    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(weights.read_bytes())
    assert digest_of(weights) == digest_of(copy)
    with torch.no_grad():
        trained.classifier.head.bias += 1
    other = tmp_path / "other.safetensors"
    trained.save(other)
    with torch.no_grad():
        trained.classifier.head.bias -= 1
    assert digest_of(other) != digest_of(weights)


def test_without_a_classifier_the_metric_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match=r"python -m spikerec\.training\.recognition"):
        Recognition(tmp_path / "none.safetensors")


def test_the_command_trains_from_folders_and_replaces_no_other_classifier(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    for shape in SHAPES[:2]:
        (tmp_path / "pictures" / shape).mkdir(parents=True)
        for number in range(5):
            levels = (255 * draw(shape, random)).byte().numpy()
            Image.fromarray(levels).save(tmp_path / "pictures" / shape / f"{number}.png")
    output = tmp_path / "out.safetensors"
    command = [str(tmp_path / "pictures"), "--output", str(output), "--epochs", "1"]
    main(command)
    assert "2 classes, 8 pictures to learn, 2 held out" in capsys.readouterr().out
    assert Recognition(output).classes == ("bar", "disc")
    written = output.stat()
    main(command)
    assert "is there already" in capsys.readouterr().out
    assert output.stat() == written  # nothing was trained again
    with pytest.raises(SystemExit, match="exists already"):
        main([*command, "--seed", "1"])


def test_too_few_pictures_of_a_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a folder of pictures for each"):
        read_pictures(tmp_path)
    with pytest.raises(DataError, match="none is no folder"):
        read_pictures(tmp_path / "none")
    for shape in SHAPES:
        (tmp_path / shape).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / shape / "0.png")
    with pytest.raises(DataError, match="holds 1 picture: expected 5 or more"):
        read_pictures(tmp_path)


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match="states no names of classes"):
        Recognition(tmp_path / "x.safetensors")

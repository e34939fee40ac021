from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from spikerec.errors import ConfigError, DataError, InputError
from spikerec.simulation import Camera, Recipe, SourceImage, deal_images, write_synthetic

CAMERA = Camera(0.4)
RECIPE = Recipe({"train": 3, "val": 1}, images_per_scene=2, height=12, width=16, seed=1)


def sources(count: int = 5) -> list[SourceImage]:
    generator = torch.Generator().manual_seed(0)
    return [
        SourceImage(f"{k}.png", torch.rand(24, 32, generator=generator), "CC0", f"{k}" * 64)
        for k in range(count)
    ]


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_a_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_synthetic(tmp_path / name, sources(), CAMERA, RECIPE)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    write_synthetic(tmp_path / "three", sources(), CAMERA, replace(RECIPE, seed=2))
    assert contents(tmp_path / "three") != contents(tmp_path / "one")


def test_an_interrupted_set_is_recognised_and_continued(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    write_synthetic(whole, sources(), CAMERA, RECIPE)

    def stop_after_two(done: int, total: int) -> None:
        assert total == 4
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic(broken, sources(), CAMERA, RECIPE, progress=stop_after_two)
    assert not (broken / "dataset.yaml").exists()
    assert (broken / "dataset.unfinished.yaml").is_file()
    kept = broken / "spike/train/interp_20_alpha_0.40/0000/00000001.dat"
    written = kept.stat().st_mtime_ns
    write_synthetic(broken, sources(), CAMERA, RECIPE)
    assert kept.stat().st_mtime_ns == written
    assert contents(broken) == contents(whole)


def test_a_finished_set_is_left_alone(tmp_path: Path) -> None:
    card = write_synthetic(tmp_path, sources(), CAMERA, RECIPE)
    calls: list[int] = []
    assert (
        write_synthetic(
            tmp_path, sources(), CAMERA, RECIPE, progress=lambda done, _: calls.append(done)
        )
        == card
    )
    assert calls == []


def test_another_set_is_not_mixed_in(tmp_path: Path) -> None:
    write_synthetic(tmp_path, sources(), CAMERA, RECIPE)
    with pytest.raises(DataError, match=r"another set \(it differs in light_scale, camera\)"):
        write_synthetic(tmp_path, sources(), Camera(0.6), RECIPE)


def test_the_card_says_how_it_was_made(tmp_path: Path) -> None:
    card = yaml.safe_load(write_synthetic(tmp_path, sources(), CAMERA, RECIPE).read_text())
    assert card["light_scale"] == 0.4
    assert (card["height"], card["width"]) == (12, 16)
    assert Camera(**card["camera"]) == CAMERA
    assert {one["licence"] for one in card["sources"]} == {"CC0"}
    assert sum(len(split["images"]) for split in card["splits"].values()) == 5


@pytest.mark.parametrize("seed", range(5))
def test_splits_share_no_photograph(seed: int) -> None:
    images = sources(9)
    shares = deal_images(images, {"train": 20, "val": 2, "test": 2}, seed)
    names = [one.name for share in shares.values() for one in share]
    assert sorted(names) == sorted(one.name for one in images)
    assert [len(share) for share in shares.values()] == [5, 2, 2]


def test_each_split_needs_a_photograph(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one a split"):
        write_synthetic(tmp_path, sources(1), CAMERA, RECIPE)


def test_an_empty_recipe_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one split"):
        replace(RECIPE, scenes={})
    with pytest.raises(ConfigError, match="height must be at least 1"):
        replace(RECIPE, height=0)

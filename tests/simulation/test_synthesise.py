from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
import torch

from spikerec.errors import ConfigError, DataError, InputError
from spikerec.simulation import SourceImage, deal_images, write_set
from spikerec.simulation.synthesise import CARD, UNFINISHED_CARD, HasScene, WriteScene

SCENES = {"train": 3, "val": 1}


def write(root: Path, split: str, index: int) -> None:
    """Write a scene of one byte; by which process, its name tells."""
    path = root / split / str(index)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(os.getpid()))


def has(root: Path, split: str, index: int) -> bool:
    return (root / split / str(index)).is_file()


def functions(root: Path) -> tuple[HasScene, WriteScene]:
    return partial(has, root), partial(write, root)


def die(split: str, index: int) -> None:
    del split
    if index == 1:
        os._exit(1)


def sources(count: int) -> list[SourceImage]:
    generator = torch.Generator().manual_seed(0)
    return [
        SourceImage(f"{k}.png", torch.rand(24, 32, generator=generator), "CC0", f"{k}" * 64)
        for k in range(count)
    ]


def written(root: Path) -> dict[str, str]:
    return {
        f"{split}/{index}": (root / split / str(index)).read_text()
        for split, count in SCENES.items()
        for index in range(count)
    }


def test_an_interrupted_set_is_recognised_and_continued(tmp_path: Path) -> None:
    def stop_after_two(done: int, total: int) -> None:
        assert total == 4
        if done == 2:
            raise KeyboardInterrupt

    make = partial(write_set, tmp_path, {"seed": 1}, SCENES, *functions(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        make(progress=stop_after_two)
    assert not (tmp_path / CARD).exists()
    assert (tmp_path / UNFINISHED_CARD).is_file()
    (tmp_path / "train/0").write_text("kept")
    make()
    assert written(tmp_path)["train/0"] == "kept"
    assert (tmp_path / CARD).is_file()


def test_a_finished_set_is_left_alone(tmp_path: Path) -> None:
    make = partial(write_set, tmp_path, {"seed": 1}, SCENES, *functions(tmp_path))
    card = make()
    calls: list[int] = []
    assert make(progress=lambda done, _: calls.append(done)) == card
    assert calls == []
    (tmp_path / "val/0").unlink()
    make(progress=lambda done, _: calls.append(done))
    assert calls == [4]
    assert len(written(tmp_path)) == 4


def test_another_set_is_not_mixed_in(tmp_path: Path) -> None:
    write_set(tmp_path, {"seed": 1, "light": 0.4}, SCENES, *functions(tmp_path))
    with pytest.raises(DataError, match=r"another set \(it differs in light\)"):
        write_set(tmp_path, {"seed": 1, "light": 0.6}, SCENES, *functions(tmp_path))


@pytest.mark.slow  # two processes start
def test_processes_share_the_scenes_of_a_set(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    write_set(
        tmp_path,
        {"seed": 1},
        SCENES,
        *functions(tmp_path),
        processes=2,
        progress=lambda *done: calls.append(done),
    )
    assert str(os.getpid()) not in written(tmp_path).values()
    assert calls == [(k, 4) for k in (1, 2, 3, 4)]


@pytest.mark.slow  # two processes start
def test_a_process_that_dies_leaves_a_set_to_continue(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="continues where it stopped"):
        write_set(tmp_path, {"seed": 1}, SCENES, partial(has, tmp_path), die, processes=2)
    assert (tmp_path / UNFINISHED_CARD).is_file()
    write_set(tmp_path, {"seed": 1}, SCENES, *functions(tmp_path))
    assert len(written(tmp_path)) == 4


@pytest.mark.parametrize("seed", range(5))
def test_splits_share_no_photograph(seed: int) -> None:
    images = sources(9)
    shares = deal_images(images, {"train": 20, "val": 2, "test": 2}, seed)
    names = [one.name for share in shares.values() for one in share]
    assert sorted(names) == sorted(one.name for one in images)
    assert [len(share) for share in shares.values()] == [5, 2, 2]


def test_each_split_needs_a_photograph() -> None:
    with pytest.raises(InputError, match="at least one a split"):
        deal_images(sources(1), SCENES, 0)


@pytest.mark.parametrize("scenes", [{}, {"train": 0}])
def test_a_set_without_scenes_is_refused(tmp_path: Path, scenes: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="at least one split"):
        write_set(tmp_path, {}, scenes, *functions(tmp_path))

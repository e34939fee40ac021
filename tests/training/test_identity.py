"""A run is what it computes: what belongs to its identity, and what does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from spikerec.configs import build
from spikerec.spikes import Geometry
from spikerec.training.identity import (
    LENGTHS,
    Identity,
    fingerprint,
    layout_text,
    settings_of,
    step_facts,
)
from tests.fakes import fake_reds


def config(where: str = "/a", **changes: Any) -> dict[str, Any]:
    """A resolved configuration, as a run in a folder of that place has it."""
    whole = {
        "seed": 0,
        "name": "x",
        "run": f"{where}/outputs/train/x",
        "paths": {"data": f"{where}/data", "outputs": f"{where}/outputs"},
        "model": {"_target_": "spikerec.models.fast.Fast", "channels": 8},
        "optimizer": {"lr": 1e-3},
        "data": {
            "batch_size": 8,
            "num_workers": 0,
            "sets": {"reds": {"root": f"{where}/data/reds", "light_scale": 0.6}},
        },
        "loss": {"terms": {"l1": {"weight": 1.0}}, "trunk": f"{where}/data/trunk.pt"},
        "trainer": {"max_epochs": 3, "devices": 1, "precision": "32-true", "strategy": "auto"},
        "callbacks": {"best": {"dirpath": f"{where}/outputs/train/x/checkpoints"}, "last": {}},
        "logger": {"csv": {"path": f"{where}/outputs/train/x/metrics.csv"}},
    }
    for key, value in changes.items():
        *path, last = key.split("__")
        part: Any = whole
        for name in path:
            part = part[name]
        part[last] = value
    return whole


@pytest.mark.parametrize(
    "changes",
    [
        {"where": "/elsewhere"},
        {"name": "y"},
        {"data__num_workers": 4},
        {"logger": {}},
        {"trainer__strategy": "ddp"},
        {"callbacks__last": {"every_n_steps": 7}},
    ],
)
def test_places_labels_and_reports_are_no_part_of_a_run(changes: dict[str, Any]) -> None:
    assert Identity(settings_of(config())).digest == Identity(settings_of(config(**changes))).digest


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"seed": 1}, "seed"),
        ({"optimizer__lr": 1e-4}, "optimizer.lr"),
        ({"model__channels": 16}, "model.channels"),
        ({"trainer__max_epochs": 4}, "trainer.max_epochs"),
        ({"trainer__precision": "16-mixed"}, "trainer.precision"),
        ({"callbacks__ema": {"decay": 0.9}}, "callbacks.ema.decay"),
        ({"loss__trunk": "/a/elsewhere/trunk.pt"}, "loss.trunk"),
        (
            {"data__sets": {"reds": {"root": "/a/data/reds", "light_scale": 0.4}}},
            "data.sets.reds.l",
        ),
    ],
)
def test_what_moves_a_result_is_named_where_it_differs(changes: dict[str, Any], key: str) -> None:
    before, now = (Identity(settings_of(one)) for one in (config(), config(**changes)))
    assert before.digest != now.digest
    [found] = before.differences(now)
    assert found.startswith(key)


def test_a_run_from_before_a_setting_was_added_is_the_run_with_its_default() -> None:
    before, now, other = (
        Identity(settings_of(config(budget={"seconds": 60} | clock)))
        for clock in ({}, {"clock": "wall"}, {"clock": "processor"})
    )
    assert before.digest == now.digest != other.digest


def step(network: nn.Module, **changes: Any) -> dict[str, Any]:
    facts = {"batch_size": 8, "processes": 1, "accumulated": 1, "learning_rate": 1e-3}
    return step_facts(network, **{**facts, "sync_batchnorm": False, **changes})  # type: ignore[arg-type]


def test_processes_count_by_the_samples_of_a_step() -> None:
    network = build("model", "tfp")
    halves = {"batch_size": 4, "processes": 2}
    assert step(network) == step(network, **halves)
    assert step(network) == step(network, batch_size=2, accumulated=4)
    assert step(network) != step(network, processes=2)
    assert step(network) != step(network, learning_rate=2e-3)


def test_batch_norm_makes_a_process_own_batch_count() -> None:
    network = build("model", "ssir", channels=4)
    halves = {"batch_size": 4, "processes": 2}
    assert step(network) != step(network, **halves)
    synced = step(network, **halves, sync_batchnorm=True)
    assert synced == step(network)


@pytest.mark.parametrize(
    ("old", "new", "longer"),
    [
        ({}, {"trainer__max_epochs": 5}, True),
        ({}, {"trainer__max_epochs": -1}, True),
        ({}, {"trainer__max_epochs": 2}, False),
        ({}, {"trainer__max_epochs": 5, "seed": 1}, False),
        ({}, {}, False),
        ({"trainer__max_steps": 10}, {"trainer__max_steps": 20}, True),
        ({"trainer__max_steps": -1}, {"trainer__max_steps": 20}, False),
        ({"optimizer__t": 3}, {"optimizer__t": 5, "trainer__max_epochs": 5}, True),
        ({"optimizer__t": 3}, {"optimizer__t": 5}, False),
    ],
)
def test_only_a_run_that_grew_in_length_alone_is_longer(
    old: dict[str, Any], new: dict[str, Any], longer: bool
) -> None:
    growing = frozenset([*LENGTHS, "optimizer.t"])  # which follows from trainer.max_epochs
    before, now = (Identity(settings_of(config(**c)), growing=growing) for c in (old, new))
    assert before.is_longer(now) == longer


def test_data_are_known_by_their_content_and_not_by_their_place(tmp_path: Path) -> None:
    for name in "abc":
        fake_reds(tmp_path / name)
    sets = {
        name: build("data", "reds", root=str(tmp_path / name), height=24, width=40)
        for name in "abc"
    }
    stream = next((tmp_path / "c").rglob("*.dat"))
    content = bytearray(stream.read_bytes())
    content[0] ^= 1
    stream.write_bytes(content)
    prints = {
        name: fingerprint([*one.clips("train"), *one.clips("val")]) for name, one in sets.items()
    }
    assert prints["a"] == prints["b"] != prints["c"]


def test_a_layout_is_told_as_runs_of_earlier_versions_have_it() -> None:
    before = "Geometry(height=2, width=3, readout_width=None, bottom_up=True, bit_order='little')"
    assert layout_text(Geometry(2, 3)) == before
    assert layout_text(Geometry(2, 3, skip_bytes=4)) == f"{before[:-1]}, skip_bytes=4)"


def test_a_recipe_is_alike_in_all_folds_and_seeds() -> None:
    one = Identity({"optimizer.lr": 1e-4, "data.fold": 1, "seed": 0}, {"data of reds": "a"})
    other = Identity({"optimizer.lr": 1e-4, "data.fold": 2, "seed": 1}, {"data of reds": "b"})
    assert one.recipe == other.recipe
    assert one.digest != other.digest
    assert one.recipe != Identity({"optimizer.lr": 2e-4, "data.fold": 1}, one.facts).recipe
    assert one.recipe != Identity(one.settings, {"weights at the start": "c"}).recipe

"""Golden cases: what the published networks gave for weights and inputs rebuilt by a rule."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"
SHARED = ROOT.parent / "shared"


def _load_fill() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_fill", GOLDEN / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fill = _load_fill()


@dataclass(frozen=True)
class GoldenCase:
    """One folder of tests/golden: facts, published names and shapes, published outputs."""

    facts: dict[str, Any]
    shapes: dict[str, list[int]]
    outputs: dict[str, np.ndarray]

    def state(self) -> dict[str, Tensor]:
        """The weights, under the published names."""
        return fill.fill_state_dict(self.shapes, self.facts.get("overrides"))

    def spikes(self, key: str = "input") -> Tensor:
        """The input block, (B, T, H, W) float32 in {0, 1}."""
        return fill.fill_spikes(tuple(self.facts[f"{key}_shape"]), self.facts[f"{key}_seed"])

    def output(self, name: str) -> Tensor:
        """One published output."""
        return torch.from_numpy(self.outputs[name])


def load_case(name: str) -> GoldenCase:
    """Read a case by the name of its folder."""
    folder = GOLDEN / name
    shapes = folder / "shapes.json"
    with np.load(folder / "output.npz") as arrays:
        outputs = {key: arrays[key] for key in arrays.files}
    return GoldenCase(
        facts=json.loads((folder / "case.json").read_text()),
        shapes=json.loads(shapes.read_text()) if shapes.exists() else {},
        outputs=outputs,
    )

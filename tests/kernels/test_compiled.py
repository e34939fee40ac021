"""Compiled loops run where their result cannot be kept."""

from __future__ import annotations

import numpy as np
import pytest
from numba.core.caching import CacheImpl

from spikerec.kernels.compiled import compiled


def doubled(values: np.ndarray) -> None:
    for index in range(len(values)):
        values[index] *= 2


@pytest.mark.parametrize("fault", [OSError(28, "No space left"), RuntimeError("no locator")])
def test_no_folder_for_the_cache(fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(CacheImpl, "__init__", fail)
    values = np.arange(3.0)
    compiled()(doubled)(values)
    assert values.tolist() == [0, 2, 4]

from __future__ import annotations

from pathlib import Path

import pytest

from spikerec.parsing import parse_yaml, with_article
from spikerec.spikes.geometry import read_sidecar


@pytest.mark.parametrize(
    ("text", "value"),
    [("2e4", 2e4), ("1E-3", 1e-3), (".5e+2", 50.0), ("-4.e1", -40.0), ("e5", "e5"), ("2e", "2e")],
)
def test_numbers_with_an_exponent_are_numbers(text: str, value: object) -> None:
    assert parse_yaml(f"a: {text}", "x.yaml") == {"a": value}


def test_the_rate_of_a_sidecar_may_have_an_exponent(tmp_path: Path) -> None:
    (tmp_path / "car.yaml").write_text("rate_hz: 2e4\nlight_scale: 4e-1\n", encoding="utf-8")
    found = read_sidecar(tmp_path / "car.dat")
    assert (found.rate_hz, found.light_scale) == (20000, 0.4)


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("dict", "a dict"),
        ("int", "an int"),
        ("L1", "an L1"),
        ("MSE", "an MSE"),
        ("UNet", "a UNet"),
        ("STIR", "a STIR"),
    ],
)
def test_articles_are_as_spoken(name: str, phrase: str) -> None:
    assert with_article(name) == phrase

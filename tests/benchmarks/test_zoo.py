"""The model zoo of the documentation states what the package holds."""

from __future__ import annotations

from benchmarks import zoo
from spikerec.configs import config_names


def test_page_is_up_to_date() -> None:
    text = zoo.PAGE.read_text(encoding="utf-8")
    assert text == zoo.page(), "run `python -m benchmarks.zoo`"
    assert all(f"| `{name}` |" in text for name in config_names("model"))

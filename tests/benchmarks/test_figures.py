"""Figures are written to their places in the documents, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.figures import pages
from benchmarks.figures.__main__ import FIGURES
from benchmarks.figures.measuring import shipped
from benchmarks.figures.records import EVALUATIONS, record_of
from spikerec.errors import DataError

PAGE = """Before.

<!-- figures: one -->

old

<!-- end of figures -->

Between.

<!-- figures: two -->
<!-- end of figures -->
"""


def test_a_table_is_written_to_its_place_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    assert pages.write(page, "two", "new")
    text = page.read_text(encoding="utf-8")
    assert text == PAGE.replace("two -->\n<!-- end", "two -->\n\nnew\n\n<!-- end")
    assert not pages.write(page, "two", "new")
    assert pages.write(page, "one", r"a \1 b")
    assert r"a \1 b" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (PAGE, "three"),
        (PAGE + PAGE, "one"),
        (PAGE.replace("old\n\n<!-- end of figures -->", "old"), "one"),
    ],
    ids=["missing", "twice", "without an end"],
)
def test_a_page_without_one_place_is_refused(text: str, name: str) -> None:
    with pytest.raises(DataError, match=rf"page\.md must have one place for the figures {name}"):
        pages.filled(text, name, "new", Path("page.md"))


@pytest.mark.parametrize("name", FIGURES)
def test_every_table_has_its_place(name: str) -> None:
    page = FIGURES[name].page
    text = page.read_text(encoding="utf-8")
    assert "new" in pages.filled(text, name, "new", page)


def test_a_table_is_markdown() -> None:
    made = pages.table(["a", "b", "c"], [["x", "y", "1"]], left=2)
    assert made == "| a | b | c |\n| :-- | :-- | --: |\n| x | y | 1 |"


@pytest.mark.parametrize(
    ("value", "text"), [(-0.126, "−0.13"), (-0.001, "0.00"), (35.178, "35.18")]
)
def test_decibels_have_a_minus_sign(value: float, text: str) -> None:
    assert pages.decibels(value) == text


@pytest.mark.parametrize("method", shipped())
def test_records_are_of_the_weights_that_ship(method: str) -> None:
    for dataset, protocol, _ in EVALUATIONS:
        assert record_of(method, dataset, protocol).method == method

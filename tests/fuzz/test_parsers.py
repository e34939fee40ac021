"""A result or one of our errors: a few examples for every parser; `make fuzz` tries more."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.parsers import PARSERS, Parser
from tests.fuzz.strategies import files

EXAMPLES = 30


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_some_seed_is_read(parser: Parser) -> None:
    assert "read" in {parser.try_on(seed) for seed in parser.seeds()}


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_any_file_is_read_or_refused(parser: Parser, data: st.DataObject) -> None:
    parser.try_on(data.draw(files(parser)))

"""Options and their help."""

from __future__ import annotations

import pytest

from spikerec.cli import verbs
from spikerec.configs import config_dir
from spikerec.options import COLUMNS, PLACES, help_text, offer

CONFIGURED = [verb for verb in verbs() if (config_dir() / f"{verb}.yaml").exists()]


@pytest.mark.parametrize("verb", CONFIGURED)
def test_help_shows_every_option_with_its_comment_in_80_columns(verb: str) -> None:
    text = help_text(verb, "Do something")
    assert max(map(len, text.splitlines())) <= COLUMNS
    assert "${" not in text  # Hydra has not resolved it: it says nothing to a reader
    for option in offer(verb).options.values():
        if not isinstance(option.default, dict):
            assert f"  {option.key}" in text
            above = offer(verb).options.get(option.key.rpartition(".")[0])
            assert option.help or (above and above.help), f"{option.key} has no comment"


def test_places_are_options_of_their_verbs() -> None:
    for verb, names in PLACES.items():
        assert set(names) <= set(offer(verb).options)

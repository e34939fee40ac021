"""A result or one of our errors: a few examples for every parser; `make fuzz` tries more."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import spikerec
from tests.fuzz.parsers import PARSERS, Parser
from tests.fuzz.strategies import files

EXAMPLES = 30
PACKAGE = Path(spikerec.__file__).parent

#: Calls that parse a file's bytes.
PARSING = re.compile(
    r"(np|numpy)\.(load|memmap|fromfile)|mmap\.mmap|torch\.load|Image\.open|av\.open|h5py\.File|open_zip"
    r"|(zipfile\.)?ZipFile|tarfile\.open|safe_open|load_file|(scipy\.io\.)?loadmat"
    r"|csv\.(reader|DictReader)|open_container|open_image|\w*\.?Unpickler"
)

#: Modules that parse only what the package itself ships, or what this very process or command wrote
#: into a folder of its own, or a file of a known digest; with what they parse.
OWN_FILES = {
    "weights.shipped": "weights that come with the package",
    "inference.export": "the archive just written, to say what it was made of",
    "streaming.sinks.arrays": "the array being written, and marks of ours",
    "streaming.sinks.pictures": "marks of ours, by the reader of images",
    "streaming.sinks.videos": "segments and marks of ours, by the reader of videos",
    "results.page.page": "pictures of records: bounded, and left out where they fail",
    "streaming.animations": "videos of records: bounded, and left out where they fail",
}


def parses(source: str) -> list[str]:
    """The calls of a module that parse a file's bytes."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [name for call in calls if PARSING.fullmatch(name := ast.unparse(call.func))]


def test_every_module_that_parses_files_is_tried() -> None:
    names = {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for path in PACKAGE.rglob("*.py")
        if parses(path.read_text(encoding="utf-8"))
    }
    tried = {name for parser in PARSERS for name in parser.modules}
    assert names <= tried | OWN_FILES.keys()
    assert not tried & OWN_FILES.keys()
    assert OWN_FILES.keys() <= names


@pytest.mark.parametrize("call", ["np.load(path)", "h5py.File(path)", "Image.open(path, 'r')"])
def test_a_module_that_parses_files_is_seen(call: str) -> None:
    assert parses(f"def f(path):\n    return {call}")


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_some_seed_is_read(parser: Parser) -> None:
    assert "read" in {parser.try_on(seed) for seed in parser.seeds()}


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
@settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_any_file_is_read_or_refused(parser: Parser, data: st.DataObject) -> None:
    parser.try_on(data.draw(files(parser)))

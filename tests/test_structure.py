"""The house's rules: imports run one way, every choice can be built, names agree."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import spikerec
from spikerec.configs import config_dir, config_names, load_config

PACKAGE = Path(spikerec.__file__).parent
MODELS = config_names("model")


def stated_order() -> list[set[str]]:
    """Rooms and root modules, the upper first, as CONTRIBUTING states them."""
    text = (PACKAGE.parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    chain = re.search(r"Imports run one way: `([^`]*)`", text)
    assert chain is not None
    return [set(re.split(r",\s*", part)) for part in re.split(r"\s*→\s*", chain[1])]


ORDER = stated_order()
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}
ROOT = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))


def imported(tree: ast.AST, package: str = "spikerec") -> Iterator[str]:
    """Full names of ours that a module imports when it runs, wherever in it the import is.

    Not those under `if TYPE_CHECKING`, which annotations alone use.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for other in node.orelse:
                yield from imported(other, package)
        elif isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name.split(".")[0] == "spikerec")
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: 1 - node.level or None] if node.level else []
            module = ".".join([*parents, *filter(None, [node.module])])
            if module.split(".")[0] == "spikerec":
                yield from (f"{module}.{one.name}" for one in node.names)
        else:
            yield from imported(node, package)


def room(name: str) -> str | None:
    """The room or root module of a full name; the package itself has none below it."""
    parts = name.split(".")
    if len(parts) == 1:
        return "spikerec"
    if parts[1] in LEVEL:
        return parts[1]
    if parts[1].startswith("__"):  # a fact about the package, such as its version
        return None
    lazily = {full.split(".")[-1]: full for full in imported(ROOT)}
    return room(lazily[parts[1]])  # what the package offers under a short name


def too_high(source: str, path: Path) -> list[str]:
    """The names a module imports from above its own room."""
    relative = path.relative_to(PACKAGE).with_suffix("").parts
    package = ".".join(["spikerec", *relative[:-1]])
    own = "spikerec" if relative == ("__init__",) else relative[0]
    rooms = {name: room(name) for name in imported(ast.parse(source), package)}
    return [name for name, one in rooms.items() if one and LEVEL.get(one, -1) < LEVEL.get(own, -1)]


MODULES = sorted(PACKAGE.rglob("*.py"))


def test_every_room_has_its_place() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert set(LEVEL) == rooms | modules


def test_imports_run_one_way() -> None:
    found = {path: too_high(path.read_text(encoding="utf-8"), path) for path in MODULES}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("spikes/bits.py", "from spikerec.models.base import Network"),
        ("spikes/bits.py", "from spikerec import models"),
        ("spikes/bits.py", "from spikerec import models as m, errors"),
        ("spikes/bits.py", "import spikerec.models.base"),
        ("spikes/bits.py", "import numpy, spikerec.apps.train as train"),
        ("spikes/bits.py", "import spikerec"),
        ("spikes/bits.py", "from spikerec import load"),
        ("spikes/bits.py", "from ..models import base"),
        ("spikes/bits.py", "from .. import models"),
        (
            "spikes/bits.py",
            "def f():\n    try:\n        from spikerec import data\n    finally: ...",
        ),
        ("results/page/page.py", "from ...apps import train"),
        ("results/page/page.py", "from spikerec.sweeps.table import rows"),
        ("weights/cache.py", "from spikerec.models import Network"),
        ("errors.py", "from spikerec.configs import build"),
        ("configs.py", "from spikerec import spikes"),
        ("kernels/threads.py", "if not TYPE_CHECKING:\n    from spikerec import spikes"),
    ],
)
def test_an_import_from_above_is_seen(place: str, source: str) -> None:
    assert too_high(source, PACKAGE / place)


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("spikes/bits.py", "from spikerec import __version__, errors"),
        ("spikes/bits.py", "from .. import kernels"),
        ("spikes/bits.py", "from .geometry import Geometry"),
        ("weights/cache.py", "if TYPE_CHECKING:\n    from spikerec.models import Network"),
        ("apps/train.py", "import spikerec.spikes, torch"),
        ("streaming/video.py", "from spikerec import load"),
    ],
)
def test_an_import_from_below_is_none_of_them(place: str, source: str) -> None:
    assert not too_high(source, PACKAGE / place)


#: Rewrites layers of certain methods for inference, which therefore run without it too.
REWRITES = PACKAGE / "inference" / "rewrites.py"


def test_nothing_outside_models_asks_for_a_method() -> None:
    classes = {load_config("model", name)["_target_"] for name in MODELS}
    methods = classes | {name.rpartition(".")[0] for name in classes}
    for path in MODULES:
        if path.relative_to(PACKAGE).parts[0] != "models" and path != REWRITES:
            names = imported(ast.parse(path.read_text(encoding="utf-8")))
            assert not set(names) & methods, path


def asks_for_device_types(source: str) -> bool:
    """True if a module compares the type of a device with a name, or asks a tensor for it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in ("is_cuda", "is_cpu", "is_mps"):
            return True
        parts = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        parts += [node.subject] if isinstance(node, ast.Match) else []
        texts = [ast.unparse(part) for part in parts]
        if any(text.endswith("device.type") or text in ("'cpu'", "'cuda'") for text in texts):
            return True
    return False


def test_one_module_chooses_by_the_type_of_a_device() -> None:
    asking = [path for path in MODULES if asks_for_device_types(path.read_text(encoding="utf-8"))]
    assert asking == [PACKAGE / "kernels" / "devices.py"]


@pytest.mark.parametrize(
    "source",
    [
        "x.device.type == 'cpu'",
        "y = 1 if 'cuda' != device.type else 2",
        "a and x.device.type in NAMES",
        "if spikes.is_cuda: ...",
        "match device.type:\n    case 'cpu': ...",
        "kind = x.device.type\nif kind == 'cpu': ...",
    ],
)
def test_a_choice_by_the_type_of_a_device_is_seen(source: str) -> None:
    assert asks_for_device_types(source)


def test_padding_is_written_once() -> None:
    for path in MODULES:
        source = path.read_text(encoding="utf-8")
        assert (".amounts(" in source) == (path == PACKAGE / "models" / "padding.py"), path


#: Read YAML and JSON within bounds: everything else does so through them.
READERS = {PACKAGE / "parsing.py", PACKAGE / "results" / "reading.py"}


def unbounded(source: str) -> list[str]:
    """Calls that parse YAML or JSON without bounds, other than of what was just written."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            own = node.args and ast.unparse(node.args[0]).startswith("json.dumps(")
            if re.fullmatch(r"yaml\.\w*load\w*|json\.loads?|OmegaConf\.load", name) and not own:
                found.append(name)
    return found


def test_documents_are_read_within_bounds() -> None:
    found = {path: unbounded(path.read_text(encoding="utf-8")) for path in MODULES}
    assert {path for path, calls in found.items() if calls} <= READERS


@pytest.mark.parametrize(
    "source",
    [
        "yaml.safe_load(text)",
        "yaml.load(text, Loader=Loader)",
        "yaml.full_load(text)",
        "yaml.safe_load_all(text)",
        "json.load(file)",
        "json.loads(path.read_text())",
        "OmegaConf.load(path)",
    ],
)
def test_a_document_read_without_bounds_is_seen(source: str) -> None:
    assert unbounded(source)


def test_only_apps_know_hydra() -> None:
    free = {"cli.py", "configs.py"}
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name == "apps" or path.name in free:
            continue
        source = path.read_text(encoding="utf-8")
        assert "import hydra" not in source, path
        assert "from hydra" not in source, path
        assert "import omegaconf" not in source, path
        assert "from omegaconf" not in source, path


@pytest.mark.parametrize("name", MODELS)
def test_key_is_the_module_that_holds_the_class(name: str) -> None:
    module = load_config("model", name)["_target_"].split(".")[2]
    # models/base.py is the contract of all networks, so the one named `base` is in base_net.py.
    assert name.startswith(module.removesuffix("_net"))


def test_every_config_says_what_it_is() -> None:
    for path in config_dir().rglob("*.yaml"):
        first = path.read_text(encoding="utf-8").splitlines()[:2]
        assert any(line.startswith("# ") and "@package" not in line for line in first), path


#: First words that make half a sentence of a headline: "Where the file is." names no subject.
HALF = re.compile(r"(What|Whether|How|Where|Of|That|When|Why|Which)\b")


def headlines(source: str) -> Iterator[tuple[int, str]]:
    """Line and first words of each docstring and each comment on a constant (`#:`)."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text
    lines = ["", *source.splitlines()]
    for number, (before, line) in enumerate(itertools.pairwise(lines), 1):
        if line.lstrip().startswith("#: ") and not before.lstrip().startswith("#:"):
            yield number, line.lstrip().removeprefix("#: ")


def half_sentences(source: str) -> list[int]:
    """Lines whose docstring or comment begins with half a sentence."""
    return [line for line, text in headlines(source) if HALF.match(text)]


def test_headlines_are_whole_sentences_or_noun_phrases() -> None:
    root = PACKAGE.parents[1]
    files = [
        path
        for room in ("src", "benchmarks", "tests", "docs/examples")
        for path in root.glob(room + "/**/*.py")
    ]
    found = [
        f"{path.relative_to(root)}:{line}"
        for path in files
        for line in half_sentences(path.read_text(encoding="utf-8"))
    ]
    found += [
        f"{path.relative_to(root)}:{number}"
        for path in root.glob("conf/**/*.yaml")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if HALF.match(line.lstrip("# ")) and line.startswith("#")
    ]
    assert not found


@pytest.mark.parametrize(
    "source",
    [
        '"""What a stream is."""',
        'def f():\n    """Whether it is there."""',
        "#: Where files go.\nFOLDER = 1",
        'class A:\n    """How it works.\n\n    More.\n    """',
    ],
)
def test_a_half_sentence_is_seen(source: str) -> None:
    assert half_sentences(source)


@pytest.mark.parametrize(
    "source",
    [
        '"""Return the spikes.\n\nWhat else is there."""',
        "#: Names of files\n#: Which exist.\nA = 1",
    ],
)
def test_a_whole_one_is_not(source: str) -> None:
    assert not half_sentences(source)

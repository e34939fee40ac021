"""Records from strangers: a bad one is left out by name, and the board is always made."""

from __future__ import annotations

import copy
import io
import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from spikerec.results import Problem, Record, Samples
from spikerec.results.boards import gather
from spikerec.results.fields import MOST_SAMPLES
from spikerec.results.formats import comma_separated, csv_rows, latex, markdown
from spikerec.results.page import render
from spikerec.results.reading import BOUNDS
from spikerec.results.record import identify
from spikerec.results.references import references
from spikerec.results.store import scan
from spikerec.results.tables import board_table, standings
from spikerec.results.terminal import terminal, terminal_training
from tests.hangs import no_hang
from tests.results.records import make_record, save_pictures

Content = dict[str, Any]


def make_everything(folder: Path) -> tuple[str, list[Problem]]:
    """All formats of the board of a folder, as one text that must be writable; and the problems."""
    boards, problems = gather(scan([folder]))
    stands = standings(boards)
    console = Console(width=80, file=io.StringIO(), record=True)
    for board in boards:
        console.print(terminal(board, stands, console))
        console.print(terminal_training(board))
    page = render(
        boards,
        stands,
        references(),
        problems,
        [folder],
        images_per_board=2,
        image_side=64,
        image_megabytes=1,
    )
    data = page.partition('id="data">')[2].partition("</script>")[0]
    json.loads(data, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    texts = [
        page,
        console.export_text(),
        markdown([board_table(board, stands) for board in boards]),
        comma_separated(csv_rows(boards, stands)) if boards else "",
        *(latex(board, stands) for board in boards),
        *(problem.reason for problem in problems),
    ]
    whole = "\n".join(texts)
    whole.encode()
    return whole, problems


def write(path: Path, content: Content, **json_options: Any) -> None:
    """A record's file whose id fits, whatever its content."""
    parts = {key: value for key, value in content.items() if key != "id"}
    lines = (f'"{key}": {json.dumps(value, **json_options)}' for key, value in parts.items())
    body = ",\n".join(lines) + "}\n"
    try:
        created = replace(make_record(), created=content["created"]).created
    except Exception:  # noqa: BLE001 (a time that is none, which some cases want)
        created = make_record().created
    name = identify(created, body.encode(errors="replace").decode())
    path.write_bytes(f'{{"id": "{name}",\n{body}'.encode(errors="surrogatepass"))


def stranger() -> Content:
    """A valid record of another method, as plain values."""
    record = make_record("WGSE", images={"scene00/0": {"prediction": "images/p.png"}})
    return json.loads(record.to_json())


def _set(place: str, value: Any) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        *way, last = place.split("/")
        for key in way:
            content = content[key]
        content[last] = value

    return change


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


CASES = {
    "a value of 401 digits": (
        _set("samples/values/psnr", [10**400] * 20),
        "more than 64 bits at samples.values.psnr.0",
    ),
    "a large value": (
        _set("samples/values/psnr", [1e300] * 20),
        "samples.values.psnr must hold numbers up to 1e",
    ),
    "the year 1": (_set("created", "0001-01-01T00:00:00+14:00"), "must be an ISO 8601 time"),
    "the year 9999": (_set("created", "9999-12-31T23:59:59-14:00"), "must be an ISO 8601 time"),
    "a lone surrogate": (_set("label", "\ud800"), "not Unicode at label"),
    "a lone surrogate in a key": (_set("config", {"\udfff": 1}), "not Unicode at config"),
    "latency: 5": (_set("efficiency/latency", 5), "efficiency.latency must be a list"),
    "latency: text": (_set("efficiency/latency", "fast"), "efficiency.latency must be a list"),
    "a latency of text": (
        _set("efficiency/latency", [7]),
        "efficiency.latency.0 must be an object, found 7",
    ),
    "many latencies": (
        _set("efficiency/latency", [{"size": [1, 1], "median_ms": 1, "device": "x"}] * 101),
        "efficiency.latency must have at most 100 items",
    ),
    "a device of numbers": (
        _set("efficiency/latency", [{"size": [1, 1], "median_ms": 1, "device": 5}]),
        "efficiency.latency.0.device must be text",
    ),
    "a size of 0": (
        _set("efficiency/size", [0, 5]),
        "efficiency.size.0 must be greater than or equal to 1",
    ),
    "a size of text": (_set("efficiency/size", "720"), "efficiency.size must have at most 2"),
    "no size": (_set("efficiency/size", None), "efficiency.size must be a list, found None"),
    "parameters beyond number": (
        _set("efficiency/params", 1e300),
        "efficiency.params must be less than",
    ),
    "a light scale beyond number": (
        _set("dataset/light_scale", 1e300),
        "dataset.light_scale must be less than",
    ),
    "deep nesting": (_set("config", nested(33)), "more than 32 levels .* at config,"),
    "deeper nesting": (_set("config", nested(900)), "more than 32 levels .* at config,"),
    "NUL in an image's path": (
        _set("images", {"scene00/0": {"prediction": "a\0.png"}}),
        "inside the results folder",
    ),
    "an image outside": (
        _set("images", {"scene00/0": {"prediction": "../../x.png"}}),
        "inside the results folder",
    ),
    "an image's path too long": (
        _set("images", {"scene00/0": {"prediction": "x" * 2000}}),
        "images.scene00/0.prediction must have at most 1000 characters",
    ),
    "100,001 samples": (
        _set(
            "samples",
            {
                "keys": [str(i) for i in range(MOST_SAMPLES + 1)],
                "values": {},
                "higher_is_better": {},
                "mirrored": [0] * (MOST_SAMPLES + 1),
                "covariates": {},
                "conditions": {},
            },
        ),
        "samples.keys must have at most 100,000 items, found 100,001",
    ),
    "100,001 keys in the configuration": (
        _set("config", {str(i): i for i in range(MOST_SAMPLES + 1)}),
        "config must have at most 1,000,000 characters",
    ),
    "100,001 metrics": (
        _set("samples/values", {str(i): [1.0] * 20 for i in range(100)} | {"x": [1.0] * 20}),
        "samples.values must have at most 100 items, found 101",
    ),
    "no samples": (
        _set(
            "samples",
            {
                "keys": [],
                "values": {},
                "higher_is_better": {},
                "mirrored": [],
                "covariates": {},
                "conditions": {},
            },
        ),
        "samples.keys must have at least 1 item, found 0",
    ),
    "a long label": (_set("label", "x" * 201), "label must have at most 200"),
    "a metric's name that a terminal obeys": (
        _set("unavailable", {"\x1b[2J": "no"}),
        "printable characters",
    ),
    "an empty method": (_set("method", ""), "method must have at least 1 character"),
    "a long data set's name": (
        _set("dataset/name", "x" * 300),
        "dataset.name must have at most 100 characters",
    ),
    "a huge description": (
        _set("protocol/description", {"metrics": "x" * 1_100_000}),
        "protocol.description must have at most 1,000,000",
    ),
    "a schema of true": (_set("schema", True), "whole number `schema`"),
    "not a number": (_set("efficiency/params", float("nan")), "not finite at efficiency.params"),
    "true for a number": (_set("efficiency/params", True), "efficiency.params must be a number"),
    "true for a value": (
        _set("samples/values/psnr", [True] * 20),
        "psnr must be a list of numbers",
    ),
    "a value of text": (_set("samples/values/psnr", ["1"] * 20), "psnr must be a list of numbers"),
    "true for a count": (_set("dataset/num_samples", True), "num_samples must be a whole number"),
    "a part for a count": (_set("dataset/num_samples", 1.5), "num_samples must be a whole number"),
    "1 for true": (_set("dataset/has_target", 1), "has_target must be true or false, found 1"),
    "no data": (_set("dataset", None), "dataset must be an object, found None"),
    "weights of text": (_set("weights", "secret!"), "weights must be an object, found text of 7"),
    "reasons of numbers": (_set("unavailable", {"x": 5}), "unavailable.x must be text, found 5"),
    "a picture of numbers": (_set("images", {"scene00/0": 5}), "scene00/0 must be an object"),
    "many reasons": (
        _set("unavailable", {str(i): "no" for i in range(100_000)}),
        "unavailable must have at most 100 items, found 100,000",
    ),
    "a number beyond 64 bits": (_set("config/seed", 2**64), "more than 64 bits at config.seed"),
    "an infinite value": (
        _set("samples/values/psnr", [float("inf")] * 20),
        "not finite at samples.values.psnr.0",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_bad_record_never_stops_the_board(tmp_path: Path, case: str) -> None:
    change, reason = CASES[case]
    make_record("STIR").write(tmp_path)
    content = stranger()
    change(content)
    write(tmp_path / "bad.json", content)
    text, problems = make_everything(tmp_path)
    assert "38.80" in text
    assert [problem.name for problem in problems] == ["bad.json"]
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(problems[0].reason)
    assert len(problems[0].reason) < 500  # the file's content is not repeated
    assert "secret" not in problems[0].reason


def test_a_key_stated_twice_is_named(tmp_path: Path) -> None:
    path = make_record("STIR").write(tmp_path)
    text = path.read_text()
    path.write_text(text.replace('"seed":0', '"seed":0,"seed":1'))
    (problem,) = scan([tmp_path])
    assert "a key twice in one mapping at config" in problem.reason


def test_a_million_wrong_items_are_refused_at_once(tmp_path: Path) -> None:
    content = stranger()
    content["unavailable"] = dict.fromkeys(map(str, range(1_000_000)), 5)
    write(tmp_path / "bad.json", content)
    with no_hang():
        (problem,) = scan([tmp_path])
    assert "unavailable must have at most 100 items" in problem.reason


def test_a_stranger_that_is_sound_is_shown(tmp_path: Path) -> None:
    make_record("STIR").write(tmp_path)
    write(tmp_path / "good.json", stranger())
    text, problems = make_everything(tmp_path)
    assert not problems
    assert "| WGSE |" in text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.json", b""),
        ("null.json", b"null"),
        ("list.json", b"[]"),
        ("latin.json", b'{"schema": 2, "label": "\xe9"}'),
        ("brackets.json", b"[" * 1_000_000),
        ("digits.json", b'{"schema": ' + b"9" * 5000 + b"}"),
        ("escape.json", b'{"schema": 2, "label": "\\'),
        ("bom.json", b"\xef\xbb\xbf{}"),
        ("quote.json", b'"' * 1001),
        ("name\x1b[2J.json", b"{}"),
        (os.fsdecode(b"name\xff.json"), b"{}"),
    ],
)
def test_files_that_are_no_records_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    make_record("STIR").write(tmp_path)
    (tmp_path / name).write_bytes(content)
    text, problems = make_everything(tmp_path)
    assert "38.80" in text
    assert len(problems) == 1
    assert problems[0].name.isprintable()


def test_what_is_no_file_is_left_out_at_once(tmp_path: Path) -> None:
    make_record("STIR").write(tmp_path)
    os.mkfifo(tmp_path / "pipe.json")  # reading it would wait for ever
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(BOUNDS.bytes + 1)
    text, problems = make_everything(tmp_path)
    assert "38.80" in text
    names = ["folder.json", "gone.json", "large.json", "pipe.json", "zero.json"]
    assert [problem.name for problem in problems] == names


def test_a_record_that_vanishes_while_the_board_is_made_is_left_out(tmp_path: Path) -> None:
    path = make_record("STIR").write(tmp_path)
    make_record("WGSE").write(tmp_path)
    items = list(scan([tmp_path]))
    path.unlink()
    (board,), problems = gather(items)
    assert list(board.rows) == ["WGSE"]
    assert len(problems) == 1
    assert "does not exist" in problems[0].reason


def _png(width: int, height: int) -> bytes:
    """A PNG whose header states a size, without pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@pytest.mark.parametrize(
    "content",
    [
        _png(13_300, 13_300),
        _png(2**31 - 1, 2**31 - 1),
        _png(0, 0),
        _png(100, 100)[:60],
        _png(100, 100),
        b"\x89PNG\r\n\x1a\n",
        b"P5 10 10 255\n" + b"x" * 100,
        b"",
    ],
)
def test_pictures_that_cannot_be_shown_are_left_out(tmp_path: Path, content: bytes) -> None:
    record = save_pictures(tmp_path, make_record("STIR"), ["scene00/0"])
    record.write(tmp_path)
    (tmp_path / record.images["scene00/0"]["prediction"]).write_bytes(content)
    text, problems = make_everything(tmp_path)
    assert not problems
    assert '"imagesLeftOut":1' in text


# ------------------------------------------------------------------------ anything at all

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**45), 10**45)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["\ud800", "\0", "\x1b[2J", "=1", "../x", "</script>", "2026-01-01", 10**400]
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def _places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Ways to every value inside a record, but for the many of its samples."""
    found = [way] if way else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += _places(item, (*way, key))
    elif isinstance(value, list):
        for index, item in enumerate(value[:2]):
            found += _places(item, (*way, index))
    return found


PLACES = _places(stranger())


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.sampled_from(PLACES), st.sampled_from(["set", "drop", "key"]), ANYTHING),
        min_size=1,
        max_size=3,
    )
)
def test_the_board_is_made_whatever_a_record_holds(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[tuple[Any, ...], str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    try:
        make_record("STIR").write(folder)
        content = copy.deepcopy(stranger())
        for way, kind, value in changes:
            try:
                holder = content
                for key in way[:-1]:
                    holder = holder[key]
                if kind == "drop":
                    del holder[way[-1]]
                elif kind == "key" and isinstance(holder, dict):
                    holder[str(value)] = holder.pop(way[-1])
                else:
                    holder[way[-1]] = value
            except (KeyError, IndexError, TypeError, AttributeError):
                pass  # an earlier change has taken the place away
        write(folder / "bad.json", content)
        text, problems = make_everything(folder)
        # Of two records that hold other samples of one set, a board shows one, and names the other.
        assert "38.80" in text or "evaluated on other samples" in str(problems)
        assert "</script><script>" not in text
    finally:
        shutil.rmtree(folder)


def test_the_samples_of_one_record_cannot_hang_the_statistics(tmp_path: Path) -> None:
    keys = [f"s{i}" for i in range(MOST_SAMPLES)]
    for label, shift in (("STIR", 1.0), ("WGSE", 0.0)):
        column = [(i % 97) / 10 + shift for i in range(MOST_SAMPLES)]
        record = make_record(label, samples=Samples(keys, {"psnr": column}, {"psnr": True}))
        record.write(tmp_path)
    (board,), _ = gather(scan([tmp_path]))
    stand = standings([board])[board.name]["psnr"]
    assert stand.ranks == {"STIR": 1, "WGSE": 2}
    low, high = stand.intervals["STIR"][1:]
    assert high - low == pytest.approx(2 * 1.96 * 2.8 / MOST_SAMPLES**0.5, rel=0.01)


def test_a_record_in_memory_is_bounded_as_one_in_a_file() -> None:
    record: Record = make_record("STIR")
    with pytest.raises(ValueError, match="label must have at most 200"):
        replace(record, label="x" * 201)

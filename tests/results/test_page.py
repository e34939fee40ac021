"""The page in text; test_browser.py opens it in a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from spikerec.results import Record
from spikerec.results.boards import gather
from spikerec.results.page import render
from spikerec.results.references import references
from spikerec.results.tables import standings
from tests.results.hostile_texts import MARK, TEXTS, hostile_record
from tests.results.records import factor_record, make_record, save_pictures


def _page(folder: Path, *records: Record, **options: Any) -> str:
    boards, problems = gather(records)
    limits = {"images_per_board": 4, "image_side": 100, "image_megabytes": 1.0} | options
    return render(boards, standings(boards), references(), problems, [folder], **limits)


def _data(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    page = _page(tmp_path, make_record())
    assert "default-src 'none'" in page
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", page)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert "/* data */" not in page
    assert "/* page." not in page


def test_texts_of_records_cannot_end_the_script(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><!--"
    record = replace(make_record(config={"note": evil}), label=evil)
    page = _page(tmp_path, record)
    assert page.count("<script") == _page(tmp_path, make_record()).count("<script")
    assert evil not in page
    assert _data(page)["boards"][0]["rows"][0]["label"] == evil


def test_placeholders_in_records_stay_as_they_are(tmp_path: Path) -> None:
    label = "/* page.js */ /* data */ /* page.css */"
    page = _page(tmp_path, replace(make_record(), label=label))
    assert _data(page)["boards"][0]["rows"][0]["label"] == label
    assert page.count('"use strict"') == _page(tmp_path, make_record()).count('"use strict"')


def test_every_figure_carries_its_provenance(tmp_path: Path) -> None:
    record = make_record("STIR")
    (row,) = _data(_page(tmp_path, record))["boards"][0]["rows"]
    assert row["record"]["id"] == record.id
    assert row["record"]["file"] == record.file_name
    assert row["record"]["config"] == record.config
    assert row["record"]["code"]["revision"] == "f" * 40
    assert row["figures"]["psnr"]["reported"] == 38.79


def test_curves_have_a_value_for_every_row_and_level(tmp_path: Path) -> None:
    steady = factor_record("STIR", [30.0] * 6, [30.0] * 3)
    fading = factor_record("WGSE", [20.0] + [30.0] * 5, [30.0] * 3)
    (board,) = _data(_page(tmp_path, steady, fading))["boards"]
    light, noise = board["factors"]
    assert (light["title"], light["middle"]) == ("Light scale", 3)
    assert [point["text"] for point in noise["points"]] == ["ideal", "shot", "rsir"]
    place = [row["label"] for row in board["rows"]].index("WGSE")
    mean, low, high, samples = light["curves"]["psnr"][place][0]
    assert (mean, samples) == (20.0, 4)
    assert low < mean < high
    assert board["breakdown"]["factors"] == ["light_scale", "noise"]
    assert board["breakdown"]["rows"][place] == ["0.05 (−10.0 dB)", "none"]
    assert {axis["name"] for axis in board["covariates"]} >= {"light_scale", "firing_rate"}


def test_a_board_without_factors_has_no_curves_of_them(tmp_path: Path) -> None:
    (board,) = _data(_page(tmp_path, make_record()))["boards"]
    assert board["factors"] == board["covariates"] == []
    assert board["breakdown"] is None


def test_images_are_shrunk_and_embedded_once(tmp_path: Path) -> None:
    records = [
        save_pictures(tmp_path, make_record(label), ["scene00/0"]) for label in ("STIR", "WGSE")
    ]
    data = _data(_page(tmp_path, *records))
    (sample,) = data["boards"][0]["images"]
    assert set(sample["layers"]) == {"STIR", "WGSE", "Ground truth", "TFP of the window"}
    assert len(data["images"]) == 4
    assert all(image.startswith("data:image/webp;base64,") for image in data["images"])


def test_images_keep_to_the_limits(tmp_path: Path) -> None:
    keys = ["scene00/0", "scene01/0", "scene02/0"]
    record = save_pictures(tmp_path, make_record("STIR"), keys)
    assert len(_data(_page(tmp_path, record, images_per_board=2))["boards"][0]["images"]) == 2
    data = _data(_page(tmp_path, record, image_megabytes=0.006))
    assert sum(len(image) * 3 / 4 for image in data["images"]) < 6200
    assert data["imagesLeftOut"] > 0


def test_missing_and_broken_images_are_left_out(tmp_path: Path) -> None:
    record = save_pictures(tmp_path, make_record("STIR"), ["scene00/0"])
    (tmp_path / record.images["scene00/0"]["tfp"]).unlink()
    (tmp_path / record.images["scene00/0"]["target"]).write_text("no picture")
    data = _data(_page(tmp_path, record))
    assert data["imagesLeftOut"] == 2
    assert data["boards"][0]["images"] == []  # one layer alone has nothing to be compared with


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    Image.new("L", (8, 8)).save(secret)
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "a.png").symlink_to(secret)
    record = make_record(images={"scene00/0": {"prediction": "a.png"}})
    assert _data(_page(folder, record))["images"] == []


def test_the_page_grows_with_methods_and_not_with_records(tmp_path: Path) -> None:
    def repeated(count: int) -> list[Record]:
        record = make_record("STIR")
        days = (f"2026-01-01T00:{i // 60:02}:{i % 60:02}+00:00" for i in range(count))
        return [replace(record, created=day) for day in days]

    few, many = _page(tmp_path, *repeated(30)), _page(tmp_path, *repeated(300))
    assert abs(len(many) - len(few)) < 200
    (row,) = _data(many)["boards"][0]["rows"]
    assert row["runCount"] == 300
    assert len(row["history"]) == 20


def test_records_left_out_are_named(tmp_path: Path) -> None:
    stray = make_record("SSIR")
    stray = replace(stray, dataset=replace(stray.dataset, digest="e" * 64))
    data = _data(_page(tmp_path, make_record("STIR"), make_record("WGSE"), stray))
    assert data["problemCount"] == 1
    assert stray.file_name in data["problems"][0]


@pytest.mark.parametrize("kind", TEXTS)
def test_texts_of_records_stay_texts_wherever_they_are(tmp_path: Path, kind: str) -> None:
    page = _page(tmp_path, hostile_record(TEXTS[kind]), hostile_record(TEXTS[kind], number=1))
    before, data, after = re.split(r'(?<=id="data">)(.*?)(?=</script>)', page, flags=re.DOTALL)
    assert MARK not in before + after
    assert "<" not in data
    assert data.isascii()
    assert all(text.isprintable() for text in _strings(json.loads(data)))
    assert len(data) < 3_000_000


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in (*value, *value.values()):
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)

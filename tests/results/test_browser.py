"""The page in a real browser: Chromium without a window, from disk, with no network."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

import spikerec
from spikerec.apps.leaderboard import run
from tests.results.hostile_texts import MARK, TEXTS, hostile_record
from tests.results.records import (
    factor_record,
    make_record,
    trained_record,
    video_record,
    write_demo,
)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="no chromium with chromium-driver on this machine"
    ),
]

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("leaderboard")
    write_demo(folder / "results")
    images = {"per_board": 4, "side": 400, "megabytes": 4}
    run(
        OmegaConf.create(
            {
                "results": str(folder / "results"),
                "output": str(folder),
                "rows": 100,
                "images": images,
            }
        )
    )
    return folder / "leaderboard.html"


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        yield driver
        driver.quit()


@pytest.fixture
def browser(chromium: webdriver.Chrome, page: Path) -> Iterator[webdriver.Chrome]:
    """The page, freshly opened on a laptop in daylight; a message on the console is a failure."""
    _screen(chromium, 1280, 900)
    chromium.get(page.as_uri())
    yield chromium
    assert chromium.get_log("browser") == []


def _screen(browser: webdriver.Chrome, width: int, height: int, scheme: str = "light") -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def _find(browser: webdriver.Chrome, css: str) -> WebElement:
    return browser.find_element("css selector", css)


def _texts(browser: webdriver.Chrome, css: str) -> list[str]:
    return [item.text.split("\n")[0] for item in browser.find_elements("css selector", css)]


def _methods(browser: webdriver.Chrome) -> list[str]:
    return _texts(browser, "#board tbody th")


def _choose(browser: webdriver.Chrome, id_: str, text: str) -> None:
    Select(_find(browser, f"#{id_}")).select_by_visible_text(text)


def _set(browser: webdriver.Chrome, css: str, value: str) -> None:
    script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
    browser.execute_script(script, _find(browser, css), value)


def _sorted_by(browser: webdriver.Chrome) -> dict[str, str]:
    headers = browser.find_elements("css selector", "#board thead th")
    order = {h.text.rstrip("▲▼"): h.get_attribute("aria-sort") for h in headers}
    return {name: value for name, value in order.items() if value != "none"}


def test_the_board_with_published_figures_opens_first_and_best_first(
    browser: webdriver.Chrome,
) -> None:
    assert _find(browser, "#table-title").text == "sreds (test)"
    assert _methods(browser) == ["STIR", "WGSE", "Spk2ImgNet", "SSIR", "TFP (31)", "TFI"]
    assert _find(browser, "#board tbody .best").text == "38.80"
    assert "reported 38.79" in _find(browser, "#board tbody .cell").text
    ranks = _texts(browser, "#board tbody .runs")
    assert ranks == [f"rank {place} · newest of 2" for place in range(1, 7)]


def test_headers_sort_both_ways_and_say_so(browser: webdriver.Chrome) -> None:
    assert _sorted_by(browser) == {"PSNR ↑": "descending"}
    _find(browser, '[data-key="lpips"]').click()
    assert _sorted_by(browser) == {"LPIPS ↓": "ascending"}
    assert _methods(browser)[0] == "STIR"
    assert _methods(browser)[-1] == "TFI"  # it has no LPIPS
    _find(browser, '[data-key="lpips"]').click()
    assert _sorted_by(browser) == {"LPIPS ↓": "descending"}
    assert _methods(browser)[0] == "TFP (31)"
    assert _methods(browser)[-1] == "TFI"
    _find(browser, '[data-key="label"]').click()
    assert _methods(browser) == sorted(_methods(browser), key=str.lower)


def test_headers_sort_by_keyboard_and_keep_the_focus(browser: webdriver.Chrome) -> None:
    _find(browser, '[data-key="params"]').send_keys(Keys.ENTER)
    assert _sorted_by(browser) == {"Params (M)": "ascending"}
    focus = browser.switch_to.active_element
    assert focus.get_attribute("data-key") == "params"
    focus.send_keys(Keys.SPACE)
    assert _sorted_by(browser) == {"Params (M)": "descending"}


def test_the_filter_keeps_matching_methods(browser: webdriver.Chrome) -> None:
    _find(browser, "#filter").send_keys("tf")
    assert _methods(browser) == ["TFP (31)", "TFI"]
    _find(browser, "#filter").send_keys("zzz")
    assert _methods(browser) == []
    assert "No method" in _find(browser, "#board tbody").text


def test_definitions_and_data_sets_never_mix(browser: webdriver.Chrome) -> None:
    headers = [h.split(" ↓")[0] for h in _texts(browser, "#board thead th")]
    assert {"LPIPS", "LPIPS (stir)"} <= set(headers)
    ours, papers = (
        _find(browser, f"#board tbody td:nth-child({1 + headers.index(name)})").text
        for name in ("LPIPS", "LPIPS (stir)")
    )
    assert "reported" not in ours  # published under another definition
    assert "reported 0.0183" in papers
    assert "LPIPS (stir) is computed with input_range unit" in _find(browser, "#notes").text
    _choose(browser, "dataset", "recvidarreal2019 (test)")
    headers = _texts(browser, "#board thead th")
    assert [h.split(" ")[0] for h in headers[:4]] == ["Method", "Trained", "NIQE", "BRISQUE"]
    assert "PSNR" not in " ".join(headers)


def test_a_figure_opens_its_record_and_escape_returns(browser: webdriver.Chrome) -> None:
    cell = _find(browser, "#board tbody .cell")
    cell.send_keys(Keys.ENTER)
    dialog = _find(browser, "#provenance")
    assert dialog.is_displayed()
    facts = ("38.80", "stir-sreds-corrected-20260103T", "ffffffffffff", "best.ckpt", "WGSE")
    for fact in (*facts, "sreds · 77 k samples · 16 min · run stir-sreds"):
        assert fact in dialog.text
    assert "reported 38.79" in dialog.text
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not dialog.is_displayed()
    assert browser.switch_to.active_element == cell


def test_an_unavailable_figure_says_why(browser: webdriver.Chrome) -> None:
    _find(browser, "#board tbody tr:last-child [data-metric='lpips']").click()
    assert "spikerec weights fetch" in _find(browser, "#provenance").text


def test_the_front_holds_what_nothing_beats(browser: webdriver.Chrome) -> None:
    note = _find(browser, "#plot-note")
    assert "On the front: TFP (31), SSIR, STIR." in note.text
    _choose(browser, "plot-x", "FLOPs (T)")
    assert "On the front: TFP (31), SSIR, STIR." in note.text
    _choose(browser, "plot-y", "LPIPS")
    assert "On the front: TFP (31), SSIR, STIR." in note.text
    assert len(browser.find_elements("css selector", "#plot .point")) == 5  # TFI has no LPIPS
    assert browser.find_elements("css selector", "#plot .reported circle")
    _find(browser, "#reported").click()
    assert not browser.find_elements("css selector", "#plot .reported circle")


def test_a_row_measured_elsewhere_stays_in_the_chart_and_is_marked(
    browser: webdriver.Chrome,
) -> None:
    assert len(browser.find_elements("css selector", "#plot .point")) == 6
    assert len(browser.find_elements("css selector", "#plot rect.elsewhere")) == 1
    note = _find(browser, "#plot-note").text
    device = "Another Device, of a long name, 2 threads"
    assert f"Square: measured on {device}, not to be compared in time: TFI." in note
    place = "250×400 on Test GPU"
    cell = _find(browser, f"#board tbody tr:last-child [data-metric='{place}']")
    assert cell.text == "9.0 *"
    assert cell.get_attribute("title") == f"* measured elsewhere: {device}"


def test_the_training_stands_beside_the_method_where_there_is_room(
    browser: webdriver.Chrome,
) -> None:
    assert _texts(browser, "#board thead th")[1] == "Trained on"
    cell = _find(browser, "#board tbody .trained")
    assert cell.text == "sreds · 77 k samples · 16 min · run stir-sreds"
    _screen(browser, 390, 844)
    browser.refresh()
    assert _texts(browser, "#board thead th")[-1] == "Trained on"


def test_a_point_opens_its_record_by_keyboard(browser: webdriver.Chrome) -> None:
    mark = _find(browser, "#plot .mark.front[role='button']")
    browser.execute_script("arguments[0].focus()", mark)
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    assert _find(browser, "#provenance").is_displayed()


def test_methods_are_compared_sample_by_sample(browser: webdriver.Chrome) -> None:
    verdict = _find(browser, "#verdict")
    assert verdict.text.startswith("STIR leads. STIR − WGSE: +")
    assert len(browser.find_elements("css selector", "#differences .bar")) == 20
    _choose(browser, "first", "WGSE")
    _choose(browser, "second", "STIR")
    assert verdict.text.startswith("STIR leads. WGSE − STIR: −")
    _choose(browser, "first", "STIR")
    assert verdict.text == "Choose two different methods."


def test_a_bar_with_pictures_chooses_its_sample(browser: webdriver.Chrome) -> None:
    bar = _find(browser, "#differences .bar[data-key='scene03/1']")
    browser.execute_script("arguments[0].focus()", bar)
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    assert _find(browser, "#sample").get_attribute("value") == "scene03/1"
    assert "chosen" in (bar.get_attribute("class") or "")


def test_the_slider_moves_the_border(browser: webdriver.Chrome) -> None:
    _set(browser, "#reveal", "25")
    assert (
        _find(browser, "#stage .over")
        .value_of_css_property("clip-path")
        .startswith("inset(0px 75%")
    )
    slider = _find(browser, "#reveal")
    slider.send_keys(Keys.ARROW_RIGHT)
    assert slider.get_attribute("value") == "26"
    assert "inset(0px 74%" in _find(browser, "#stage .over").value_of_css_property("clip-path")


def test_dragging_over_the_picture_moves_the_border(browser: webdriver.Chrome) -> None:
    view = _find(browser, "#stage .view")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", view)
    quarter = view.size["width"] // 4
    actions = ActionChains(browser).move_to_element(view).click_and_hold()
    actions.move_by_offset(-quarter, 0).release().perform()
    assert abs(int(_find(browser, "#reveal").get_attribute("value") or 0) - 25) <= 1


def test_all_pictures_are_magnified_together(browser: webdriver.Chrome) -> None:
    _find(browser, "#view-grid").click()
    views = browser.find_elements("css selector", "#stage .view")
    assert len(views) == 8  # six methods, the truth, and TFP of the window
    views[3].send_keys("++")
    assert _find(browser, "#zoom").text == "2.3×"
    views[3].send_keys(Keys.ARROW_LEFT)
    images = browser.find_elements("css selector", "#stage img")
    assert len({image.get_attribute("style") for image in images}) == 1
    assert "scale(2.25)" in (images[0].get_attribute("style") or "")
    views[0].send_keys("0")
    assert _find(browser, "#zoom").text == "1×"


def test_the_theme_follows_the_system_and_the_button(browser: webdriver.Chrome) -> None:
    def ground() -> str:
        return _find(browser, "html").value_of_css_property("background-color")

    light = ground()
    _screen(browser, 1280, 900, "dark")
    WebDriverWait(browser, 10).until(lambda _: ground() != light)  # told at the next frame
    _find(browser, "#theme").click()
    assert ground() == light


def test_a_phone_scrolls_the_table_and_not_the_page(browser: webdriver.Chrome) -> None:
    _screen(browser, 390, 844, "dark")
    browser.refresh()
    widths = "return [document.documentElement.scrollWidth, innerWidth]"
    page_width, screen_width = browser.execute_script(widths)
    assert page_width == screen_width == 390
    region = _find(browser, "#table-section .scroll")
    inner = browser.execute_script("return arguments[0].scrollWidth", region)
    assert inner > region.size["width"]
    for css in ("#theme", "#filter", "#board .cell", "#zoom-in"):
        assert _find(browser, css).size["height"] >= 40  # wide enough for a finger


def test_what_was_left_out_is_named(browser: webdriver.Chrome) -> None:
    assert "cut-short.json" in _find(browser, "#problems").text


def test_a_message_on_the_console_would_be_seen(chromium: webdriver.Chrome, page: Path) -> None:
    chromium.get(page.as_uri())
    chromium.execute_script("setTimeout(() => { throw new Error('seen') })")
    messages = [entry["message"] for entry in chromium.get_log("browser")]
    assert any("seen" in message for message in messages)


def test_every_control_has_a_name(browser: webdriver.Chrome) -> None:
    script = """
        return [...document.querySelectorAll('button, select, input')]
            .filter((e) => !(e.textContent.trim() && e.tagName === 'BUTTON'))
            .filter((e) => !e.labels?.length && !e.ariaLabel).map((e) => e.outerHTML)"""
    assert browser.execute_script(script) == []


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board for each hostile text, with pictures."""
    folder = tmp_path_factory.mktemp("hostile")
    for text in TEXTS.values():
        for number in range(2):
            hostile_record(text, number).write(folder)
    for name in "pqt":
        Image.new("L", (40, 30), 90).save(folder / f"{name}.png")
    board = spikerec.leaderboard(str(folder))
    assert len(board.boards) == len(TEXTS)
    return board.save(folder / "page.html")


@pytest.mark.parametrize("width", [1280, 390])
def test_no_text_of_a_record_runs_or_leaves_its_place(
    chromium: webdriver.Chrome, hostile_page: Path, width: int
) -> None:
    _screen(chromium, width, 900)
    chromium.get(hostile_page.as_uri())
    sizes = "const e = arguments[0]; return [e.scrollWidth, e.clientWidth]"
    for index in range(len(TEXTS)):
        Select(_find(chromium, "#dataset")).select_by_index(index)
        name = _find(chromium, "#table-title").text[:60]
        assert _methods(chromium), name
        inner, outer = chromium.execute_script(sizes, _find(chromium, "html"))
        assert inner <= outer, name
        assert _find(chromium, "#board tbody th").size["width"] <= 360, name
        chromium.execute_script("document.querySelector('#board .cell').click()")
        dialog = _find(chromium, "#provenance")
        assert dialog.is_displayed(), name
        inner, outer = chromium.execute_script(sizes, dialog)
        assert inner <= outer, name
        chromium.execute_script("arguments[0].close()", dialog)
    assert chromium.execute_script(f"return window.{MARK}") is None
    assert chromium.get_log("browser") == []


@pytest.fixture(scope="module")
def factors_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("factors")
    long = "HyperE2VID, state carried from the start"
    records = [
        factor_record("STIR", [20.0] + [30.0] * 5, [30.0] * 3),
        factor_record("TFP (31)", [21.0] * 6, [21.0] * 3),
        replace(factor_record("WGSE", [28.0] * 6, [28.0, 28.0, 20.0]), label=long),
    ]
    return spikerec.leaderboard(records).save(folder / "leaderboard.html")


def test_panels_and_table_say_where_methods_break_down(
    chromium: webdriver.Chrome, factors_page: Path
) -> None:
    _screen(chromium, 1280, 900)
    chromium.get(factors_page.as_uri())
    assert _texts(chromium, "#factors .heading") == ["Light scale", "Noise"]
    assert len(chromium.find_elements("css selector", "#factors .series")) == 6
    cells = [cell.text for cell in chromium.find_elements("css selector", "#breakdown tbody td")]
    assert set(cells) == {"0.05 (< TFP, −10.0 dB)", "rsir (< TFP, −8.0 dB)", "none"}
    _find(chromium, "#factors-key button").click()
    assert len(chromium.find_elements("css selector", "#factors .series")) == 4
    assert _find(chromium, "#factors-key button").get_attribute("aria-pressed") == "false"


def test_a_point_of_a_curve_opens_its_record(
    chromium: webdriver.Chrome, factors_page: Path
) -> None:
    _screen(chromium, 1280, 900)
    chromium.get(factors_page.as_uri())
    dot = _find(chromium, "#factors .series .dot")
    chromium.execute_script("arguments[0].dispatchEvent(new MouseEvent('click'))", dot)
    told = _find(chromium, "#provenance").text
    assert "Of the samples with Light scale 0.05." in told
    assert "mean of 4 of 32 samples" in told
    assert "-robustness-corrected-" in told


@pytest.fixture(scope="module")
def learning_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("learning")
    records = [
        trained_record("STIR"),
        trained_record("WGSE", psnr=(20.0, 21.0, 22.0, 23.0)),
        trained_record("SSIR", clock="processor", seconds=None, budget=None),
        make_record("TFI"),
    ]
    return spikerec.leaderboard(records).save(folder / "leaderboard.html")


def test_curves_against_training_are_drawn_budget_by_budget(
    chromium: webdriver.Chrome, learning_page: Path
) -> None:
    _screen(chromium, 1280, 900)
    chromium.get(learning_page.as_uri())
    assert _texts(chromium, "#learning-key button") == ["STIR", "WGSE"]
    assert len(chromium.find_elements("css selector", "#learning .series")) == 2
    assert "budget of 3 min, on Test CPU" in _find(chromium, "#learning-what").text
    cells = [cell.text for cell in chromium.find_elements("css selector", "#learning-table td")]
    assert cells[-7:] == ["400 of 96×96", "3 min", "20.00", "21.00", "22.00", "23.00", "+1.00"]
    _find(chromium, "#learning-key button").click()
    assert len(chromium.find_elements("css selector", "#learning .series")) == 1
    _choose(chromium, "learning-x", "Samples seen")
    assert _texts(chromium, "#learning .title") == ["Samples seen →"]
    _choose(chromium, "learning-group", "2. no budget")
    assert _texts(chromium, "#learning-key button") == ["SSIR"]
    assert _texts(chromium, "#learning-x option") == ["Samples seen"]
    assert chromium.get_log("browser") == []


@pytest.fixture(scope="module")
def videos_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    (folder / "results").mkdir()
    for name, grey in (("STIR", 100), ("TFI", 200)):
        record = video_record(name, folder / "results", grey)
        (folder / "results" / f"{name}.json").write_text(record.to_json())
    images = {"per_board": 4, "side": 400, "megabytes": 4}
    paths = {"results": str(folder / "results"), "output": str(folder)}
    run(OmegaConf.create(paths | {"rows": 100, "images": images}))
    return folder / "leaderboard.html"


#: The grey level in the middle of each video that is shown, by the name below it.
SHOWN = """
const shown = {};
for (const figure of document.querySelectorAll(".video-grid figure")) {
  const canvas = figure.querySelector("canvas");
  const middle = canvas.getContext("2d").getImageData(canvas.width / 2, canvas.height / 2, 1, 1);
  shown[figure.querySelector("b").textContent] = middle.data[3] ? middle.data[0] : null;
}
return shown;
"""


def _shown(browser: webdriver.Chrome) -> dict[str, int]:
    """The greys of all videos, once their pictures are there."""

    def all_drawn(_: object) -> dict[str, int] | None:
        shown: dict[str, int | None] = browser.execute_script(SHOWN)
        known = {name: grey for name, grey in shown.items() if grey is not None}
        return known if known and len(known) == len(shown) else None

    return WebDriverWait(browser, 20).until(all_drawn)  # type: ignore[return-value]


def test_videos_play_in_step_with_their_curves(
    chromium: webdriver.Chrome, videos_page: Path
) -> None:
    _screen(chromium, 1280, 900)
    chromium.get(videos_page.as_uri())
    names = {"Ground truth": 0, "STIR": 100, "TFI": 200}
    assert _shown(chromium) == pytest.approx(names, abs=3)  # as the page compresses pictures
    assert _find(chromium, "#video-where").text == "image 1 of 6 · readout 10"
    assert len(chromium.find_elements("css selector", ".video-curve")) == 2

    _set(chromium, "#video-seek", "4")
    assert _shown(chromium) == pytest.approx({k: grey + 16 for k, grey in names.items()}, abs=3)
    assert _find(chromium, "#video-where").text == "image 5 of 6 · readout 50"
    told = _texts(chromium, ".video-grid b + *")
    assert sorted(told) == ["", "22.60", "42.60"]  # PSNR of the image that is shown

    _find(chromium, ".video-chips button").click()
    assert set(_shown(chromium)) == {"Ground truth", "TFI"}
    assert len(chromium.find_elements("css selector", ".video-curve")) == 1

    _choose(chromium, "video-clip", "fan")
    assert _find(chromium, "#video-where").text == "image 1 of 6 · readout 10"
    _find(chromium, "#video-play").click()
    WebDriverWait(chromium, 20).until(lambda _: "image 3" in _find(chromium, "#video-where").text)
    _find(chromium, "#video-play").click()
    assert _find(chromium, "#video-play").text == "Play"
    messages = chromium.get_log("browser")  # warnings are of this test's own look at the canvas
    assert [one for one in messages if one["level"] == "SEVERE"] == []


#: The texts of charts that leave their chart, and the choices that are wider than their box.
CUT = """
const box = (node) => node.getBoundingClientRect();
const cut = [...document.querySelectorAll("svg text")].filter((text) => {
  const [own, chart] = [box(text), box(text.closest("svg"))];
  return own.width && (own.left < chart.left - 1 || own.right > chart.right + 1);
}).map((text) => text.textContent);
const pen = document.createElement("canvas").getContext("2d");
for (const select of document.querySelectorAll("select")) {
  pen.font = getComputedStyle(select).font;
  const text = select.selectedOptions[0]?.textContent ?? "";
  if (box(select).width && pen.measureText(text).width > box(select).width - 30) cut.push(text);
}
for (const name of document.querySelectorAll("tbody th")) {
  if (name.scrollWidth > name.clientWidth + 1) cut.push(name.textContent);
}
return cut;
"""


def test_a_phone_shows_names_titles_and_choices_whole(
    chromium: webdriver.Chrome,
    page: Path,
    factors_page: Path,
    learning_page: Path,
    videos_page: Path,
) -> None:
    _screen(chromium, 420, 900)
    for one in (page, factors_page, learning_page, videos_page):
        chromium.get(one.as_uri())
        assert chromium.execute_script(CUT) == []
        assert chromium.execute_script("return document.documentElement.scrollWidth") <= 420

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path
from threading import Thread, active_count

import numpy as np
import pytest
from PIL import Image

from spikerec import spikes
from spikerec.configs import build
from spikerec.errors import ConfigError
from spikerec.streaming import viewer as module
from spikerec.streaming.light import Tone
from spikerec.streaming.viewer import Viewer, serve
from tests.fakes import fake_spikes


@pytest.fixture
def viewer(tmp_path: Path) -> Viewer:
    stream = fake_spikes(80, 20, 30)
    spikes.save(tmp_path / "clip.npy", stream, rate_hz=20000, light_scale=0.5)
    networks = {"tfp": build("model", "tfp"), "tfi": build("model", "tfi")}
    return Viewer(spikes.open(tmp_path / "clip.npy"), networks)


@pytest.fixture
def port(viewer: Viewer) -> Iterator[int]:
    with serve(viewer) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def ask(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=100)
    connection.request("GET", path, headers={"Host": f"{host}:{port}"})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_the_page_learns_what_there_is(port: int) -> None:
    status, page = ask(port, "/")
    assert status == 200
    assert b"<title>spikerec view</title>" in page
    facts = json.loads(ask(port, "/facts")[1])
    assert (facts["first"], facts["last"]) == (0, 79)
    assert facts["methods"] == ["tfp", "tfi", "spikes"]


def test_a_frame_is_the_methods_image(port: int, viewer: Viewer) -> None:
    status, content = ask(port, "/frame?method=tfp&key_readout=40&gain=0.5")
    assert status == 200
    with Image.open(BytesIO(content)) as picture:
        found = np.asarray(picture)
    expected = viewer.stream[25:56].mean(0) / 0.5 * 0.5
    assert np.array_equal(found, np.rint(255 * expected.astype(np.float32)))
    content = ask(port, "/frame?method=spikes&key_readout=40")[1]
    with Image.open(BytesIO(content)) as picture:
        assert np.array_equal(np.asarray(picture), 255 * viewer.stream[40])


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("method=tfp&key_readout=500", "key_readout must be 0 to 79, found 500"),
        ("method=stir&key_readout=30", "method must be one of tfp, tfi, found stir"),
        ("method=tfp&key_readout=30&gamma=0", "gamma must be above 0"),
        ("method=tfp&key_readout=30&gain=inf", "gain must be a finite number, found inf"),
        ("method=tfp&key_readout=x", "a frame is asked for by method=NAME and key_readout=WHOLE"),
        ("method=tfp", "a frame is asked for by method=NAME and key_readout=WHOLE"),
    ],
)
def test_what_cannot_be_shown_is_said(query: str, message: str, port: int) -> None:
    status, content = ask(port, f"/frame?{query}")
    assert status == 400
    assert message in content.decode()


def test_other_sites_and_pages_get_nothing(port: int) -> None:
    assert ask(port, "/facts", host="evil.example")[0] == 403
    assert ask(port, "/../secret")[0] == 404


def test_images_are_computed_by_the_engine_and_in_the_precision_asked_for(viewer: Viewer) -> None:
    network = build("model", "fast")
    plain, half = (
        Viewer(viewer.stream, {"fast": network}, precision=precision)
        for precision in ("float32", "bf16")
    )
    levels = [
        np.asarray(Image.open(BytesIO(one.frame("fast", 40, Tone())))) for one in (plain, half)
    ]
    assert 0 < np.abs(levels[0].astype(int) - levels[1]).max() < 10
    with pytest.raises(ConfigError, match="expected float32, or engine=openvino"):
        Viewer(viewer.stream, {"fast": network}, engine="onnxruntime", precision="bf16")
    assert Viewer(viewer.stream, {"fast": network}, engine="auto").engines == {"fast": "torch"}


def test_a_port_in_use_is_told(port: int, viewer: Viewer) -> None:
    with pytest.raises(ConfigError, match=r"port \d+ cannot be used.*--port"):
        serve(viewer, port)


@pytest.mark.slow
def test_a_browser_scrubs_and_compares(port: int, tmp_path: Path) -> None:
    webdriver = pytest.importorskip("selenium.webdriver")
    wait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait
    missing = pytest.importorskip("selenium.common.exceptions")
    options = webdriver.ChromeOptions()
    for word in ("--headless=new", "--no-sandbox", f"--user-data-dir={tmp_path}/profile"):
        options.add_argument(word)
    try:
        browser = webdriver.Chrome(options=options)
    except (OSError, missing.NoSuchDriverException) as error:
        pytest.skip(f"no Chromium here: {error}")
    try:
        browser.get(f"http://127.0.0.1:{port}/")

        def shows(readout: str) -> bool:
            return bool(browser.execute_script("return document.body.dataset.shown") == readout)

        wait(browser, 30).until(lambda _: shows("0"))
        assert browser.find_element("css selector", "#stage .name.right").text == "tfi"
        move = (
            "const e = document.getElementById('{}'); e.value = '{}';"
            "e.dispatchEvent(new Event('input'))"
        )
        browser.execute_script(move.format("right-method", "spikes"))
        browser.execute_script(move.format("readout", "45"))
        wait(browser, 30).until(lambda _: shows("45"))
        assert browser.find_element("css selector", "#stage .name.right").text == "spikes"
        assert browser.find_element("id", "time").text == "45 · 2.25 ms"
        assert not browser.find_element("id", "error").text
        assert (
            browser.execute_script("return document.querySelector('#stage img').naturalWidth") == 30
        )
    finally:
        browser.quit()


Open = Callable[[bytes], socket.socket]


@pytest.fixture
def opened(port: int) -> Iterator[Open]:
    """Open a connection and send so much of a request."""
    with ExitStack() as stack:

        def begin(sent: bytes) -> socket.socket:
            connection = socket.create_connection(("127.0.0.1", port), timeout=20)
            stack.enter_context(connection)
            connection.sendall(sent)
            return connection

        yield begin


def test_slow_clients_are_closed_and_others_answered(
    port: int,
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 1)
    slow = [opened(b"GET / HT") for _ in range(5)]
    for _ in range(4):  # each letter would begin another second of waiting
        time.sleep(0.3)
        with suppress(OSError):
            slow[0].sendall(b"T")
    assert ask(port, "/facts")[0] == 200
    for connection in slow:
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""
    assert capfd.readouterr().err == ""


def test_clients_beyond_the_bound_are_told(port: int, opened: Open) -> None:
    slow = [opened(b"GET ") for _ in range(module.MOST_CLIENTS)]
    time.sleep(0.2)
    threads = active_count()
    for connection in [opened(b"GET / HTTP/1.0\r\n\r\n") for _ in range(20)]:
        with suppress(ConnectionResetError):
            assert connection.recv(100).startswith(b"HTTP/1.0 503")
    assert active_count() <= threads
    for connection in slow:
        connection.close()
    time.sleep(0.5)
    assert ask(port, "/facts")[0] == 200


def test_an_address_that_is_none_is_answered(
    opened: Open, capfd: pytest.CaptureFixture[str]
) -> None:
    connection = opened(b"GET http://[bad/facts HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert b" 400 " in connection.recv(100)
    assert capfd.readouterr().err == ""


def test_a_burst_of_clients_is_answered_or_refused_at_once(opened: Open) -> None:
    asking = b"GET /facts HTTP/1.0\r\nHost: localhost\r\n\r\n"
    for connection in [opened(asking) for _ in range(200)]:
        assert connection.recv(20)[9:12] in (b"200", b"503")


def test_closing_does_not_wait_for_images_that_were_asked_for(viewer: Viewer) -> None:
    viewer.is_closing = True
    with pytest.raises(ConfigError, match="the viewer is closing"):
        viewer.frame("tfp", 40, Tone())


def test_client_that_has_gone_leaves_no_trace(
    port: int, opened: Open, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(5):
        connection = opened(
            b"GET /frame?method=tfp&key_readout=40 HTTP/1.0\r\nHost: localhost\r\n\r\n"
        )
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()  # a reset, before the answer
    assert ask(port, "/facts")[0] == 200
    assert capfd.readouterr().err == ""

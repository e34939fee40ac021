"""Ordinary downloads, from a host on this machine: whole, checked, bounded, and soon given up."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from spikerec import fetch
from spikerec.fetch import Download, Downloader, FetchError, write_atomically
from tests import http_server
from tests.http_server import Host, answer

CONTENT = bytes(range(256)) * 2000  # half a megabyte: several chunks
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host with one file; nothing of the user's environment plays a part."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", fetch.MIRROR_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    with http_server.serve_files() as served:
        served.files["/a.pth"] = CONTENT
        yield served


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "a.pth"


def left_of(path: Path) -> list[str]:
    """Names of what stands in the file's folder beside it."""
    return sorted(one.name for one in path.parent.iterdir() if one != path)


@pytest.mark.parametrize("digest", [None, DIGEST, DIGEST[:8]])
def test_file_arrives_whole_with_its_digest(host: Host, path: Path, digest: str | None) -> None:
    arrived: list[tuple[int, int | None]] = []
    downloader = Downloader(lambda done, total: arrived.append((done, total)))
    assert downloader.get(Download(f"{host.url}/a.pth", digest), path) == DIGEST
    assert path.read_bytes() == CONTENT
    assert left_of(path) == []
    assert arrived[-1] == (len(CONTENT), len(CONTENT))


def test_cut_transfer_goes_on_where_it_stopped(host: Host, path: Path) -> None:
    host.behaviours["/a.pth"] = http_server.cut_after(200_000, times=2)
    Downloader().get(Download(f"{host.url}/a.pth"), path)
    assert path.read_bytes() == CONTENT
    ranges = [asked for _, asked in host.asked]
    assert ranges == [None, "bytes=200000-", "bytes=400000-"]


def test_next_call_continues_what_an_earlier_one_left(host: Host, path: Path) -> None:
    host.behaviours["/a.pth"] = http_server.cut_after(50_000, times=100)
    wanted = Download(f"{host.url}/a.pth", DIGEST)
    with pytest.raises(FetchError, match="the connection was cut; what arrived is kept"):
        Downloader().get(wanted, path)
    kept = path.with_name("a.pth.partial").stat().st_size
    assert kept == 50_000 * (fetch.MOST_RESUMES + 1)
    assert not path.exists()
    host.behaviours.clear()
    Downloader().get(wanted, path)
    assert host.asked[-1] == ("/a.pth", f"bytes={kept}-")
    assert path.read_bytes() == CONTENT
    assert left_of(path) == []


def test_part_of_a_file_that_changed_is_not_continued(host: Host, path: Path) -> None:
    host.behaviours["/a.pth"] = http_server.cut_after(50_000, times=100)
    with pytest.raises(FetchError):
        Downloader().get(Download(f"{host.url}/a.pth"), path)
    host.behaviours.clear()
    host.etag, host.files["/a.pth"] = '"two"', CONTENT[::-1]
    Downloader().get(Download(f"{host.url}/a.pth"), path)
    assert path.read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("digest", [None, DIGEST])
def test_part_without_a_validator_is_continued_only_where_the_digest_can_tell(
    host: Host, path: Path, digest: str | None
) -> None:
    host.etag = None
    path.parent.mkdir()
    url = f"{host.url}/a.pth"
    path.with_name("a.pth.partial").write_bytes(b"\0" * 1000)  # of another version
    path.with_name("a.pth.partial.json").write_text(f'{{"url": "{url}", "validator": null}}')
    Downloader().get(Download(url, digest), path)
    assert path.read_bytes() == CONTENT
    assert (host.asked[0][1] is None) == (digest is None)
    assert left_of(path) == []


@pytest.mark.parametrize("facts", ["", "[1]", '{"url": 3}', "{", '{"url": "https://else/a"}'])
def test_part_that_nothing_is_known_of_is_replaced(host: Host, path: Path, facts: str) -> None:
    path.parent.mkdir()
    path.with_name("a.pth.partial").write_bytes(b"?" * 5000)
    path.with_name("a.pth.partial.json").write_text(facts)
    Downloader().get(Download(f"{host.url}/a.pth"), path)
    assert path.read_bytes() == CONTENT


def test_part_longer_than_the_file_is_dropped(host: Host, path: Path) -> None:
    path.parent.mkdir()
    url = f"{host.url}/a.pth"
    path.with_name("a.pth.partial").write_bytes(CONTENT * 2)
    path.with_name("a.pth.partial.json").write_text(f'{{"url": "{url}", "validator": "\\"one\\""}}')
    with pytest.raises(FetchError, match="the file has changed since"):
        Downloader().get(Download(url, DIGEST), path)
    Downloader().get(Download(url, DIGEST), path)
    assert path.read_bytes() == CONTENT


def test_file_of_another_digest_is_not_kept(host: Host, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"the old one")
    with pytest.raises(FetchError, match=rf"SHA-256 {DIGEST[:16]}…, expected 0000") as caught:
        Downloader().get(Download(f"{host.url}/a.pth", "0" * 64), path)
    assert f"{host.url}/a.pth: " in str(caught.value)
    assert path.read_bytes() == b"the old one"
    assert left_of(path) == []


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"most_bytes": 1000}, r"states a size of 512,000 bytes, and 1,000 are the most"),
        ({"size_bytes": 999_999}, r"states a size of 512,000 bytes, expected 999,999"),
    ],
)
def test_size_is_checked_before_the_body_is_read(
    host: Host, path: Path, wanted: dict[str, int], message: str
) -> None:
    with pytest.raises(FetchError, match=message):
        Downloader().get(Download(f"{host.url}/a.pth", **wanted), path)  # type: ignore[arg-type]
    assert left_of(path) == []


@pytest.mark.parametrize("bound", ["most_bytes", "size_bytes"])
def test_body_without_end_is_left_at_its_bound(host: Host, path: Path, bound: str) -> None:
    host.behaviours["/a.pth"] = http_server.endless
    with pytest.raises(FetchError, match="sent more bytes than it may"):
        Downloader().get(Download(f"{host.url}/a.pth", **{bound: 300_000}), path)  # type: ignore[arg-type]
    assert left_of(path) == []


def test_body_of_unstated_size_must_have_the_known_one(host: Host, path: Path) -> None:
    def short(request: object, _: bytes) -> None:
        request.send_response(200)  # type: ignore[attr-defined]
        request.end_headers()  # type: ignore[attr-defined]
        request.wfile.write(b"abc")  # type: ignore[attr-defined]

    host.behaviours["/a.pth"] = short
    with pytest.raises(FetchError, match="ended after 3 of 5 bytes"):
        Downloader().get(Download(f"{host.url}/a.pth", size_bytes=5), path)


def test_disk_without_room_is_refused_first(
    host: Host, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 7}))
    with pytest.raises(FetchError, match="has room for 7 bytes, and 512,000 are needed"):
        Downloader().get(Download(f"{host.url}/a.pth"), path)


def test_redirect_is_followed_and_a_loop_is_not(host: Host, path: Path) -> None:
    host.behaviours["/moved"] = http_server.redirect_to("/a.pth")
    assert Downloader().get(Download(f"{host.url}/moved"), path) == DIGEST
    host.behaviours["/loop"] = http_server.redirect_to("/loop")
    with pytest.raises(FetchError, match=r"/loop: it redirects more than 5 times\."):
        Downloader().get(Download(f"{host.url}/loop"), path)


def test_missing_file_and_refused_request_are_one_line(host: Host, path: Path) -> None:
    with pytest.raises(FetchError, match=r"/b\.pth: there is no such file \(404\)\.$"):
        Downloader().get(Download(f"{host.url}/b.pth"), path)
    host.behaviours["/a.pth"] = lambda request, _: request.send_error(503)
    with pytest.raises(FetchError, match="the host answered 503 Service Unavailable"):
        Downloader().get(Download(f"{host.url}/a.pth"), path)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n"


@pytest.mark.parametrize(
    ("content", "headers", "message"),
    [
        (LFS, {}, "a pointer of Git LFS"),
        (b"\n<!DOCTYPE html><html>", {}, "a web page"),
        (b"anything", {"Content_Type": "text/html; charset=utf-8"}, "a web page"),
        (b"anything", {"Content_Encoding": "gzip"}, "compressed"),
    ],
)
def test_answer_that_is_something_else_is_named(
    host: Host, path: Path, content: bytes, headers: dict[str, str], message: str
) -> None:
    host.behaviours["/a.pth"] = lambda request, _: answer(request, content, **headers)
    with pytest.raises(FetchError, match=message):
        Downloader().get(Download(f"{host.url}/a.pth"), path)
    assert not path.exists()


def test_host_that_says_nothing_is_given_up_and_not_asked_again(
    host: Host, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "SILENCE_SECONDS", 0.2)
    host.behaviours["/a.pth"] = http_server.silent
    downloader = Downloader()
    with pytest.raises(FetchError, match=r"no answer within 0\.2 s"):
        downloader.get(Download(f"{host.url}/a.pth"), path)
    with pytest.raises(FetchError, match=r"b\.pth: no answer within 0\.2 s"):
        downloader.get(Download(f"{host.url}/b.pth"), path)
    assert len(host.asked) == 1


def test_drip_of_bytes_is_given_up(host: Host, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "PACE_SECONDS", 0.3)
    host.behaviours["/a.pth"] = http_server.drip
    with pytest.raises(FetchError, match="less than 1 kB a second"):
        Downloader().get(Download(f"{host.url}/a.pth"), path)


def test_refused_connection_and_unknown_host_are_named(path: Path) -> None:
    with socket.socket() as unused:  # bound, but not listening
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/a.pth"
        with pytest.raises(FetchError, match="the host refused the connection"):
            Downloader().get(Download(url), path)
    with pytest.raises(FetchError, match="the host's name was not found"):
        Downloader().get(Download("https://host.invalid/a.pth"), path)


def test_name_servers_that_do_not_answer_are_given_up(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()
    monkeypatch.setattr(fetch, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(fetch.socket, "getaddrinfo", lambda *_, **__: answered.wait(10) and [])
    with pytest.raises(FetchError, match=r"the host's name was not found within 0\.2 s"):
        Downloader().get(Download("https://host.example/a.pth"), path)
    answered.set()


@pytest.mark.parametrize(("addresses", "seconds"), [(1, 5.0), (2, 2.5), (8, 1.0)])
def test_many_addresses_share_the_time_to_connect(
    addresses: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [(0, 0, 0, "", (f"192.0.2.{number}", 0)) for number in range(addresses)]
    monkeypatch.setattr(fetch.socket, "getaddrinfo", lambda *_, **__: found)
    assert fetch._connect_seconds("https://host.example/a.pth") == seconds


@pytest.mark.parametrize("url", ["ftp://host/a.pth", "a.pth", "https://"])
def test_address_that_is_none_is_an_error_of_ours(path: Path, url: str) -> None:
    with pytest.raises(FetchError, match=f"^{re.escape(url)}: it cannot be asked for"):
        Downloader().get(Download(url), path)


def test_mirror_is_put_before_every_address(
    host: Host, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.files["/https://example.org/b.pth"] = CONTENT
    monkeypatch.setenv(fetch.MIRROR_VARIABLE, f"{host.url}/")
    assert Downloader().get(Download("https://example.org/b.pth", DIGEST), path) == DIGEST


def test_proxy_of_the_environment_is_used(
    host: Host, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", host.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    host.files["http://example.org/b.pth"] = CONTENT  # as a proxy is asked
    assert Downloader().get(Download("http://example.org/b.pth"), path) == DIGEST


def test_two_at_once_download_a_file_once_each_whole(host: Host, path: Path) -> None:
    import threading

    wanted = Download(f"{host.url}/a.pth", DIGEST)
    threads = [threading.Thread(target=Downloader().get, args=(wanted, path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() == CONTENT
    assert left_of(path) == []


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_atomically(tmp_path / "new" / "file", b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]

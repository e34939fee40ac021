"""Files by ordinary download, from the addresses where their authors and libraries keep them.

`requests` does the transport, so that proxies and certificates are those of the environment
(`HTTPS_PROXY`, `REQUESTS_CA_BUNDLE`). What this module adds is care: a size is bounded before a
body is read, a cut transfer goes on where it stopped, a host that does not answer costs seconds,
a digest is checked, and a file takes its name only when it is whole. `spikerec.packages` is the
second way, for machines that reach nothing but a package registry.

`SPIKEREC_MIRROR` names a prefix that is put before every address, as public mirrors of GitHub
expect it: `https://mirror.example/` asks for `https://mirror.example/https://github.com/…`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import requests
import urllib3
from filelock import FileLock

from spikerec.errors import DataError, SpikerecError
from spikerec.parsing import SMALL_DOCUMENT, Bounds, read_json
from spikerec.spikes.files import atomic_path, sync

#: Names a prefix that is put before every address.
MIRROR_VARIABLE = "SPIKEREC_MIRROR"

CONNECT_SECONDS = 5.0  # to find a host's addresses, and again to connect to one of them
ADDRESS_SECONDS = 1.0  # for each of many addresses at least
SILENCE_SECONDS = 20.0  # without a byte

#: A transfer slower than this over `PACE_SECONDS` is given up: it would last for days.
LEAST_PACE = 1000.0  # bytes per second
PACE_SECONDS = 30.0

#: Bound of a file whose size is not known: the largest file of the catalogues has 0.6 GB.
MOST_BYTES = 1 << 30

#: Times that a transfer is taken up again after it was cut, if each brought something.
MOST_RESUMES = 5
MOST_REDIRECTS = 5

CHUNK_BYTES = 1 << 16

#: Bounds of the note beside a part of a file.
FACT_BOUNDS = Bounds(bytes=1 << 14, depth=2, nodes=10)

#: Beginnings of answers that are not the file: a pointer of Git LFS, and a web page.
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
PAGE_BEGINNINGS = (b"<!doctype", b"<html")

#: Called with the bytes that have arrived, and how many there will be, or None.
Progress = Callable[[int, int | None], None]


class FetchError(SpikerecError, OSError):
    """A file or package that could not be fetched."""


class _CutError(Exception):
    """A transfer that ended early; the message says by what."""


class _UnreachableError(FetchError):
    """A host that did not answer at all."""


@dataclass(frozen=True)
class Download:
    """One file that can be downloaded.

    Attributes:
        url: its address.
        sha256: digest of the file in hexadecimal, or its first digits; None where it is not known
            because the file was never downloaded.
        size_bytes: its exact size; None where it is not known.
        most_bytes: bound of the size where it is not known.
    """

    url: str
    sha256: str | None = None
    size_bytes: int | None = None
    most_bytes: int = MOST_BYTES

    @property
    def name(self) -> str:
        """The last part of the address."""
        return urlsplit(self.url).path.rsplit("/", maxsplit=1)[-1]

    @property
    def host(self) -> str:
        """The host of the address."""
        return urlsplit(self.url).hostname or ""


class Downloader:
    """Downloads files one after another, and asks a host that did not answer only once.

    Args:
        progress: called as bytes arrive; None for none.
    """

    def __init__(self, progress: Progress | None = None) -> None:
        self.progress = progress or (lambda _done, _total: None)
        self._silent: dict[str, str] = {}
        self._session = requests.Session()
        self._session.max_redirects = MOST_REDIRECTS
        # as the file is: a compressed body would have another size and digest
        self._session.headers["Accept-Encoding"] = "identity"

    def get(self, wanted: Download, path: Path) -> str:
        """Download one file; it appears under its name when it is whole and checked.

        What arrived of a file before a transfer was cut stays in `NAME.partial`, and the next call
        continues there, if the file has not changed meanwhile.

        Args:
            wanted: the file.
            path: where to put it; folders on the way are made. A file that is there is replaced.

        Returns:
            The SHA-256 of the file.

        Raises:
            FetchError: the host cannot be reached or does not have the file, its answer is
                something else, or the digest or size differs.
        """
        url = os.environ.get(MIRROR_VARIABLE, "") + wanted.url
        host = urlsplit(url).netloc
        if host in self._silent:
            raise FetchError(f"{url}: {self._silent[host]}.")
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _Partial(path, url, wanted)
        try:
            with FileLock(f"{partial.path}.lock"):
                try:
                    return self._complete(wanted, url, partial)
                finally:
                    with suppress(OSError):
                        Path(f"{partial.path}.lock").unlink()
        except _UnreachableError as error:
            self._silent[host] = str(error)
            raise FetchError(f"{url}: {error}.") from error
        except (FetchError, _CutError) as error:
            raise FetchError(f"{url}: {error}.") from error

    def _complete(self, wanted: Download, url: str, partial: _Partial) -> str:
        """Transfer until the file is whole, then check it and give it its name."""
        continued = partial.size() > 0
        for resumes in range(MOST_RESUMES + 1):
            before = partial.size()
            try:
                self._transfer(wanted, url, partial)
                break
            except _CutError:
                if resumes == MOST_RESUMES or partial.size() <= before:
                    raise
        try:
            return partial.finish()
        except FetchError:
            partial.drop()
            if not continued:
                raise
        # its first part was of another version of the file: once more, from the beginning
        self._transfer(wanted, url, partial)
        try:
            return partial.finish()
        except FetchError:
            partial.drop()
            raise

    def _transfer(self, wanted: Download, url: str, partial: _Partial) -> None:
        """Receive the file, or what is missing of it."""
        with _named_faults():
            response = self._session.get(
                url,
                headers=partial.conditions(),
                stream=True,
                timeout=(_connect_seconds(url), SILENCE_SECONDS),
            )
        with response:
            start = _check_answer(response, url, partial)
            total = _stated_length(response, start)
            limit = wanted.most_bytes if wanted.size_bytes is None else wanted.size_bytes
            if total is not None and (total > limit or total != (wanted.size_bytes or total)):
                raise FetchError(_size_text(f"states a size of {total:,} bytes", wanted))
            _check_room(partial.path.parent, (total or start) - start)
            with partial.opened(response, start) as file:
                done = start
                for chunk in _chunks(response):
                    done += len(chunk)
                    if done > limit:
                        partial.drop()
                        raise FetchError(_size_text("sent more bytes than it may", wanted))
                    file.write(chunk)
                    self.progress(done, total)
        expected = total or wanted.size_bytes or done
        if done < expected:
            raise _CutError(f"the transfer ended after {done:,} of {expected:,} bytes")


class _Partial:
    """A file of which a part has arrived, and what is known of the whole."""

    def __init__(self, path: Path, url: str, wanted: Download) -> None:
        self.final = path
        self.path = path.with_name(f"{path.name}.partial")
        self._facts = path.with_name(f"{path.name}.partial.json")
        self._url = url
        self._wanted = wanted

    def size(self) -> int:
        """Bytes that have arrived; 0 if they may belong to another file."""
        if not self.path.is_file():
            return 0
        facts = self._read_facts()
        is_known = facts.get("validator") or self._wanted.sha256
        return self.path.stat().st_size if facts.get("url") == self._url and is_known else 0

    def conditions(self) -> dict[str, str]:
        """Headers that ask for the missing part, if the file is still the same."""
        size = self.size()
        if not size:
            return {}
        validator = self._read_facts().get("validator")
        condition = {"If-Range": str(validator)} if validator else {}
        return {"Range": f"bytes={size}-"} | condition

    @contextmanager
    def opened(self, response: requests.Response, start: int) -> Iterator[IO[bytes]]:
        """The file, ready for the bytes from `start`."""
        etag = response.headers.get("ETag", "")
        strong = etag if etag and not etag.startswith("W/") else None
        validator = strong or response.headers.get("Last-Modified")
        facts = json.dumps({"url": self._url, "validator": validator})
        if start == 0:
            self.drop()
            write_atomically(self._facts, facts.encode())
        with self.path.open("ab" if start else "wb") as file:
            yield file

    def finish(self) -> str:
        """Check the file, give it its name, and return its digest.

        Raises:
            FetchError: it is not the file expected.
        """
        with self.path.open("rb") as file:
            _check_beginning(file.read(CHUNK_BYTES))
            file.seek(0)
            found = hashlib.file_digest(file, "sha256").hexdigest()
        size = self.path.stat().st_size
        wanted = self._wanted
        if wanted.size_bytes not in (None, size):
            raise FetchError(_size_text(f"gave {size:,} bytes", wanted))
        if wanted.sha256 is not None and not found.startswith(wanted.sha256):
            raise FetchError(
                f"gave a file of SHA-256 {found[:16]}…, expected {wanted.sha256[:16]}…: it has "
                "changed, or was altered on the way. It was not kept"
            )
        sync(self.path)
        self.path.replace(self.final)
        self.drop()
        return found

    def drop(self) -> None:
        """Remove what has arrived."""
        self.path.unlink(missing_ok=True)
        self._facts.unlink(missing_ok=True)

    def _read_facts(self) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            facts = read_json(self._facts, SMALL_DOCUMENT)
            if isinstance(facts, dict):
                return facts
        return {}


def is_fetched(path: Path, sha256: str) -> bool:
    """True if a file was fetched before.

    Raises:
        DataError: a file of that name holds something else.
    """
    if not path.exists():
        return False
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise DataError(
            f"{path} is not the file of that name (expected SHA-256 {sha256[:12]}…): move it away, "
            "or name another folder."
        )
    return True


def write_atomically(path: Path, content: bytes) -> Path:
    """Write a file whole or not at all, and return its path."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return path


def _connect_seconds(url: str) -> float:
    """Look up the host of an address, or its proxy, and return the seconds for each of its IPs.

    They are tried in turn, so that `CONNECT_SECONDS` is shared among them. The look-up has a thread
    of its own, since the system's waits up to half a minute for name servers that do not answer.

    Raises:
        _UnreachableError: the name was not found, or not in time.
    """
    proxies = requests.utils.get_environ_proxies(url)
    asked = urlsplit(requests.utils.select_proxy(url, proxies) or url)
    host = asked.hostname
    # A proxy without a scheme, which `requests` understands, or a scheme that it refuses.
    if host is None or asked.scheme not in ("http", "https"):
        return CONNECT_SECONDS
    found: list[set[Any]] = []

    def look_up() -> None:
        with suppress(OSError, UnicodeError):
            found.append({one[4] for one in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)})

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if not found:
        silent = f" within {CONNECT_SECONDS:g} s" if thread.is_alive() else ""
        raise _UnreachableError(f"the host's name was not found{silent} (no network?)")
    return max(ADDRESS_SECONDS, CONNECT_SECONDS / len(found[0]))


@contextmanager
def _named_faults() -> Iterator[None]:
    """Turn the exceptions of `requests` into one reason each."""
    try:
        yield
    except requests.TooManyRedirects as error:
        raise FetchError(f"it redirects more than {MOST_REDIRECTS} times") from error
    except requests.exceptions.ProxyError as error:
        raise _UnreachableError("the proxy refused or did not answer (HTTPS_PROXY)") from error
    except requests.exceptions.SSLError as error:
        raise _UnreachableError(
            "its certificate was not accepted (REQUESTS_CA_BUNDLE names those of your network)"
        ) from error
    except requests.ConnectTimeout as error:
        raise _UnreachableError(f"no connection within {CONNECT_SECONDS:g} s") from error
    except requests.ReadTimeout as error:
        raise _UnreachableError(f"no answer within {SILENCE_SECONDS:g} s") from error
    except requests.ConnectionError as error:
        raise _UnreachableError(_connection_fault(error)) from error
    except (requests.RequestException, ValueError) as error:
        raise FetchError(f"it cannot be asked for ({type(error).__name__})") from error


def _connection_fault(error: requests.ConnectionError) -> str:
    """The fault behind an exception that says no more than that there was one."""
    causes: list[BaseException] = [error]
    while causes:
        cause = causes.pop()
        if isinstance(cause, urllib3.exceptions.NameResolutionError | socket.gaierror):
            return "the host's name was not found (no network?)"
        if isinstance(cause, ConnectionRefusedError):
            return "the host refused the connection"
        found = [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
        causes += [one for one in found if isinstance(one, BaseException)]
    return "the host cannot be reached, or closed the connection"


def _check_answer(response: requests.Response, url: str, partial: _Partial) -> int:
    """Check what an answer says of itself; returns the byte at which its body begins.

    Raises:
        FetchError: it is not the file.
    """
    secure = [one.url.startswith("https:") for one in (*response.history, response)]
    if url.startswith("https:") and not all(secure):
        raise FetchError("it redirects from https to an address without encryption")
    if response.status_code == requests.codes.requested_range_not_satisfiable:
        partial.drop()
        raise _CutError("the file has changed since a part of it arrived; run the command again")
    if response.status_code not in (requests.codes.ok, requests.codes.partial_content):
        reason = {404: "there is no such file (404)", 410: "the file is gone (410)"}
        stated = f"the host answered {response.status_code} {response.reason}"
        raise FetchError(reason.get(response.status_code, stated))
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise FetchError("the host sends it compressed, though asked for the file as it is")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise FetchError("the host answered with a web page in place of the file")
    if response.status_code == requests.codes.ok:
        return 0
    size = partial.size()
    if not response.headers.get("Content-Range", "").startswith(f"bytes {size}-"):
        partial.drop()
        raise FetchError("the host answered with another part of the file than was asked for")
    return size


def _stated_length(response: requests.Response, start: int) -> int | None:
    """The size of the whole file as the answer states it."""
    text = response.headers.get("Content-Length", "")
    return start + int(text) if text.isdecimal() and len(text) < 20 else None


def _size_text(found: str, wanted: Download) -> str:
    if wanted.size_bytes is not None:
        return f"the host {found}, expected {wanted.size_bytes:,}: it is another file"
    return f"the host {found}, and {wanted.most_bytes:,} are the most for this file"


def _check_room(folder: Path, missing: int) -> None:
    """Refuse a file that the disk has no room for.

    Raises:
        FetchError: there is less.
    """
    free = shutil.disk_usage(folder).free
    if missing > free:
        raise FetchError(f"{folder} has room for {free:,} bytes, and {missing:,} are needed")


def _check_beginning(content: bytes) -> None:
    """Refuse what begins as something else than a file of numbers.

    Raises:
        FetchError: it does.
    """
    if content.startswith(LFS_POINTER):
        raise FetchError(
            "the host answered with a pointer of Git LFS in place of the file; get the file with "
            "`git lfs pull` in a clone of its repository"
        )
    if content[:64].lstrip().lower().startswith(PAGE_BEGINNINGS):
        raise FetchError("the host answered with a web page in place of the file")


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """The body in pieces as they arrive.

    Raises:
        _CutError: the connection ended or fell silent.
        FetchError: it is too slow to be waited for.
    """
    began, arrived = time.monotonic(), 0
    while True:
        try:
            chunk = response.raw.read1(CHUNK_BYTES)
        except (urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
            silent = isinstance(error, urllib3.exceptions.ReadTimeoutError)
            told = f"no byte in {SILENCE_SECONDS:g} s" if silent else "the connection was cut"
            raise _CutError(f"{told}; what arrived is kept, run the command again") from error
        if not chunk:
            return
        yield chunk
        arrived += len(chunk)
        passed = time.monotonic() - began
        if passed > PACE_SECONDS:
            if arrived < LEAST_PACE * passed:
                raise FetchError(
                    f"less than {LEAST_PACE / 1000:g} kB a second arrive; what did is kept"
                )
            began, arrived = time.monotonic(), 0

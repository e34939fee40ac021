"""recVidarReal2019: nine real recordings without ground truth, and which readouts are judged.

    ROOT/…/NAME.dat   250 × 400, rows stored bottom up; recorded at 20,000 Hz by SpikeCV's pages

SpikeCV keeps the set on the platform OpenI, whose public client is the PyPI package `openi`.
`fetch` asks the addresses that this client asks, so that nothing has to be installed: the list of
the set's files, then each clip. The host could not be reached when this was written: the answers'
form is that of the client (version 3.0.1), no clip was ever downloaded, and neither sizes nor
digests are known. The first download remembers the digests beside the clips.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from spikerec.data.clips import Clip, MadeSet, SplitName, check_unique
from spikerec.data.real import Real
from spikerec.errors import ConfigError, DataError, DataNotFoundError, about
from spikerec.fetch import Download, Downloader, FetchError, write_atomically
from spikerec.parsing import RUN_DOCUMENT, SMALL_DOCUMENT, read_json
from spikerec.spikes.folders import listed

#: The clips by folder, as the set's papers name them.
CLIPS: Mapping[str, Sequence[str]] = {
    "classA": ("ballon", "car-100kmh", "rotation1", "rotation2", "rotation2x"),
    "classB": ("forest", "railway", "train-350kmh", "viaduct-bridge"),
}
#: Readouts that are judged in every clip. They lie within [500, 2000), the part of these clips that
#: SpikeCV's examples read, with 100 readouts to either side for the longest window.
KEY_READOUTS = tuple(range(600, 1801, 150))

HOST = "https://openi.pcl.ac.cn"
REPOSITORY = "Cordium/recVidarReal2019"
#: Digests of the first download, beside the clips.
DIGESTS = "digests.json"
#: Folders inside one another that are looked through for the clips.
MOST_DEPTH = 4


class RecVidar(Real, MadeSet):
    """The nine clips of recVidarReal2019, wherever they lie in a folder.

    All splits are alike: nothing is trained on.

    Args:
        root: searched with its subfolders for `NAME.dat`.
        key_readouts: readouts that are judged in every clip, increasing.
        light_scale: firing rate of a pixel of intensity 1; unknown of a real scene, where 1 leaves
            firing rates as they are.
        name: the set's name in results.

    Raises:
        ConfigError: key readouts that are missing, negative or not increasing.
    """

    def __init__(
        self,
        root: str | Path,
        key_readouts: Sequence[int] = KEY_READOUTS,
        light_scale: float = 1.0,
        name: str = "recvidar",
    ) -> None:
        super().__init__(root, light_scale, name=name)
        keys = tuple(key_readouts)
        if not keys or keys[0] < 0 or list(keys) != sorted(set(keys)):
            raise ConfigError(
                f"key_readouts must be readouts from 0 up, each later than the one before, found "
                f"{list(keys)}."
            )
        self.key_readouts = keys

    def how_to_get(self) -> str:
        """See `SpikeSet.how_to_get`."""
        return f"Run `spikerec data fetch {self.name}`, or {self._by_hand()}"

    def _by_hand(self) -> str:
        return (
            f"get the clips from {HOST}/{REPOSITORY} (pip install openi, then openi dataset "
            f"download {REPOSITORY} --local_dir {self.root})."
        )

    def prepare(self) -> None:
        """Check that all nine clips are there.

        Raises:
            DataNotFoundError: one is not.
        """
        self._files()

    def clips(self, split: SplitName) -> list[Clip]:
        """See `SpikeSet.clips`; all splits are alike.

        Raises:
            DataNotFoundError: a clip is not there.
            DataError: a clip has another geometry, or ends before the last key readout.
        """
        del split
        return [self._known_clip(name, path) for name, path in self._files().items()]

    def _known_clip(self, name: str, path: Path) -> Clip:
        clip = Clip(name, (path,), self.light_scale, self.geometry)
        with clip.open() as stream:
            total = stream.num_readouts
        if total <= self.key_readouts[-1]:
            raise DataError(
                f"{path} holds {total} readouts, and readout {self.key_readouts[-1]} (from 0) is "
                "to be judged: expected the whole clip. Fetch it again, or set key_readouts."
            )
        return replace(clip, key_readouts=self.key_readouts)

    def _files(self) -> dict[str, Path]:
        """The file of each clip, in the order of `CLIPS`.

        Raises:
            DataNotFoundError: one is missing.
            DataError: two files have one name.
        """
        names = [name for clips in CLIPS.values() for name in clips]
        found = [
            path for path in listed(self.root, (".dat",), recursive=True) if path.stem in names
        ]
        check_unique([path.stem for path in found], "clips", found)
        files = {path.stem: path for path in found}
        if missing := [name for name in names if name not in files]:
            told = (
                f"root: {self.root} lacks {len(missing)} of the {len(names)} clips: "
                f"{', '.join(missing)}. {self.how_to_get()}"
            )
            raise about(self, DataNotFoundError(told))
        return {name: files[name] for name in names}

    def fetch(self, report: Callable[[str], None], progress: Callable[[int, int], None]) -> None:
        """Download the clips that are not there; a cut transfer goes on where it stopped.

        Args:
            report: called with a line for each step.
            progress: called with (clips here, clips in all).

        Raises:
            FetchError: the host cannot be reached, or does not list or give a clip; the message
                says how to get the set by hand.
            DataError: a clip is not what the first download gave, or not a stream of this geometry.
        """
        try:
            self._fetch(report, progress)
        except FetchError as error:
            raise FetchError(f"{error} To do it by hand, {self._by_hand()}") from error

    def _fetch(self, report: Callable[[str], None], progress: Callable[[int, int], None]) -> None:
        known = self._known_digests()
        wanted = {
            f"{name}.dat": self.root / folder / f"{name}.dat"
            for folder, names in CLIPS.items()
            for name in names
        }
        missing = {name: path for name, path in wanted.items() if not _is_here(path, known)}
        if not missing:
            return
        downloader = Downloader()
        report(f"{self.name}: list of files of {REPOSITORY} from {HOST}; licence: see its page")
        there = self._addresses(downloader, set(missing))
        size = sum(download.size_bytes or 0 for download in there.values())
        report(f"{self.name}: {len(missing)} clips, {size / 1e6:.0f} MB")
        for name, path in missing.items():
            progress(len(wanted) - len(missing), len(wanted))
            known[path.stem] = downloader.get(there[name], path)
            with Clip(path.stem, (path,), self.light_scale, self.geometry).open() as stream:
                report(f"{path}: {stream.num_readouts} readouts, SHA-256 {known[path.stem]}")
            content = json.dumps(known, indent=2, sort_keys=True)
            write_atomically(self.root / DIGESTS, content.encode())
        progress(len(wanted), len(wanted))
        report(
            f"{self.name}: spikerec did not know these digests; they are remembered in "
            f"{self.root / DIGESTS}. Please report them, so that others can check theirs."
        )

    def _addresses(self, downloader: Downloader, names: set[str]) -> dict[str, Download]:
        """The address of each clip, found in the list of the set's files.

        Raises:
            FetchError: a clip is not listed, or the answer is no list.
        """
        found: dict[str, Download] = {}
        every = []
        for place, size_bytes in self._listed(downloader, ""):
            every.append(place)
            name = place.rpartition("/")[2]
            if name in names:
                asked = {"dataset_name": REPOSITORY, "file_name": place, "parent_dir": ""}
                found[name] = Download(_address("file", asked), size_bytes=size_bytes)
        if lacking := sorted(names - found.keys()):
            listing = ", ".join(every[:5]) or "nothing"
            raise FetchError(
                f"{HOST}: {REPOSITORY} does not list {', '.join(lacking)}; it lists {listing}."
            )
        return found

    def _listed(
        self, downloader: Downloader, parent: str, depth: int = 0
    ) -> Iterator[tuple[str, int]]:
        """Path and size of each file in a folder of the set on the host, and in its subfolders."""
        asked = {"dataset_name": REPOSITORY, "parent_dir": parent, "page_size": 1000}
        file = self.root / ".listing.json"
        try:
            downloader.get(
                Download(_address("files", asked), most_bytes=SMALL_DOCUMENT.bytes), file
            )
            entries = _entries(read_json(file, RUN_DOCUMENT))
        except DataError as error:
            raise FetchError(f"{HOST}: the list of files cannot be read: {error}") from error
        finally:
            file.unlink(missing_ok=True)
        for name, size_bytes, is_folder in entries:
            place = f"{parent}/{name}" if parent else name
            if not is_folder:
                yield place, size_bytes
            elif depth < MOST_DEPTH:
                yield from self._listed(downloader, place, depth + 1)

    def _known_digests(self) -> dict[str, str]:
        """SHA-256 of each clip that was downloaded, by name."""
        path = self.root / DIGESTS
        if not path.is_file():
            return {}
        content = read_json(path, SMALL_DOCUMENT)
        if not isinstance(content, dict) or not all(isinstance(x, str) for x in content.values()):
            raise DataError(f"{path} is damaged: expected digests by name. Delete it.")
        return content


def _address(verb: str, asked: Mapping[str, object]) -> str:
    return f"{HOST}/api/v1/dataset/{verb}?{urlencode(asked)}"


def _entries(answer: Any) -> list[tuple[str, int, bool]]:  # noqa: ANN401 (as JSON gives it)
    """Name, size and kind of each entry of a folder, from the host's answer.

    Raises:
        DataError: it is another answer.
    """
    with suppress(TypeError, KeyError, ValueError):
        entries = answer["data"]["file_list"]
        return [(str(one["FileName"]), int(one["Size"]), bool(one["IsDir"])) for one in entries]
    said = answer.get("msg") if isinstance(answer, dict) else None
    raise DataError(f"expected a list of files, found {said or 'something else'!r}.")


def _is_here(path: Path, known: Mapping[str, str]) -> bool:
    """True if a clip is there, as it was downloaded.

    Raises:
        DataError: its content has changed since.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != known.get(path.stem, found):
        raise DataError(
            f"{path} is not the file that was downloaded (SHA-256 {found[:12]}…, expected "
            f"{known[path.stem][:12]}…): move it away, and fetch again."
        )
    return True

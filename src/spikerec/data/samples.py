"""Example data that package registries carry, put where `conf/data` looks for them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

from spikerec.errors import DataError
from spikerec.fetch import is_fetched
from spikerec.kinds import checked
from spikerec.packages import download_package, read_member
from spikerec.spikes.files import atomic_path

#: The package that carries five REDS pairs, and where in it they lie.
REDS_PACKAGE = ("spikezoo", "0.2.3.7")
REDS_PACKAGE_SHA256 = "4dc7cb47e09f061e8023a3092de3b1bf937a72be32700547d9ed27089551e855"
REDS_FOLDER = "spikezoo/data/base/"

#: SHA-256 of each file, by its place in the REDS layout. The sixth image has no stream there.
REDS_FILES = {
    "test/gt/200_part1_key_id151.png": (
        "864293aa9befd4cb3fc6370fde5436a724ecc2208cd48ed82ca47f00da83e419"
    ),
    "test/gt/200_part3_key_id151.png": (
        "7b82295b3b66a50e960c3a5fce8acba37528d7b6440905fb7c898b5d1247c1c7"
    ),
    "test/gt/203_part1_key_id151.png": (
        "c79848b4a81a326a64df27a3c79832d831367b04150a986cee065ea911e1b164"
    ),
    "test/spike/200_part1_key_id151.dat": (
        "c03e101bca99803e1a688c80652ca87922bb71ab2e31d7032bc839cb6bd50ee5"
    ),
    "test/spike/200_part3_key_id151.dat": (
        "d6fc184dfd7ef326ca7a498b5f01a7adea50cc8b145347dfd002f27224c84f88"
    ),
    "test/spike/203_part1_key_id151.dat": (
        "92e8fdb32d239fd6fead65aee4c9dbadd40517582c4fc442cc40a5c80a5c4939"
    ),
    "train/gt/203_part2_key_id151.png": (
        "3aa065683a14208a42bcb2e955db36a8847b19d6d8c1bba054f2c57db62cb55a"
    ),
    "train/gt/203_part3_key_id151.png": (
        "1ea51ec9294b7ae2728d18f734a8f2d1cd56d3abf7ac4add15a2c69dc25f45ec"
    ),
    "train/spike/203_part2_key_id151.dat": (
        "6047a72e66cfbdcc672a4567dceef20d561bf94c2933938f9518715562d8cb74"
    ),
    "train/spike/203_part3_key_id151.dat": (
        "318f6733a5f32a3f8ffad450df7599dc6e71ba5353a405ca3f4cbc650a3b0084"
    ),
}


@checked
def fetch_reds_samples(root: str | Path) -> list[Path]:
    """Five public REDS pairs: two to train on, three to test on (24 MB on disk).

    Files that are there already with the right content are kept; others are refused.

    Args:
        root: folder of the REDS layout (see `spikerec.data.reds`).

    Returns:
        The files, in place.

    Raises:
        FetchError: the package cannot be had.
        DataError: a file of that name holds something else, here or in the package.
    """
    root = Path(root)
    if missing := missing_reds_samples(root):
        with TemporaryDirectory() as folder:
            name, version = REDS_PACKAGE
            package = download_package(
                name, version, Path(folder), kind="wheel", sha256=REDS_PACKAGE_SHA256
            )
            for place in missing:
                content = read_member(package, REDS_FOLDER + place)
                _place(root / place, content, REDS_FILES[place])
    return [root / place for place in REDS_FILES]


def missing_reds_samples(root: Path) -> list[str]:
    """Places in the REDS layout whose files of `fetch_reds_samples` are not there.

    Raises:
        DataError: a file of that name holds something else.
    """
    return [place for place, digest in REDS_FILES.items() if not is_fetched(root / place, digest)]


def _place(path: Path, content: bytes, digest: str) -> None:
    if hashlib.sha256(content).hexdigest() != digest:
        raise DataError(
            f"{path.name} in {REDS_PACKAGE[0]} is not the file expected: {digest[:12]}…"
        )
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)

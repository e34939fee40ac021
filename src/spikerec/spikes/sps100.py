"""SPS100: the raw stream of the 1000 × 1000 camera, whose rows carry tags beside their pixels.

A row is 1024 bits in two blocks of 64 bytes, for the columns 0 to 499 and 500 to 999, least
significant bit first. A block holds 500 pixels, then a tag of 12 bits: a line number (10 bits) and
a channel (2 bits). A readout is 1000 rows without a gap or a header, top row first; it begins with
the block (line 500, channel 0) and ends with (line 500, channel 3); in general the line is half the
height. A recording may begin and end in the middle of a readout.

Source: SpikeCV (Apache-2.0), `spkData/sps_parser.py` and the camera's SDK in it. Its loader takes
tag bits for pixels; the layout here was checked against the SDK's own test.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikerec.errors import DataError

#: Pixels in a block, and blocks in a row.
BLOCK_PIXELS, BLOCKS = 500, 2
BLOCK_BYTES = 64
ROW_BYTES = BLOCKS * BLOCK_BYTES
WIDTH = BLOCKS * BLOCK_PIXELS
#: Rows of the camera.
HEIGHT = 1000
#: Readouts begin at multiples of it from the start of the file: the size of a packet.
PACKET_BYTES = 16
#: Readouts whose tags are looked at before a start is believed.
TRIED_READOUTS = 64
#: The block's last two bytes, as a number: 4 pixels, the line, the channel.
_TAG_OFFSET, _LINE_SHIFT, _CHANNEL_SHIFT = BLOCK_BYTES - 2, 4, 14
FIRST_CHANNEL, LAST_CHANNEL = 0, 3


def readout_bytes(height: int) -> int:
    """Bytes of a readout, its tags included."""
    return height * ROW_BYTES


def find_start(octets: NDArray[np.uint8], height: int) -> int | None:
    """Return where the first whole readout begins; None where the tags show none.

    Pixels may look like a tag, so the tags of the readouts that follow must be there too.

    Args:
        octets: (n,) the bytes of a recording.
        height: rows of a readout, an even number.
    """
    size = readout_bytes(height)
    starts = np.arange(0, min(size, len(octets) - size + 1), PACKET_BYTES)
    first, last = _tag(height, FIRST_CHANNEL), _tag(height, LAST_CHANNEL)
    starts = starts[_tags(octets, starts + _TAG_OFFSET) == first]
    for start in starts.tolist():
        count = (len(octets) - start) // size
        begins = start + size * np.unique(np.linspace(0, count - 1, TRIED_READOUTS, dtype=np.int64))
        is_begun = _tags(octets, begins + _TAG_OFFSET) == first
        is_ended = _tags(octets, begins + size - 2) == last
        is_preceded = start < 2 or _tags(octets, np.array([start - 2]))[0] == last
        if is_preceded and is_begun.all() and is_ended.all():
            return int(start)
    return None


def decode(octets: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The pixels of whole rows, without their tags: (..., ROW_BYTES) → (..., WIDTH), 0 and 1."""
    blocks = octets.reshape(*octets.shape[:-1], BLOCKS, BLOCK_BYTES)
    pixels = np.unpackbits(blocks, axis=-1, count=BLOCK_PIXELS, bitorder="little")
    return pixels.reshape(*octets.shape[:-1], WIDTH)


def clusters_in_order(folder: Path, files: Collection[Path]) -> list[Path]:
    """The files that the camera's recorder wrote into folders 0 to 3, in the order of time.

    It counts clusters over all its folders: `FOLDER/{0,1,2,3}/K.dat`, whichever takes the next.

    Raises:
        DataError: a number is missing, or there twice.
    """
    ordered = sorted(files, key=lambda path: int(path.stem))
    numbers = [int(path.stem) for path in ordered]
    expected = range(numbers[0], numbers[0] + len(numbers))
    for found, wanted in zip(numbers, expected, strict=True):
        if found != wanted:
            raise DataError(
                f"{folder}: expected the clusters {numbers[0]} to {numbers[-1]} of a recording, "
                f"each once; {min(found, wanted)} is "
                f"{'there twice' if found < wanted else 'missing'}."
            )
    return ordered


def _tag(height: int, channel: int) -> int:
    return (height // 2) << _LINE_SHIFT | channel << _CHANNEL_SHIFT


def _tags(octets: NDArray[np.uint8], places: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Line and channel of the words at some places, without the pixels in them."""
    words = octets[places].astype(np.uint16) | octets[places + 1].astype(np.uint16) << np.uint16(8)
    return words & np.uint16(0xFFFF ^ (1 << _LINE_SHIFT) - 1)

"""The statement inside an exported file: its network, and all that is needed to run it."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spikerec.errors import ConfigError, DataError
from spikerec.parsing import RUN_DOCUMENT, parse_json
from spikerec.spikes.geometry import check_light_scale

#: Name under which a file holds its statement.
STATEMENT = "spikerec.json"
#: Bound of an ONNX file that is read: protobuf's own.
MOST_ONNX_BYTES = 1 << 31
#: Bounds of the windows of a file: readouts, and values, which take a gigabyte (262 readouts of
#: 1000 × 1024).
MOST_READOUTS = 1_000_000
MOST_VALUES = 1 << 28
#: Names and digests in a statement, which are shown as they are.
NAME = re.compile(r"[\w.<>]{1,200}")
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Statement:
    """Facts about an exported network.

    Attributes:
        network: its class, with the module.
        arguments: its arguments as plain values; None where one has no description.
        weights: digest of its weights.
        window: readouts that it sees.
        key_readout: index in the window of the readout that is reconstructed.
        output_scale: light scale at which its image is intensity; None for intensity at any.
        size: height and width of the pictures that it takes, without padding: that is inside.
    """

    network: str
    arguments: dict[str, Any] | None
    weights: str
    window: int
    key_readout: int
    output_scale: float | None
    size: list[int]

    @property
    def plain(self) -> dict[str, Any]:
        """The statement as plain values."""
        return asdict(self)


def parse_statement(text: str, path: Path) -> Statement:
    """Read the statement of an exported file.

    Raises:
        DataError: it is not what `spikerec export` writes, or beyond the bounds.
    """
    stated = parse_json(text.encode(), path, RUN_DOCUMENT) if text else {}
    names = Statement.__dataclass_fields__.keys()
    if not isinstance(stated, dict) or stated.keys() != names or not _is_sound(stated):
        raise DataError(
            f"{path} does not state its network as this spikerec's export does: write it again, "
            "spikerec export output=NAME.onnx."
        )
    found = Statement(**stated)
    if found.window > MOST_READOUTS or found.window * math.prod(found.size) > MOST_VALUES:
        raise DataError(
            f"{path} states windows of {found.window:,} readouts of {found.size[0]:,} × "
            f"{found.size[1]:,}: expected at most {MOST_READOUTS:,}, and {MOST_VALUES:,} values."
        )
    return found


def _is_sound(stated: dict[str, Any]) -> bool:
    """True if each fact that a computation depends on is of its kind, and in its range."""
    window, key_readout, size = stated["window"], stated["key_readout"], stated["size"]
    counts = [window, key_readout, *(size if isinstance(size, list) else [])]
    if len(counts) != 4 or any(type(one) is not int for one in counts):
        return False
    if not 0 <= key_readout < window or min(size) < 1:
        return False
    scale = stated["output_scale"]
    if scale is not None:
        try:
            check_light_scale(scale)
        except ConfigError:
            return False
    texts = ((NAME, stated["network"]), (DIGEST, stated["weights"]))
    return all(isinstance(text, str) and bool(form.fullmatch(text)) for form, text in texts)

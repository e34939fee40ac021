"""Pages that are one HTML file: their styles and scripts are put where the file names them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources


def assembled(package: str, name: str, values: Mapping[str, str] | None = None) -> str:
    """Return a page with each line `/* PART */` replaced by that part.

    Args:
        package: where the page and its own parts are; the parts that pages share are in
            `spikerec.streaming`.
        name: file of the page.
        values: part → its text, for parts that are no files.
    """
    folders = [resources.files(package), resources.files("spikerec.streaming")]

    def part(match: re.Match[str]) -> str:
        key = match.group(1)
        if values is not None and key in values:
            return values[key]
        file = next(one for folder in folders if (one := folder / key).is_file())
        return file.read_text(encoding="utf-8")

    page = (folders[0] / name).read_text(encoding="utf-8")
    return re.sub(r"/\* ([\w.]+) \*/", part, page)

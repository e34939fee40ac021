"""Lines that a verb prints: paths and names stay as they are, whatever signs they hold."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

#: Signs that would break a line, and how they are shown.
ESCAPES = {ord(sign): repr(sign)[1:-1] for sign in map(chr, (*range(9), *range(10, 32), 127))}


def say(console: Console, text: str, style: str = "") -> None:
    """Print a line without markup, emoji codes or wrapping.

    Args:
        console: where to.
        text: the line; control signs in it are shown as escapes.
        style: of the whole line.
    """
    console.print(Text(text.translate(ESCAPES), style=style), soft_wrap=True)

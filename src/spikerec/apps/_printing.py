"""Lines that a verb prints: paths and names stay as they are, whatever signs they hold."""

from __future__ import annotations

import os
import shlex

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


def pattern_taken(spread: float) -> str:
    """The line about an estimated fixed pattern, by its standard deviation."""
    return f"a fixed pattern of {spread:.1%} was estimated and taken out (estimate_pattern)"


def shell_word(text: str) -> str:
    r"""Return a text as it is typed in a shell: in quotes where it has to be.

    Signs that cannot be printed are written as escapes, as bash, zsh and ksh read them.

    Example:
        >>> print(shell_word("car [1].dat"), shell_word("two\nlines"))
        'car [1].dat' $'two\x0alines'
    """
    if text.isprintable():
        return shlex.quote(text)
    return f"$'{''.join(map(_escaped, text))}'"


def _escaped(sign: str) -> str:
    if sign in "\\'":
        return f"\\{sign}"
    return sign if sign.isprintable() else "".join(f"\\x{byte:02x}" for byte in os.fsencode(sign))

"""Words as people read and write them: titles, and suggestions for a word that names nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def metric_title(name: str) -> str:
    """A metric's name as the heading of a column.

    Example:
        >>> metric_title("warping_error")
        'WARPING ERROR'
    """
    return name.replace("_", " ").upper()


def suggestion(name: str, known: Iterable[str]) -> str:
    """`: did you mean X?` for the known names nearest to one, or an empty text.

    Of dotted names the last words count as well.

    Example:
        >>> suggestion("strid", ["height", "stop", "stride"])
        ': did you mean stride?'
    """
    known = list(dict.fromkeys(known))
    lasts = {one: one.rpartition(".")[2] for one in known}
    last = name.rpartition(".")[2]
    near = [one for one in known if lasts[one] == last]
    near += difflib.get_close_matches(name, known, 2, _likeness(name))
    close = difflib.get_close_matches(last, sorted(set(lasts.values())), 2, _likeness(last))
    near += [one for one in known if lasts[one] in close]
    beside = [one for one in near if one.rpartition(".")[0] == name.rpartition(".")[0] != ""]
    near = list(dict.fromkeys(beside or near))[:3]
    return f": did you mean {' or '.join(near)}?" if near else ""


def _likeness(name: str) -> float:
    """Share of letters that a suggestion has in common: one slip in a short name weighs more."""
    return 0.6 if len(name) < 6 else 0.7

"""Items made ahead of their reader, in a thread of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

Item = TypeVar("Item")

#: Items ready between two threads: one in use, one waiting.
DEPTH = 2


class _End:
    """After the last item."""


END: Final = _End()


def ahead(items: Generator[Item, None, None], depth: int) -> Generator[Item, None, None]:
    """The same items, made in a thread of their own, at most `depth` of them ahead.

    An error in making one is raised in its place. When the reader stops early, so does the thread.
    """
    with ThreadPoolExecutor(1) as pool:
        pending = deque(pool.submit(next, items, END) for _ in range(depth))
        try:
            while not isinstance(item := pending.popleft().result(), _End):
                pending.append(pool.submit(next, items, END))
                yield item
        finally:
            for future in pending:
                future.cancel()
            pool.submit(items.close).result()

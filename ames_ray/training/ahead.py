"""Work that is done ahead of whoever needs it."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    items: Iterable[Item], work: Callable[[Item], Result], *, depth: int, threads: int = 1
) -> Iterator[tuple[Item, Result, float]]:
    """Results in the order of the items, worked on by threads while the caller is busy with earlier ones.

    An error of `work` is raised when its item's turn comes. Closing the iterator, or leaving it by an error,
    drops what nobody has begun and waits for what somebody has.

    Args:
        items: What to work on; drawn in the caller's thread, never more than `depth` ahead.
        work: Called with one item in another thread.
        depth: Items that are begun or finished before they are needed; bounds the memory.
        threads: Threads at work.

    Yields:
        The item, its result, and the seconds that the caller waited for it.
    """
    source = iter(items)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
    pending: deque[tuple[Item, Future[Result]]] = deque()
    try:
        while True:
            for item in islice(source, depth - len(pending)):
                pending.append((item, pool.submit(work, item)))
            if not pending:
                return
            item, future = pending.popleft()
            began = time.perf_counter()
            result = future.result()
            yield item, result, time.perf_counter() - began
    finally:
        pool.shutdown(cancel_futures=True)

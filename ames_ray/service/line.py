"""Searches one after another: a line of bounded length in front of one thread."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from ames_ray.service.problems import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Result = TypeVar("Result")


class Line:
    """Who waits for a search.

    One thread works: a search uses all CPUs that it was given, and two at once would need the memory of two
    decoded photos.

    Args:
        length: How many may be in it, the one that is served included.
        timeout: Longest wait for a result [s].
    """

    def __init__(self, length: int, timeout: float) -> None:
        self._length = length
        self._timeout = timeout
        self._inside = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="search")

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the line, from before the upload is read: it bounds the memory of all uploads.

        Raises:
            Refused: 503, the line is full.
        """
        if self._inside >= self._length:
            raise Refused(503, "too_busy", f"{self._inside} searches wait already")
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def run(self, work: Callable[[], Result]) -> Result:
        """The result of `work`, when its turn came.

        Raises:
            Refused: 503, it took too long; work that has not begun by then is dropped.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                return await loop.run_in_executor(self._thread, work)
        except TimeoutError:
            raise Refused(503, "too_slow", f"no result within {self._timeout:g} s") from None

"""Progress of scoring on stderr: a live bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from ames_ray.cli.bar import Bar
from ames_ray.cli.display import duration

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console


class PairDisplay(Bar):
    """Shows how many pairs are scored; called with pairs done and pairs in all, first before any is.

    Args:
        console: Where to show it; stderr by default, so that results alone go to stdout.
    """

    def __init__(self, console: Console | None = None) -> None:
        rate = TextColumn("{task.fields[rate]}")
        super().__init__(console, TextColumn("pairs"), BarColumn(), MofNCompleteColumn(), rate)
        self._task = self._bar.add_task("pairs", rate="")
        self._kept: int | None = None
        self._done = 0
        self._began = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        scored = self._done - (self._kept or 0)
        if kind is None and scored:
            rate = scored / max(time.monotonic() - self._began, 1e-9)
            self._say(f"{scored:,} pairs, {rate:,.0f} pairs/s")

    def __call__(self, done: int, total: int) -> None:
        """Show what is done."""
        now = time.monotonic()
        if self._kept is None:
            # Pairs of an earlier run say nothing about the rate of this one.
            self._kept, self._began = done, now
            if done:
                self._say(f"{total:,} pairs, {done:,} of them are done already")
        self._done = done
        rate = _rate(done - self._kept, total - done, now - self._began)
        self._bar.update(self._task, completed=done, total=total, rate=rate)
        percent = 100 * done / max(1, total)
        self._log(f"pairs {done:,}/{total:,} ({percent:.0f} %)  {rate}")


def _rate(scored: int, left: int, seconds: float) -> str:
    """Rate and time left."""
    if not scored or seconds <= 0:
        return ""
    rate = scored / seconds
    return f"{rate:,.0f} pairs/s" + (f"  ETA {duration(left / rate)}" if left else "")

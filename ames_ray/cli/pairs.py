"""Progress of scoring on stderr: a live bar on a terminal, one line at the end in a log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from ames_ray.cli.bar import Bar

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console


class PairDisplay(Bar):
    """Shows how many pairs are scored; called with pairs done and pairs in all.

    Args:
        console: Where to show it; stderr by default, so that results alone go to stdout.
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(
            console, TextColumn("pairs"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        )
        self._task = self._bar.add_task("pairs")
        self._done = 0
        self._began = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if kind is None and self._done:
            rate = self._done / max(time.monotonic() - self._began, 1e-9)
            self._console.print(f"{self._done:,} pairs, {rate:,.0f} pairs/s", highlight=False)

    def __call__(self, done: int, total: int) -> None:
        """Show what is done."""
        self._done = done
        self._bar.update(self._task, completed=done, total=total)

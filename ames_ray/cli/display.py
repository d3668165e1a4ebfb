"""Progress on stderr: a live bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from ames_ray.cli.bar import Bar

if TYPE_CHECKING:
    from rich.console import Console

    from ames_ray.distributed.board import BoardState


class Display(Bar):
    """Shows a running extraction; a `Watcher`.

    Args:
        console: Where to show it; stderr by default, so that results alone go to stdout.
    """

    def __init__(self, console: Console | None = None) -> None:
        rate = TextColumn("{task.fields[rate]}")
        super().__init__(console, TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate)
        self._task = self._bar.add_task("starting", rate="")
        self._rows = self._done = 0
        self._began: float | None = None
        self._workers: set[str] = set()

    def begin(self, rows: int, done: int) -> None:
        """Show how much there is to do."""
        self._rows, self._done = rows, done
        self._bar.update(self._task, total=rows, completed=done)
        if done:
            self._say(f"{rows:,} images, {done:,} of them are done already")

    def update(self, state: BoardState) -> None:
        """Show where the run is."""
        if not state.workers:
            return
        now = time.monotonic()
        for worker in sorted(state.workers.keys() - self._workers):
            self._workers.add(worker)
            self._say(f"worker {state.workers[worker]}")
        self._began = self._began or now
        completed = self._done + state.progress.rows
        rate = describe(state, self._rows - completed, now - self._began)
        self._bar.update(self._task, description="extract", completed=completed, rate=rate)
        percent = 100 * completed / max(1, self._rows)
        self._log(f"extract {completed:,}/{self._rows:,} ({percent:.0f} %)  {rate}")


def describe(state: BoardState, left: int, seconds: float) -> str:
    """Rate, failures, time left and how busy the network is.

    Args:
        state: What the workers did.
        left: Images still to be done.
        seconds: Time since the first worker was ready.
    """
    done = state.progress
    words = []
    if done.rows and seconds > 0:
        rate = done.rows / seconds
        words.append(f"{rate:.1f} images/s")
        if left:
            words.append(f"ETA {duration(left / rate)}")
    if done.failed:
        words.append(f"{done.failed:,} failed")
    if done.rows:
        words.append(f"network busy {100 * done.busy:.0f} %")
    return "  ".join(words)


def duration(seconds: float) -> str:
    """Seconds for people: 42 s, 3 min 20 s, 5 h 12 min, 3 d 4 h."""
    whole = round(seconds)
    for unit, small, length in (("d", "h", 86400), ("h", "min", 3600), ("min", "s", 60)):
        if whole >= length:
            part = {"h": 3600, "min": 60, "s": 1}[small]
            rest = whole % length // part
            return f"{whole // length} {unit}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"

"""A live bar on stderr; where stderr is no terminal, a line now and then in its place."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import Progress

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import ProgressColumn

_LOG_SECONDS = 10.0


class Bar:
    """Base of the progress displays; shown inside a `with` block.

    Args:
        console: Where to show it; stderr by default, so that results alone go to stdout.
        columns: What the bar is made of.
    """

    def __init__(self, console: Console | None, *columns: ProgressColumn) -> None:
        self._console = console or Console(file=sys.stderr)
        self._bar = Progress(
            *columns, console=self._console, disable=not self._console.is_terminal, transient=True
        )
        self._logged = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def _say(self, line: str) -> None:
        """Print a line that stays."""
        self._console.print(line, highlight=False, soft_wrap=True)

    def _log(self, line: str, *, always: bool = False) -> None:
        """Print a line where there is no bar, unless the last one is not long ago."""
        now = time.monotonic()
        if not self._console.is_terminal and (always or now - self._logged >= _LOG_SECONDS):
            self._logged = now
            self._say(line)

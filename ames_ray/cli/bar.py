"""A live bar on stderr; nothing is drawn where stderr is no terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import Progress

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import ProgressColumn


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

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

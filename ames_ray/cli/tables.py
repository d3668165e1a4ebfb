"""Small tables on stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping


def facts(title: str, rows: Mapping[str, str]) -> None:
    """Print names and values, one a line, as they are: brackets in a path are no markup."""
    table = Table(title=escape(title), title_justify="left", title_style="bold", show_header=False, box=None)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(escape(name), escape(value))
    Console(highlight=False).print(table)


def counts(numbers: Mapping[str, int], prefix: str = "") -> dict[str, str]:
    """Counts by reason as rows of a table, indented below the row before."""
    return {f"  {prefix} {name}".replace("   ", "  "): f"{number:,}" for name, number in numbers.items()}

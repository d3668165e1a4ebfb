"""Pieces that the reports share, as HTML: figures at the top, notes, legends, tables that sort, the card."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from ames_ray.report.compare import flat
from ames_ray.report.shell import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ames_ray.report.plot import Line

_FEW = 12


def hero(name: str, value: str, below: str = "") -> str:
    """A large figure; `below` is HTML."""
    return (
        f'<div class="hero"><span class="name">{escape(name)}</span><b>{escape(value)}</b>'
        f'<span class="quiet">{below}</span></div>'
    )


def heroes(title: str, parts: Sequence[str]) -> str:
    """Large figures side by side, under a name for screen readers; nothing without any."""
    return f'<section class="heroes" aria-label="{escape(title)}">{"".join(parts)}</section>' if parts else ""


def change(before: float, after: float) -> str:
    """What a share gained or lost, in points, from where."""
    kind = "gain" if after > before else "loss" if after < before else "same"
    sign = "−" if after < before else "+"
    return f'<span class="{kind}">{sign}{100 * abs(after - before):.2f}</span> from {100 * before:.2f}'


def notes(sentences: Sequence[str]) -> str:
    """Sentences in a box; nothing without any."""
    if not sentences:
        return ""
    return f'<div class="note"><ul>{"".join(f"<li>{escape(s)}</li>" for s in sentences)}</ul></div>'


def keys(lines: Iterable[Line]) -> str:
    """A legend: each name once."""
    named = {line.name: line for line in lines}
    items = "".join(f"<li>{_key(line)}{escape(name)}</li>" for name, line in named.items())
    return f'<ul class="keys quiet">{items}</ul>'


def _key(line: Line) -> str:
    dot = '<circle cx="11" cy="5" r="3"/>' if line.look in ("dots", "dotted") else ""
    shape = dot if line.look == "dots" else f'<polyline points="0,5 22,5"/>{dot}'
    group = f'<g class="{line.classes}">{shape}</g>'
    return f'<svg class="key" viewBox="0 0 22 10" aria-hidden="true">{group}</svg>'


def figure(title: str, drawing: str) -> str:
    """A chart under its name, with room for what the pointer stands on."""
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>{drawing}"
        f'<output class="readout quiet"></output></figure>'
    )


def dialog_head(name: str) -> str:
    """The head of a page's dialog, which shows one result: its name, facts about it, ways on and out.

    Args:
        name: Of the dialog; its texts are `NAME-title`, with the text in its first child, and `NAME-facts`.
    """
    buttons = (("previous", "Previous result", "←"), ("next", "Next result", "→"), ("close", "Close", "✕"))
    drawn = "".join(
        f'<button type="button" id="{key}" aria-label="{said}">{sign}</button>' for key, said, sign in buttons
    )
    return (
        f'<header><div><h2 id="{name}-title"><bdi></bdi></h2><p id="{name}-facts" class="quiet"></p></div>'
        f'<div class="buttons">{drawn}</div></header>'
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], best: int | None = None) -> str:
    """Cells in columns whose headings sort them.

    Args:
        columns: Headings.
        rows: Texts.
        best: Number of the row to stand out, or none.
    """
    head = "".join(f'<th scope="col"><button type="button">{escape(name)}</button></th>' for name in columns)
    lines = []
    for place, row in enumerate(rows):
        mark = ' class="best"' if place == best else ""
        lines.append(f"<tr{mark}>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>")
    return (
        '<div class="scroll" tabindex="0"><table class="sortable">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def folded(title: str, content: str, *, opened: bool) -> str:
    """Content that opens on a click."""
    return f"<details{' open' if opened else ''}><summary>{escape(title)}</summary>{content}</details>"


def few(rows: Sequence[Any]) -> bool:
    """Whether a table is short enough to be open from the start."""
    return len(rows) <= _FEW


def card(content: Mapping[str, Any], title: str = "Card: everything that decided these numbers") -> str:
    """A result card, folded; nothing without one."""
    if not content:
        return ""
    values = sorted(flat(dict(content)).items())
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(plain(value))}</dd>" for name, value in values)
    return folded(title, f"<dl>{rows}</dl>", opened=False)


def plain(value: Any) -> str:
    """A setting as text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=True)


def percent(value: float | None) -> str:
    """A share in %; a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:.2f}"

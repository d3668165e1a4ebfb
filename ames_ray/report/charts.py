"""Small charts as SVG, drawn by hand: no style attributes, so that a strict page may hold them.

Colours come from classes of the page's style sheet; every mark has a `title` that says its numbers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ames_ray.report.shell import escape
from ames_ray.report.svg import label, rule, svg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

_WIDTH, _HEIGHT = 360, 280
_LEFT, _TOP, _RIGHT, _BOTTOM = 40, 30, 12, 44
_CELL_WIDTH, _CELL_HEIGHT, _CELL_LEFT, _CELL_TOP = 64, 34, 56, 6


def curve_chart(title: str, series: Mapping[str, NDArray[np.float64]], across: str, up: str) -> str:
    """Curves over 0 … 1, values 0 … 1.

    Args:
        title: What it shows, for screen readers.
        series: By name, values at even steps; the n-th one gets the class `series-n`.
        across: Name of the horizontal axis.
        up: Name of the vertical axis.
    """
    parts = [_axes(across, up)]
    for number, (name, values) in enumerate(series.items()):
        last = max(1, len(values) - 1)
        points = " ".join(f"{_x(i / last):.1f},{_y(float(v)):.1f}" for i, v in enumerate(values))
        line = f'<polyline class="series series-{number}" points="{points}">'
        parts.append(f"{line}<title>{escape(name)}</title></polyline>")
    return svg(_WIDTH, _HEIGHT, title, parts)


def heat_map(
    title: str,
    rows: Sequence[float],
    columns: Sequence[float],
    values: Sequence[Sequence[float]],
    axes: tuple[str, str],
) -> str:
    """Numbers in a grid, darker where larger; the largest is framed.

    Args:
        title: What it shows, for screen readers.
        rows: Numbers at the left.
        columns: Numbers below.
        values: Fractions by row and column; NaN leaves a cell empty.
        axes: Names of rows and columns.
    """
    finite = [v for line in values for v in line if not math.isnan(v)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    parts = []
    for r, line in enumerate(values):
        top = _CELL_TOP + r * _CELL_HEIGHT
        parts.append(label(_CELL_LEFT - 8, top + _CELL_HEIGHT / 2 + 4, f"{axes[0]} {rows[r]:g}", "end"))
        for c, value in enumerate(line):
            if not math.isnan(value):
                where = f"{axes[0]} {rows[r]:g}, {axes[1]} {columns[c]:g}: {100 * value:.2f}"
                parts.append(_cell(_CELL_LEFT + c * _CELL_WIDTH, top, value, (low, high), where))
    bottom = _CELL_TOP + len(rows) * _CELL_HEIGHT
    parts += [
        label(_CELL_LEFT + (c + 0.5) * _CELL_WIDTH, bottom + 16, f"{axes[1]} {number:g}", "middle")
        for c, number in enumerate(columns)
    ]
    width = _CELL_LEFT + len(columns) * _CELL_WIDTH + _RIGHT
    return svg(width, bottom + 24, title, parts)


def _cell(left: float, top: float, value: float, extent: tuple[float, float], where: str) -> str:
    low, high = extent
    share = (value - low) / (high - low) if high > low else 1.0
    best = " best" if value == high else ""
    box = f'x="{left + 1:g}" y="{top + 1:g}" width="{_CELL_WIDTH - 2}" height="{_CELL_HEIGHT - 2}" rx="4"'
    tone = "light" if share > 0.7 else "dark"
    return (
        f'<g class="cell{best}"><title>{escape(where)}</title>'
        f'<rect class="heat" {box} fill-opacity="{0.08 + 0.92 * share:.3f}"/>'
        f'<text class="{tone}" x="{left + _CELL_WIDTH / 2:g}" y="{top + _CELL_HEIGHT / 2 + 4:g}" '
        f'text-anchor="middle">{100 * value:.2f}</text></g>'
    )


def _axes(across: str, up: str) -> str:
    lines = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        y, x = _y(tick), _x(tick)
        lines.append(rule(_LEFT, _WIDTH - _RIGHT, y, y))
        lines.append(label(_LEFT - 8, y + 4, f"{100 * tick:g}", "end"))
        lines.append(label(x, _HEIGHT - _BOTTOM + 18, f"{100 * tick:g}", "middle"))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    lines.append(label(middle, _HEIGHT - 4, f"{across}, %", "middle"))
    lines.append(label(0, 12, f"{up}, %", "start"))
    return "".join(lines)


def _x(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return _TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM)

"""Lines and points over axes with numbers, as SVG; what the pointer stands on is told in words."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from ames_ray.report.shell import escape
from ames_ray.report.svg import Scale, label, rule, svg

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

WIDTH, HEIGHT = 372, 260
_LEFT, _TOP, _RIGHT, _BOTTOM = 58, 26, 14, 44
COLOURS = 8
"""Colours that the style sheet has; later lines take them again, with gaps."""


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One series of a chart.

    Attributes:
        name: What it is called in words and legends.
        x: (N,) ascending.
        y: (N,); NaN is left out.
        colour: Number of its colour; none for the quiet one of things to compare with.
        look: A line, a line in steps, a broken one, one with dots on it, or dots alone.
        low: (N,) lower edge of a band around it, or none.
        high: (N,) upper edge.
        ring: Which point is marked, or none.
    """

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    colour: int | None = 0
    look: Literal["line", "steps", "dashed", "dotted", "dots"] = "line"
    low: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None
    ring: int | None = None

    @property
    def classes(self) -> str:
        """Names for the style sheet."""
        if self.colour is None:
            return f"run run-quiet {self.look}"
        again = " again" if self.colour >= COLOURS else ""
        return f"run run-{self.colour % COLOURS} {self.look}{again}"


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing with its words.

    Attributes:
        svg: The drawing.
        stops: By place along the x axis, what is there.
    """

    svg: str
    stops: list[tuple[float, str]]


def line_chart(
    title: str,
    lines: Sequence[Line],
    across: str,
    up: str,
    *,
    form: str = ".4g",
    log: bool = False,
    lowest: float | None = None,
) -> Chart:
    """Lines over common axes.

    Args:
        title: What it shows, for screen readers.
        lines: In the order in which they are drawn.
        across: Name of the horizontal axis.
        up: Name of the vertical one.
        form: Format of the values in words.
        log: Whether equal ratios of the values are equal lengths.
        lowest: Values below it are drawn at it; none for no such limit.
    """
    x = Scale.around(_all([line.x for line in lines]), _LEFT, WIDTH - _RIGHT, margin=0.02)
    values = _all([v for line in lines for v in (line.y, line.low, line.high) if v is not None])
    if lowest is not None:
        values = np.maximum(values, lowest)
    y = Scale.around(values, HEIGHT - _BOTTOM, _TOP, log=log)
    parts = [frame(x, y, across, up), *(_drawn(line, x, y) for line in lines)]
    stops = [(round(x(at), 1), f"{across} {at:,.10g}: {_words(lines, at, form)}") for at in _stops(lines)]
    return Chart(svg(WIDTH, HEIGHT, title, parts, ' class="readable" tabindex="0"'), stops)


def frame(x: Scale, y: Scale, across: str, up: str, across_text: Callable[[float], str] | None = None) -> str:
    """Axes with their names, numbers and lines behind the chart; `across_text` writes numbers below it."""
    written = across_text or number
    parts = []
    for tick in y.ticks:
        parts.append(rule(_LEFT, WIDTH - _RIGHT, y(tick), y(tick)))
        parts.append(label(_LEFT - 8, round(y(tick) + 4, 1), number(tick), "end"))
    parts += [label(round(x(tick), 1), HEIGHT - _BOTTOM + 18, written(tick), "middle") for tick in x.ticks]
    parts.append(label((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 6, across, "middle"))
    parts.append(label(0, 12, up, "start"))
    return "".join(parts)


def point_scales(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[Scale, Scale]:
    """Scales of a chart that hold all points; powers of 2 are round numbers of the horizontal one."""
    return (
        Scale.around(x, _LEFT, WIDTH - _RIGHT, log=True, base=2),
        Scale.around(y, HEIGHT - _BOTTOM, _TOP),
    )


def number(value: float) -> str:
    """A number of an axis."""
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:,.6g}"


def _drawn(line: Line, x: Scale, y: Scale) -> str:
    low, high = sorted((y.low, y.high))
    places = [
        (x(at), y(float(np.clip(value, low, high))))
        for at, value in zip(line.x.tolist(), line.y.tolist(), strict=True)
        if np.isfinite(value) and (value > 0 or not y.log)
    ]
    name = f"<title>{escape(line.name)}</title>"
    shape = ""
    if line.low is not None and line.high is not None:
        shape += _band(line, x, y)
    if line.look != "dots":
        path = _steps(places) if line.look == "steps" else places
        shape += f'<polyline points="{_points(path)}">{name}</polyline>'
    if line.look in ("dots", "dotted"):
        shape += "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.8">{name}</circle>' for a, b in places)
    if line.ring is not None and len(places) == len(line.x):
        a, b = places[line.ring]
        shape += f'<circle class="ring" cx="{a:.1f}" cy="{b:.1f}" r="6.5">{name}</circle>'
    return f'<g class="{line.classes}">{shape}</g>'


def _band(line: Line, x: Scale, y: Scale) -> str:
    if line.low is None or line.high is None:
        return ""
    floor = y.low
    upper = [(x(a), y(max(b, floor))) for a, b in zip(line.x.tolist(), line.high.tolist(), strict=True)]
    lower = [(x(a), y(max(b, floor))) for a, b in zip(line.x.tolist(), line.low.tolist(), strict=True)]
    return f'<polygon class="band" points="{_points([*upper, *reversed(lower)])}"/>'


def _steps(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same points, with a level line up to each next one."""
    found = list(places[:1])
    for before, after in pairwise(places):
        found += [(after[0], before[1]), after]
    return found


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in places)


def _all(arrays: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate([np.empty(0), *arrays])


def _stops(lines: Sequence[Line]) -> list[float]:
    found: list[float] = np.unique(_all([line.x for line in lines if line.look != "dashed"])).tolist()
    return found


def _words(lines: Sequence[Line], at: float, form: str) -> str:
    """The values of all lines at one place; of a broken one, which is the same everywhere, its value."""
    found = []
    for line in lines:
        here = line.y[-1:] if line.look == "dashed" else line.y[line.x == at]
        if len(here) and np.isfinite(here[0]):
            found.append(f"{line.name} {here[0]:{form}}")
    return ", ".join(found)

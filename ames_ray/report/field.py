"""A map of numbers over two settings, too many for a number in each cell: a picture of one pixel a cell."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ames_ray.report.plot import number
from ames_ray.report.shell import escape
from ames_ray.report.svg import Scale, label, svg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SIDE, _LEFT, _TOP, _RIGHT, _BOTTOM = 200, 58, 8, 12, 42
_FEW = 6
_STEPS = 64


@dataclass(frozen=True, slots=True)
class Axis:
    """One of the settings.

    Attributes:
        name: What it is called.
        values: Of the cells, ascending; cells have equal sizes.
        log: Whether equal ratios are equal lengths between two cells.
    """

    name: str
    values: tuple[float, ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value lies, from 0, the start of the first cell, to 1, the end of the last one."""
        known = np.log(self.values) if self.log else np.array(self.values)
        cell = np.interp(math.log(value) if self.log else value, known, np.arange(len(known)))
        return (float(cell) + 0.5) / len(self.values)

    @property
    def ticks(self) -> list[float]:
        """Numbers to write."""
        if len(self.values) <= _FEW:
            return list(self.values)
        return Scale(self.values[0], self.values[-1], 0, 1, self.log).ticks


@dataclass(frozen=True, slots=True)
class Dot:
    """A mark on a map.

    Attributes:
        x: Value of the horizontal setting.
        y: Value of the vertical one.
        words: What is there.
        best: Whether it is the one to look at.
    """

    x: float
    y: float
    words: str
    best: bool = False


def field_map(
    title: str,
    axes: tuple[Axis, Axis],
    values: NDArray[np.float64],
    extent: tuple[float, float],
    dots: Sequence[Dot] = (),
) -> str:
    """The map as SVG.

    Args:
        title: What it shows, for screen readers.
        axes: The horizontal setting, the vertical one.
        values: (R, C), rows by the vertical setting; NaN leaves a cell empty.
        extent: Numbers of the darkest and of the lightest colour.
        dots: Marks on it.
    """
    x, y = axes
    box = f'x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}"'
    parts = [
        f'<image class="cells" {box} preserveAspectRatio="none" href="{_picture(values[::-1], extent)}"/>'
    ]
    parts += [label(round(_x(x.place(t)), 1), _TOP + _SIDE + 17, number(t), "middle") for t in x.ticks]
    parts += [label(_LEFT - 7, round(_y(y.place(t)) + 4, 1), number(t), "end") for t in y.ticks]
    parts.append(label(_LEFT + _SIDE / 2, _TOP + _SIDE + 36, x.name, "middle"))
    parts.append(label(6, _TOP + _SIDE / 2, y.name, "start"))
    parts += [_mark(dot, _x(x.place(dot.x)), _y(y.place(dot.y))) for dot in dots]
    width, height = _LEFT + _SIDE + _RIGHT, _TOP + _SIDE + _BOTTOM
    return svg(width, height, title, parts, ' class="readable" tabindex="0"')


def field_words(axes: tuple[Axis, Axis], values: NDArray[np.float64]) -> dict[str, Any]:
    """What the page's script tells of the cell under the pointer: numbers by row and column, in 0.01 %."""
    cells = [[None if math.isnan(v) else round(10_000 * v) for v in row] for row in values.tolist()]
    return {
        "box": [_LEFT, _TOP, _SIDE, _SIDE],
        "names": [axis.name for axis in axes],
        "x": list(axes[0].values),
        "y": list(axes[1].values),
        "cells": cells,
    }


def colour_bar(extent: tuple[float, float]) -> str:
    """The colours with their numbers in %."""
    steps = np.linspace(*extent, _STEPS)[None]
    low, high = (f"{100 * value:.2f}" for value in extent)
    return f'<p class="colours quiet">≤ {low}<img alt="" src="{_picture(steps, extent)}">{high} %</p>'


def _x(share: float) -> float:
    return _LEFT + share * _SIDE


def _y(share: float) -> float:
    return _TOP + (1 - share) * _SIDE


def _mark(dot: Dot, x: float, y: float) -> str:
    words = f"<title>{escape(dot.words)}</title>"
    if not dot.best:
        return f'<circle class="trial" cx="{x:.1f}" cy="{y:.1f}" r="3">{words}</circle>'
    cross = f"M{x - 6:.1f} {y - 6:.1f}l12 12m0 -12l-12 12"
    return f'<g class="optimum">{words}<path class="halo" d="{cross}"/><path d="{cross}"/></g>'


def _picture(values: NDArray[np.float64], extent: tuple[float, float]) -> str:
    """The numbers as an address of a PNG, one pixel each."""
    low, high = extent
    share = np.clip((values - low) / (high - low), 0, 1)
    levels = np.rint(255 * np.nan_to_num(share)).astype(np.uint8)
    colours = np.dstack([cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), 255 * np.isfinite(values)])
    _, data = cv2.imencode(".png", colours.astype(np.uint8))
    return f"data:image/png;base64,{base64.b64encode(data.tobytes()).decode()}"

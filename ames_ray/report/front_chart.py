"""The figure against bytes an image, with the settings that nothing beats in front of all others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.report.plot import HEIGHT, WIDTH, frame, point_scales
from ames_ray.report.shell import escape
from ames_ray.report.svg import svg
from ames_ray.report.tuning import size_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SHAPES = (
    "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0",
    "M-4.5 -4.5h9v9h-9z",
    "M0 -6l6 6l-6 6l-6 -6z",
    "M0 -6l5.5 10h-11z",
    "M0 6l5.5 -10h-11z",
)
"""One for each network, round (0, 0)."""


def front_chart(rows: Sequence[Mapping[str, Any]], figure: str, kept: Sequence[bool]) -> str:
    """The chart with its legend, as HTML.

    Args:
        rows: Complete trials with model, bytes_an_image and seconds_a_query.
        figure: What was raised.
        kept: Which of them nothing beats; one at least.
    """
    size = np.array([row["bytes_an_image"] for row in rows], np.float64)
    value = 100 * np.array([row[figure] for row in rows], np.float64)
    flags = np.array(kept, np.bool_)
    low = min(float(np.quantile(value, 0.1)), float(value[flags].min()))
    x, y = point_scales(size, np.maximum(value, low))
    name = figure.replace("_", " ")
    parts = [frame(x, y, "local descriptors of a gallery image", f"{name}, %", across_text=size_text)]
    models = sorted({str(row["model"]) for row in rows})
    shade = _shades([row["seconds_a_query"] for row in rows], flags)
    for front in (False, True):
        for place in np.flatnonzero(flags == front).tolist():
            where = x(float(size[place])), y(max(float(value[place]), low))
            shape = _SHAPES[models.index(str(rows[place]["model"])) % len(_SHAPES)]
            look = f' class="kept" fill-opacity="{shade[place]:.2f}"' if front else ' class="beaten"'
            moved = f'transform="translate({where[0]:.1f} {where[1]:.1f})"'
            words = f"<title>{escape(_words(rows[place], figure))}</title>"
            parts.append(f'<g {moved}>{words}<path{look} d="{shape}"/></g>')
    drawing = svg(WIDTH, HEIGHT, f"{name} against bytes an image", parts)
    return f'<div class="charts"><figure>{drawing}</figure></div>{_legend(models)}'


def _shades(seconds: Sequence[float], flags: np.ndarray[Any, np.dtype[np.bool_]]) -> list[float]:
    """How full the colour is: by the logarithm of the time a query, over those that are kept."""
    # K = 0 takes no time, which a logarithm does not know.
    least = min((time for time in seconds if time > 0), default=1.0)
    times = np.log(np.maximum(np.array(seconds, np.float64), least))
    low, high = float(times[flags].min()), float(times[flags].max())
    if low == high:
        return [1.0] * len(times)
    shades: list[float] = (0.15 + 0.85 * np.clip((times - low) / (high - low), 0, 1)).tolist()
    return shades


def _legend(models: Sequence[str]) -> str:
    items = [
        _key(_SHAPES[n % len(_SHAPES)], "kept") + escape(model.rpartition("/")[2])
        for n, model in enumerate(models)
    ]
    items.append(_key(_SHAPES[0], "beaten") + "beaten by another")
    items.append("the fuller the colour, the longer a query takes")
    return f'<ul class="keys quiet">{"".join(f"<li>{item}</li>" for item in items)}</ul>'


def _key(shape: str, look: str) -> str:
    path = f'<path class="{look}" d="{shape}"/>'
    return f'<svg class="key" viewBox="-8 -8 16 16" aria-hidden="true">{path}</svg>'


def _words(row: Mapping[str, Any], figure: str) -> str:
    seconds = row["seconds_a_query"]
    time = f"{seconds:.3g} s a query" if math.isfinite(seconds) else "time unknown"
    return (
        f"{100 * row[figure]:.2f} % with {size_text(row['bytes_an_image'])} an image, {time}; "
        f"K {row['num_rerank']:,.0f}, λ {row['lamb']:.3g}, γ {row['temp']:.3g}, "
        f"{str(row['model']).rpartition('/')[2]}"
    )

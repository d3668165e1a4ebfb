"""The landscape of a search: its figure over λ and γ for each K, with the trials and the optimum on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.report.field import Axis, Dot, colour_bar, field_map, field_words
from ames_ray.report.parts import figure, percent
from ames_ray.report.shell import escape
from ames_ray.report.tuning import contrast, nearest_head

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ames_ray.report.tuning_run import TuningRun
    from ames_ray.tuning.grid import GridTable

BUDGET = ("model", "query_desc_num", "db_desc_num")
SIGNS = {"lamb": "λ", "temp": "γ", "num_rerank": "K"}


def setting(values: Mapping[str, Any], names: Sequence[str] = tuple(SIGNS)) -> str:
    """Settings in words, λ, γ and K by their signs."""
    shown = ((SIGNS.get(name, name), values[name]) for name in names)
    return ", ".join(f"{name} {v:,.4g}" if isinstance(v, float | int) else f"{name} {v}" for name, v in shown)


def landscape(run: TuningRun, table: GridTable, readouts: list[dict[str, Any]]) -> str:
    """A section of HTML: λ against γ for each K, the trials on the map of the nearest K.

    Args:
        run: The search.
        table: Its grid.
        readouts: Gets what the page's script tells of each map.
    """
    grid, values = table.grid, table.figures[run.figure]
    if min(len(grid.lamb), len(grid.temp)) < 2:
        return ""
    axes = Axis("λ", grid.lamb), Axis("γ", grid.temp, min(grid.temp) > 0)
    low, high = (bound / 100 for bound in contrast(100 * values))
    dots = _dots(run, grid.num_rerank)
    maps = []
    for place, head in enumerate(grid.num_rerank):
        here = values[..., place]
        title = f"K = {head:,}: at best {100 * np.nanmax(here):.2f}"
        drawn = field_map(f"{run.figure} over λ and γ, {title}", axes, here, (low, high), dots[place])
        maps.append(figure(title, drawn))
        readouts.append(field_words(axes, here))
    said = "A dot is a trial, on the map of the nearest K. " if run.trials else ""
    return (
        f"<section><h2>{escape(run.figure.replace('_', ' '))} over λ and γ</h2>{colour_bar((low, high))}"
        f'<div class="charts">{"".join(maps)}</div>'
        f'<p class="quiet">{said}The cross is the exact optimum. Arrow keys move over a map.</p></section>'
    )


def _dots(run: TuningRun, heads: Sequence[int]) -> list[list[Dot]]:
    """Marks of the map of each K: the trials of the optimum's budget, and the optimum over them."""
    found: list[list[Dot]] = [[] for _ in heads]
    exact = run.exact or run.best
    for row in run.trials:
        same = all(row.get(name, exact[name]) == exact[name] for name in BUDGET)
        if same and run.reached(row):
            words = f"trial {row['trial']:.0f}: {setting(row)}: {percent(row[run.figure])}"
            found[nearest_head(heads, row["num_rerank"])].append(Dot(row["lamb"], row["temp"], words))
    words = f"exact optimum: {setting(exact)}: {percent(exact['value'])}"
    best = Dot(exact["lamb"], exact["temp"], words, best=True)
    found[nearest_head(heads, exact["num_rerank"])].append(best)
    return found

"""The sweep of an evaluation as maps of λ and γ for each K, with numbers where the cells are few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.report.charts import heat_map
from ames_ray.report.field import Axis, Dot, colour_bar, field_map, field_words
from ames_ray.report.parts import figure, percent
from ames_ray.report.shell import escape
from ames_ray.report.tuning import contrast
from ames_ray.report.tuning_map import SIGNS, setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ames_ray.report.evaluation import Evaluation

_MOST_LAMBS, _MOST_TEMPS = 16, 8
"""Of a map with numbers: further ones would be too wide for a page, or too small to read."""
_HINT = (
    '<p class="quiet">The cross is the best setting. Point at a map, or choose it and press the arrow keys, '
    "for its numbers.</p>"
)


def sweep_maps(evaluation: Evaluation, readouts: list[dict[str, Any]]) -> str:
    """A section of HTML, empty where one λ and one γ were tried.

    Args:
        evaluation: Whose settings.
        readouts: Gets what the page's script tells of each map without numbers.
    """
    rows = evaluation.rows
    lambs, temps, lengths = (sorted({row[name] for row in rows}) for name in SIGNS)
    if len(lambs) < 2 and len(temps) < 2:
        return ""
    name = evaluation.document["figure"]
    found = {tuple(row[sign] for sign in SIGNS): row[name] for row in rows}
    grids = {
        length: np.array([[found.get((lamb, temp, length)) for temp in temps] for lamb in lambs], np.float64)
        for length in lengths
    }
    if len(lambs) <= _MOST_LAMBS and len(temps) <= _MOST_TEMPS:
        maps = []
        for length, grid in grids.items():
            drawn = heat_map(_about(name, length), lambs, temps, grid.tolist(), ("λ", "γ"))
            maps.append(f"<figure><figcaption>K = {length:,.0f}</figcaption>{drawn}</figure>")
        return _section(name, maps)
    axes = Axis("λ", tuple(lambs)), Axis("γ", tuple(temps), temps[0] > 0)
    return _pictures(evaluation, grids, axes, readouts)


def _pictures(
    evaluation: Evaluation,
    grids: Mapping[int, NDArray[np.float64]],
    axes: tuple[Axis, Axis],
    readouts: list[dict[str, Any]],
) -> str:
    name, best = evaluation.document["figure"], evaluation.best["settings"]
    whole = np.stack(list(grids.values()))
    low, high = (bound / 100 for bound in contrast(100 * whole))
    words = f"best: {setting(best)}: {percent(evaluation.best['figures'][name])}"
    mark = Dot(best["lamb"], best["temp"], words, best=True)
    maps = []
    for length, grid in grids.items():
        dots = [mark] if length == best["num_rerank"] else []
        drawn = field_map(_about(name, length), axes, grid.T, (low, high), dots)
        maps.append(figure(f"K = {length:,.0f}: at best {percent(float(np.nanmax(grid)))}", drawn))
        readouts.append(field_words(axes, grid.T))
    return _section(name, maps, colour_bar((low, high)), _HINT)


def _about(name: str, length: float) -> str:
    return f"{name} over λ and γ, K = {length:g}"


def _section(name: str, maps: list[str], above: str = "", below: str = "") -> str:
    heading = f"{escape(name.replace('_', ' '))} over λ and γ"
    return f'<section><h2>{heading}</h2>{above}<div class="charts">{"".join(maps)}</div>{below}</section>'

"""From the best cell of a grid to the optimum: finer grids around it in γ and K, then the exact λ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.evaluation.best_lamb import best_lamb
from ames_ray.evaluation.ensemble import Ensemble
from ames_ray.tuning.grid import Grid, evaluate_grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ames_ray.evaluation.reranked import RerankedEvaluation
    from ames_ray.tuning.grid import GridTable

_ROUNDS = 2
_STARTS = 3
"""Best cells to refine: the finest one need not be next to the best one of a coarse grid."""
_LAMBS, _TEMPS, _HEADS = 41, 11, 7


@dataclass(frozen=True, slots=True)
class Optimum:
    """The best setting of a benchmark.

    Attributes:
        ensemble: λ, γ and K.
        value: The figure there, an unrounded fraction.
        low: Every λ between `low` and `high` gives the same value, for this γ and K.
        high: See `low`.
    """

    ensemble: Ensemble
    value: float
    low: float
    high: float


def refine(
    evaluation: RerankedEvaluation,
    table: GridTable,
    figure: str,
    *,
    free_temp: bool = True,
    free_head: bool = True,
) -> Optimum:
    """The best setting near the best cells of a grid.

    λ is exact: no λ within the grid's range is better for the γ and K that are returned. γ and K are the best
    ones of finer and finer grids between the neighbours of a cell; the figure is a step function of both, so
    more than that only a search of every γ could promise.

    Args:
        evaluation: Benchmark, ranking and scores.
        table: The grid.
        figure: Name of a mean average precision.
        free_temp: γ may lie between the values of the grid.
        free_head: Likewise K.

    Raises:
        ConfigError: There is no such figure.
        DatasetError: No query has positives for that figure.
    """
    found = []
    for start in _starts(table, figure):
        grid, best = table.grid, start
        for _ in range(_ROUNDS):
            grid = _around(grid, best, free_temp=free_temp, free_head=free_head)
            best = evaluate_grid(evaluation, grid).best(figure)
        found.append(_exact(evaluation, table.grid, best, figure))
    return max(found, key=lambda optimum: optimum.value)


def _starts(table: GridTable, figure: str) -> list[Ensemble]:
    """The best cells of different K."""
    values = table.figures[figure].max(axis=(0, 1))
    order = np.argsort(-values, kind="stable")[:_STARTS]
    cells = table.best_per_head(figure)
    return [cells[number] for number in order]


def _around(grid: Grid, best: Ensemble, *, free_temp: bool, free_head: bool) -> Grid:
    """A finer grid between the neighbours of a cell; the cell itself is part of it."""
    low, high = _neighbours(grid.lamb, best.lamb)
    lambs = {*np.linspace(low, high, _LAMBS).tolist(), best.lamb}
    temps = {best.temp}
    if free_temp:
        low, high = _neighbours(grid.temp, best.temp)
        temps |= set(np.geomspace(low, high, _TEMPS).tolist() if low > 0 else np.linspace(low, high, _TEMPS))
    heads = {best.num_rerank}
    if free_head:
        first, last = _neighbours(grid.num_rerank, best.num_rerank)
        heads |= {round(head) for head in np.linspace(first, last, _HEADS).tolist()}
    return Grid(
        tuple(sorted(min(max(lamb, grid.lamb[0]), grid.lamb[-1]) for lamb in lambs)),
        tuple(sorted(min(max(float(temp), grid.temp[0]), grid.temp[-1]) for temp in temps)),
        tuple(sorted(heads)),
    )


def _neighbours(values: Sequence[float], value: float) -> tuple[float, float]:
    place = list(values).index(value)
    return values[max(place - 1, 0)], values[min(place + 1, len(values) - 1)]


def _exact(evaluation: RerankedEvaluation, grid: Grid, best: Ensemble, figure: str) -> Optimum:
    """The best λ of the grid's range, unless rounding makes the one that was found better."""
    value = evaluation(best).figures[figure]
    ends = min(grid.lamb), max(grid.lamb)
    exact = best_lamb(evaluation, best.temp, best.num_rerank, figure, low=ends[0], high=ends[1])
    if exact.value < value:
        return Optimum(best, value, best.lamb, best.lamb)
    ensemble = Ensemble(exact.lamb, best.temp, best.num_rerank)
    return Optimum(ensemble, exact.value, exact.low, exact.high)

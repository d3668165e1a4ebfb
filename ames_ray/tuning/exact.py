"""The exact answer over a space: a whole grid of each budget, then the optimum near its best cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ames_ray.tuning.grid import Grid, evaluate_grid
from ames_ray.tuning.objective import is_mean_precision
from ames_ray.tuning.refine import Optimum, refine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ames_ray.evaluation.ensemble import Ensemble
    from ames_ray.evaluation.reranked import RerankedEvaluation
    from ames_ray.tuning.grid import GridTable
    from ames_ray.tuning.objective import Budget, Scored
    from ames_ray.tuning.space import Space

LAMBS, TEMPS, HEADS = 101, 20, 8
"""Values of a range in a grid."""


@dataclass(frozen=True, slots=True, eq=False)
class Exact:
    """The best setting of a space.

    Attributes:
        budget: Whose scores it is best with.
        optimum: λ, γ and K, and the figure there.
        cell: The best setting of the grid, before the refinement.
        cell_value: The figure there.
        table: The grid of that budget.
        settings: How many settings the grids of all budgets held.
    """

    budget: Budget
    optimum: Optimum
    cell: Ensemble
    cell_value: float
    table: GridTable
    settings: int


def exact_answer(
    space: Space,
    scored: Mapping[Budget, Scored],
    figure: str,
    report: Callable[[int, int], None] = lambda *_: None,
) -> Exact:
    """Evaluate the grid of a space, and refine its best cell.

    Args:
        space: Without conditions on λ, γ and K.
        scored: Scores of its budgets.
        figure: What to raise.
        report: Told how many settings are done, of how many.
    """
    grid = grid_of(space)
    found = []
    for number, (budget, source) in enumerate(sorted(scored.items())):
        before = number * len(grid)
        table = evaluate_grid(
            source.evaluation,
            grid,
            report=lambda done, _, before=before: report(before + done, len(grid) * len(scored)),  # type: ignore[misc]  # a default binds the loop's value
        )
        optimum = _optimum(space, source.evaluation, table, figure)
        cell = table.best(figure)
        value = source.evaluation(cell).figures[figure]
        found.append(Exact(budget, optimum, cell, value, table, len(grid) * len(scored)))
    return max(found, key=lambda exact: exact.optimum.value)


def grid_of(space: Space) -> Grid:
    """Values over the space's λ, γ and K: all of a list, evenly spread ones of a range."""
    return Grid(
        tuple(sorted(float(value) for value in space["lamb"].spread(LAMBS))),
        tuple(sorted(float(value) for value in space["temp"].spread(TEMPS))),
        tuple(sorted(int(value) for value in space["num_rerank"].spread(HEADS))),
    )


def _optimum(space: Space, evaluation: RerankedEvaluation, table: GridTable, figure: str) -> Optimum:
    free = {name: space[name].kind != "choice" for name in ("lamb", "temp", "num_rerank")}
    if free["lamb"] and is_mean_precision(evaluation.protocol, figure):
        return refine(evaluation, table, figure, free_temp=free["temp"], free_head=free["num_rerank"])
    cell = table.best(figure)
    return Optimum(cell, evaluation(cell).figures[figure], cell.lamb, cell.lamb)

"""The best λ of all for one γ and K: mean average precision is a step function of λ.

As λ grows two candidates change places at one λ at most, where their scores are equal. Between these
breakpoints no rank changes, so finitely many values hold the maximum over the whole of [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.evaluation.average_precision import precision_terms
from ames_ray.evaluation.ensemble import Ensemble
from ames_ray.evaluation.sweep import check_figure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ames_ray.evaluation.reranked import RerankedEvaluation
    from ames_ray.types import BoolArray

NARROWEST = 1e-10
"""Narrower steps are passed over: the rounding of the scores decides the ranks within them."""


@dataclass(frozen=True, slots=True)
class BestLamb:
    """The best λ.

    Attributes:
        lamb: Middle of the widest step that has the highest value, or the end of the range where only the end
            has it.
        low: Where that step begins.
        high: Where it ends.
        value: The figure at `lamb`, unrounded.
    """

    lamb: float
    low: float
    high: float
    value: float


def best_lamb(
    evaluation: RerankedEvaluation,
    temp: float,
    num_rerank: int,
    figure: str,
    *,
    low: float = 0.0,
    high: float = 1.0,
) -> BestLamb:
    """The λ in [low, high] that makes a mean average precision highest.

    Args:
        evaluation: Benchmark, ranking and scores.
        temp: γ.
        num_rerank: K.
        figure: Name of a mean average precision, such as "medium_mAP".
        low: Lowest λ, 0 at least.
        high: Highest λ, 1 at most.

    Raises:
        ConfigError: There is no such figure, or K is above the one that `evaluation` was made for.
        DatasetError: No query has positives for that figure.
    """
    edges, values = lamb_steps(evaluation, temp, num_rerank, figure)
    edges = edges.clip(low, high)
    widths = np.diff(edges)
    values = np.where(widths >= NARROWEST, values, -np.inf)
    step = int(np.argmax(np.where(values >= values.max() - 1e-12, widths, 0.0)))

    def value(lamb: float) -> float:
        return evaluation(Ensemble(lamb, temp, num_rerank)).figures[figure]

    middle = float(edges[step] + widths[step] / 2)
    best = BestLamb(middle, float(edges[step]), float(edges[step + 1]), value(middle))
    ends = [BestLamb(end, end, end, value(end)) for end in (low, high)]
    return max([best, *ends], key=lambda found: found.value)


def lamb_steps(
    evaluation: RerankedEvaluation, temp: float, num_rerank: int, figure: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A mean average precision as a function of λ.

    Args:
        evaluation: Benchmark, ranking and scores.
        temp: γ.
        num_rerank: K.
        figure: Name of a mean average precision.

    Returns:
        (N + 1,) edges of the steps, ascending from 0 to 1; (N,) the value between each two edges. At an edge
        itself, where scores are equal, the value may differ; also where scores differ by less than float64
        resolves.

    Raises:
        ConfigError: There is no such figure, or K is above the one that `evaluation` was made for.
        DatasetError: No query has positives for that figure.
    """
    check_figure(evaluation.protocol, figure)
    group = evaluation.protocol.group_of_mean(figure)
    ranks = evaluation.setups[group.setup]
    counted = np.zeros(len(ranks.denominator), np.bool_)
    counted[group.queries] = ~np.isnan(ranks.denominator[group.queries])
    weights = np.where(counted, 1 / (ranks.denominator * counted.sum()), 0.0)
    cutoff = evaluation.protocol.cutoff

    tail = ranks.ranks >= num_rerank
    start = float((precision_terms(ranks.found, ranks.ranks, cutoff) * weights[ranks.query])[tail].sum())
    crossings, changes = [], []
    for query in np.flatnonzero(counted).tolist():
        first, where, change = _query_steps(evaluation, group.setup, query, temp, num_rerank)
        start += weights[query] * first
        crossings.append(where)
        changes.append(weights[query] * change)
    return _joined(start, np.concatenate(crossings), np.concatenate(changes))


def _query_steps(
    evaluation: RerankedEvaluation, setup: int, query: int, temp: float, num_rerank: int
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Sum of the precisions of a query's positives in the head, as a function of λ.

    Returns:
        The sum just above λ = 0; the λ in (0, 1) at which it changes, in any order; by how much.
    """
    table = evaluation.table
    inside = (evaluation.heads(num_rerank)[query] >> setup & 1).astype(np.bool_)
    span = slice(table.starts[query], table.starts[query + 1])
    positive = np.zeros(len(inside), np.bool_)
    positive[table.marked[span][table.positive[setup, span]]] = True
    similarity, probability = _ordered_last(
        table.similarities[query, inside], evaluation.probabilities(temp)[query, inside]
    )
    return _steps(similarity, probability, positive[inside], evaluation.protocol.cutoff)


def _ordered_last(
    similarity: NDArray[np.float64], probability: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Candidates without a finite score, put below all others at every λ."""
    finite = np.isfinite(similarity) & np.isfinite(probability)
    below = similarity[finite].min(initial=0.0) - 1
    return np.where(finite, similarity, below), np.where(finite, probability, -1.0)


def _steps(
    similarity: NDArray[np.float64], probability: NDArray[np.float64], positive: BoolArray, cutoff: int
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """See `_query_steps`; the arrays are (U,), in global order. Letters: P positives, U candidates."""
    column = np.flatnonzero(positive)
    gain = probability[column][:, None] - probability
    loss = similarity[column][:, None] - similarity
    before = np.arange(len(positive)) < column[:, None]
    ahead = (gain < 0) | ((gain == 0) & ((loss < 0) | ((loss == 0) & before)))
    rank = ahead.sum(axis=1)
    found = (ahead & positive).sum(axis=1)

    overtaken = (gain > 0) & (loss < 0)
    overtakes = (gain < 0) & (loss > 0)
    crosses = overtaken | overtakes
    where = np.full(gain.shape, np.inf)
    np.divide(gain, gain - loss, out=where, where=crosses)
    order = np.argsort(where, axis=1)
    moves = np.take_along_axis(overtaken.astype(np.int64) - overtakes, order, 1)
    ranks = np.cumsum(np.column_stack([rank, moves]), axis=1)
    founds = np.cumsum(np.column_stack([found, moves * positive[order]]), axis=1)
    terms = precision_terms(founds, ranks, cutoff)
    change = np.diff(terms, axis=1)
    sorted_where = np.take_along_axis(where, order, 1)
    kept = (change != 0) & (sorted_where < 1)
    return float(terms[:, 0].sum()), sorted_where[kept], change[kept]


def _joined(
    start: float, crossings: NDArray[np.float64], changes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One step function from the changes of all queries."""
    order = np.argsort(crossings)
    where = crossings[order]
    firsts = np.flatnonzero(np.diff(where, prepend=-1.0))
    total = np.add.reduceat(changes[order], firsts) if len(firsts) else np.empty(0)
    # Two positives that change places take each other's rank: nothing changes.
    kept = total != 0
    edges = np.concatenate([[0.0], where[firsts][kept], [1.0]])
    return edges, start + np.cumsum(np.concatenate([[0.0], total[kept]]))

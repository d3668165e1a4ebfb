"""Evaluation of a ranking as it is, with numpy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.evaluation.average_precision import hits_sum, precision_at, trapezoid_sum
from ames_ray.evaluation.ranking import missing_positives, ranked_queries
from ames_ray.evaluation.result import EvaluationResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ames_ray.evaluation.protocol import Group, Protocol
    from ames_ray.types import IntArray


def evaluate(protocol: Protocol, ranking: Any) -> EvaluationResult:
    """Figures of a ranking.

    Args:
        protocol: The benchmark, from `revisited` or `gldv2`.
        ranking: A `Shortlist`, or (Q, T) gallery rows, best first, filled up with -1. Positives that it does
            not hold count as never found.

    Raises:
        DatasetError: The ranking does not fit the ground truth, or ranks an image twice.
    """
    queries = list(ranked_queries(protocol, ranking))
    figures: dict[str, float] = {}
    per_query: dict[str, NDArray[np.float64]] = {}
    notes = protocol.notes() + _short_lists(protocol, min((len(q.rows) for q in queries), default=0))
    for number, setup in enumerate(protocol.setups):
        ranks, lengths = zip(*(query.ranks(setup) for query in queries), strict=True)
        sums = np.array([[_sum(protocol, r), *(precision_at(r, k) for k in protocol.precision_at)] for r in ranks])
        denominator = protocol.denominator(setup, np.array(lengths, np.int64))
        values = np.where(np.isnan(denominator)[:, None], np.nan, sums)
        values[:, 0] /= denominator
        per_query[setup.name] = values[:, 0]
        figures |= _figures(protocol, [g for g in protocol.groups if g.setup == number], values)
        missing = missing_positives(setup, sum(map(len, ranks)))
        notes += [missing] if missing else []
    return EvaluationResult(protocol.name, figures, per_query, {}, protocol.counts(), tuple(notes))


def mean_over_counted(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the first axis, of the queries that have positives; NaN if none has."""
    counted = values[~np.isnan(values.reshape(len(values), -1)).any(axis=1)]
    return np.asarray(counted.mean(axis=0) if len(counted) else np.full(values.shape[1:], np.nan))


def _sum(protocol: Protocol, ranks: IntArray) -> float:
    return hits_sum(ranks, protocol.cutoff) if protocol.cutoff else trapezoid_sum(ranks)


def _figures(protocol: Protocol, groups: list[Group], values: NDArray[np.float64]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for group in groups:
        means = mean_over_counted(values[group.queries])
        figures |= dict(zip(protocol.figure_names(group), means.tolist(), strict=True))
    return figures


def _short_lists(protocol: Protocol, shortest: int) -> list[str]:
    if shortest >= protocol.cutoff:
        return []
    return [f"mAP@{protocol.cutoff}: the shortest ranking holds {shortest} images; its ranks end there"]

"""The inner loop of re-ranking: new ranks of the positives, without sorting the candidates.

Only the positives are sorted; every candidate is then counted in front of the best positive that it beats.
A table of buckets says where in the sorted positives a score belongs, up to a step or two.
Import this module lazily: it loads numba.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numba
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ames_ray.types import BoolArray, IntArray

BUCKETS = 2048

F = TypeVar("F", bound="Callable[..., Any]")


def compiled(function: F) -> F:
    """The function as machine code, kept on disk where that is possible."""
    try:
        compiled: F = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # there is no folder to keep the machine code in: compile it in each process
        compiled = numba.njit(nogil=True)(function)
    return compiled


@compiled
def fill_buckets(values: NDArray[np.float64], above: IntArray) -> float:
    """Count for every bucket b the values in higher buckets.

    The bucket of x is int((x - lowest value) · scale). It never falls as x grows, so the values counted for
    the bucket of x are all above x.

    Args:
        values: (P,) descending, P > 0, without NaN.
        above: (BUCKETS,), written in place.

    Returns:
        The scale; 0: the values are too close or too far apart, all are in bucket 0.
    """
    spread = values[0] - values[-1]
    scale = (BUCKETS - 1) / spread if 1e-290 < spread < np.inf else 0.0
    above[:] = 0
    for value in values:
        above[int((value - values[-1]) * scale) if scale > 0 else 0] += 1
    total = 0
    for bucket in range(BUCKETS - 1, -1, -1):
        inside = above[bucket]
        above[bucket] = total
        total += inside
    return scale


@compiled
def count_between(
    scores: NDArray[np.float64],
    in_head: BoolArray,
    values: NDArray[np.float64],
    columns: IntArray,
    above: IntArray,
    counts: IntArray,
) -> None:
    """Count the candidates of a query between its sorted positives. Equal scores keep the global order.

    Args:
        scores: (U,) of all candidates, without NaN.
        in_head: (S, U), whether a candidate is among the first K images of a setup's list.
        values: (P,) scores of the positives, descending, P > 0.
        columns: (P,) which candidates they are.
        above: (BUCKETS,), space to work in.
        counts: (S, P + 1) or wider, written in place: candidates that stand before the n-th positive and not
            before the one ahead of it, itself included.
    """
    scale = fill_buckets(values, above)
    size, lowest = len(values), values[-1]
    counts[:, : size + 1] = 0
    for candidate in range(len(scores)):
        score = scores[candidate]
        number = 0
        if scale > 0:
            bucket = (score - lowest) * scale
            number = size if bucket < 0 else above[int(min(bucket, BUCKETS - 1.0))]
        while number < size and (
            values[number] > score or (values[number] == score and columns[number] < candidate)
        ):
            number += 1
        for setup in range(len(in_head)):
            counts[setup, number] += in_head[setup, candidate]


@compiled
def rerank_positives(
    scores: NDArray[np.float64],
    in_head: BoolArray,
    marked: IntArray,
    starts: IntArray,
    positive: BoolArray,
    firsts: IntArray,
    ranks: IntArray,
) -> None:
    """Overwrite the ranks of the positives among the first K images by those after re-ranking.

    Args:
        scores: (Q, U) float64 ensemble scores, without NaN.
        in_head: (Q, S, U), whether a candidate is among the first K images of a setup's list.
        marked: (M,), see `CandidateTable`, as for the next two.
        starts: (Q + 1,).
        positive: (S, M).
        firsts: (S, Q), where the ranks of a setup's query begin in `ranks`.
        ranks: (N,), written in place; positives behind rank K keep what stands there.
    """
    queries, setups, width = in_head.shape
    above = np.empty(BUCKETS, np.int64)
    counts = np.empty((setups, width + 1), np.int64)
    for query in range(queries):
        first, last = starts[query], starts[query + 1]
        if first == last:
            continue
        order = np.argsort(-scores[query][marked[first:last]], kind="mergesort")
        columns = marked[first:last][order]
        count_between(scores[query], in_head[query], scores[query][columns], columns, above, counts)
        for setup in range(setups):
            rank, slot = -1, firsts[setup, query]
            for number in range(len(columns)):
                rank += counts[setup, number]
                if in_head[query, setup, columns[number]] and positive[setup, first + order[number]]:
                    ranks[slot] = rank
                    slot += 1

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

BUCKETS = 512

F = TypeVar("F", bound="Callable[..., Any]")


def compiled(function: F) -> F:
    """The function as machine code, kept on disk where that is possible."""
    try:
        compiled: F = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # there is no folder to keep the machine code in: compile it in each process
        compiled = numba.njit(nogil=True)(function)
    return compiled


@compiled
def fill_buckets(values: NDArray[np.float64], above: NDArray[np.uint32]) -> float:
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
def mixed(
    similarities: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    lamb: float,
    scores: NDArray[np.float64],
) -> None:
    """`ames_ray.evaluation.ensemble.ensemble_scores` of one query, written into `scores`."""
    rest = 1 - lamb
    for candidate in range(len(scores)):
        score = lamb * similarities[candidate] + rest * probabilities[candidate]
        scores[candidate] = score if np.isfinite(score) else -np.inf


@compiled
def find_places(
    scores: NDArray[np.float64],
    values: NDArray[np.float64],
    columns: IntArray,
    above: NDArray[np.uint32],
    places: NDArray[np.uint32],
) -> None:
    """Count for every candidate of a query the positives in front of it. Equal scores keep the global order.

    Args:
        scores: (U,) of all candidates, without NaN.
        values: (P + 1,) scores of the positives, descending, P > 0, and then -inf.
        columns: (P,) which candidates they are.
        above: (BUCKETS,), space to work in.
        places: (U,), written in place; a positive does not stand in front of itself.
    """
    size = len(columns)
    scale, lowest = fill_buckets(values[:size], above), values[size - 1]
    # In three passes, without branches that a processor often guesses wrong: they took most of the time.
    for candidate in range(len(scores)):
        bucket = (scores[candidate] - lowest) * scale
        bucket = bucket if bucket > 0.0 else 0.0
        places[candidate] = np.uint32(bucket if bucket < BUCKETS - 1.0 else BUCKETS - 1.0)
    for candidate in range(len(scores)):
        number = above[places[candidate]]
        places[candidate] = number + np.uint32(values[number] > scores[candidate])
    for candidate in range(len(scores)):
        score, number = scores[candidate], places[candidate]
        while (
            values[number] >= score
            and number < size
            and (values[number] > score or columns[number] < candidate)
        ):
            number += np.uint32(1)
        places[candidate] = number


@compiled
def rerank_positives(
    similarities: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    lamb: float,
    heads: NDArray[np.uint8],
    marked: IntArray,
    starts: IntArray,
    positive: BoolArray,
    firsts: IntArray,
    ranks: IntArray,
) -> None:
    """Overwrite the ranks of the positives among the first K images by those after re-ranking.

    Args:
        similarities: (Q, U) of all candidates.
        probabilities: (Q, U) match probabilities.
        lamb: λ.
        heads: (Q, U), bit s: the candidate is among the first K images of the list of setup s.
        marked: (M,), see `CandidateTable`, as for the next two.
        starts: (Q + 1,).
        positive: (S, M).
        firsts: (S, Q), where the ranks of a setup's query begin in `ranks`.
        ranks: (N,), written in place; positives behind rank K keep what stands there.
    """
    queries, width = heads.shape
    kinds = 1 << len(positive)
    scores, values = np.empty(width), np.empty(width + 1)
    above, places = np.empty(BUCKETS, np.uint32), np.empty(width, np.uint32)
    counts = np.empty((width + 1, kinds), np.int64)
    for query in range(queries):
        first, last = starts[query], starts[query + 1]
        if first == last:
            continue
        mixed(similarities[query], probabilities[query], lamb, scores)
        order = np.argsort(-scores[marked[first:last]], kind="mergesort")
        columns = marked[first:last][order]
        size = len(columns)
        values[:size], values[size] = scores[columns], -np.inf
        find_places(scores, values[: size + 1], columns, above, places)
        counts[: size + 1] = 0
        for candidate in range(width):
            counts[places[candidate], heads[query, candidate]] += 1
        for setup in range(len(positive)):
            rank, slot = -1, firsts[setup, query]
            for number in range(size):
                for kind in range(kinds):
                    if kind >> setup & 1:
                        rank += counts[number, kind]
                if heads[query, columns[number]] >> setup & 1 and positive[setup, first + order[number]]:
                    ranks[slot] = rank
                    slot += 1

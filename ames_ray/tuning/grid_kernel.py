"""The inner loop of a whole grid: all λ of one γ and all K at once.

Two things are shared. The match probabilities of a γ serve every λ, and the order of the positives at one λ
is almost that at the next. And the candidates in front of a positive are counted by the first K whose head
they are in, so one pass over them gives the ranks for every K as running sums.
Import this module lazily: it loads numba.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ames_ray.evaluation.kernel import BUCKETS, compiled, find_places, mixed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ames_ray.types import BoolArray, IntArray


@compiled
def sort_positives(
    scores: NDArray[np.float64], columns: IntArray, order: IntArray, values: NDArray[np.float64]
) -> None:
    """Sort the positives by insertion: best score first, equal ones in the global order.

    Args:
        scores: (U,) of all candidates.
        columns: (P,) which of them are positive, ascending.
        order: (P,) their order at the last λ, rewritten in place: positions in `columns`.
        values: (P,) or longer, written: their scores, descending.
    """
    for place in range(len(order)):
        item = order[place]
        value = scores[columns[item]]
        slot = place
        while slot > 0 and (
            values[slot - 1] < value or (values[slot - 1] == value and order[slot - 1] > item)
        ):
            values[slot] = values[slot - 1]
            order[slot] = order[slot - 1]
            slot -= 1
        values[slot] = value
        order[slot] = item


@compiled
def count_by_head(places: NDArray[np.uint32], heads: NDArray[np.int16], counts: NDArray[np.int32]) -> None:
    """Count the candidates between the sorted positives, by the first K whose head they are in.

    Args:
        places: (U,) positives in front of each candidate, see `find_places`.
        heads: (S, U), index of the smallest K whose head holds the candidate; the number of K for none.
        counts: (S, K + 1, P + 1), written: candidates in front of the n-th positive and not of the one
            before; in the last column those behind all.
    """
    counts[:] = 0
    for setup in range(len(heads)):
        for candidate in range(len(places)):
            counts[setup, heads[setup, candidate], places[candidate]] += 1


@compiled
def precision_term(found: int, rank: int, cutoff: int) -> float:
    """`ames_ray.evaluation.average_precision.precision_terms` of one positive."""
    after = (found + 1) / (rank + 1)
    if cutoff > 0:
        return after if rank < cutoff else 0.0
    before = found / rank if rank > 0 else 1.0
    return (before + after) / 2


@compiled
def add_behind(
    ranks: IntArray, terms: NDArray[np.float64], at: IntArray, below: NDArray[np.int32], total: float
) -> float:
    """Add the positives behind the head, which keep their ranks; `below` is counted up in place."""
    for slot in range(len(ranks)):
        total += terms[slot]
        for k in range(len(at)):
            below[k] += ranks[slot] < at[k]
    return total


@compiled
def sum_by_head(
    flags: BoolArray,
    own_heads: NDArray[np.int16],
    order: IntArray,
    counts: NDArray[np.int32],
    spans: IntArray,
    ranks: IntArray,
    terms: NDArray[np.float64],
    cutoff: int,
    at: IntArray,
    sums: NDArray[np.float64],
    hits: NDArray[np.int32],
    lasts: NDArray[np.int32],
) -> None:
    """What the figures of one query and λ need, for every K.

    Args:
        flags: (S, P), whether a candidate is positive in the setup.
        own_heads: (S, P), `heads` of the positives, see `count_by_head`.
        order: (P,) order of the positives.
        counts: (S, K + 1, P + 1), see `count_by_head`; overwritten by running sums over K.
        spans: (S, 2), where the query's positives begin and end in the next two.
        ranks: (N,) ranks of the positives in the global ranking.
        terms: (N,) what each adds to the average precision there.
        cutoff: Of the protocol.
        at: (A,) the k of each mP@k.
        sums: (K, S), written: sum of the precision terms.
        hits: (K, S, A), written: positives with a rank below each k.
        lasts: (K, S), written: the last rank of a positive, -1 for none.
    """
    for head, setup in np.ndindex(sums.shape):
        if head > 0:
            counts[setup, head] += counts[setup, head - 1]
        rank, found, total, last = -1, 0, 0.0, -1
        below = hits[head, setup]
        below[:] = 0
        for number in range(len(order)):
            rank += counts[setup, head, number]
            item = order[number]
            if flags[setup, item] and own_heads[setup, item] <= head:
                total += precision_term(found, rank, cutoff)
                found += 1
                last = rank
                for k in range(len(at)):
                    below[k] += rank < at[k]
        first, end = spans[setup, 0] + found, spans[setup, 1]
        sums[head, setup] = add_behind(ranks[first:end], terms[first:end], at, below, total)
        lasts[head, setup] = ranks[end - 1] if first < end else last


@compiled
def grid_of_query(
    similarities: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    heads: NDArray[np.int16],
    columns: IntArray,
    flags: BoolArray,
    spans: IntArray,
    ranks: IntArray,
    terms: NDArray[np.float64],
    lambs: NDArray[np.float64],
    cutoff: int,
    at: IntArray,
    sums: NDArray[np.float64],
    hits: NDArray[np.int32],
    lasts: NDArray[np.int32],
) -> None:
    """What the figures of every λ and K need, for one γ and one query.

    Args:
        similarities: (U,).
        probabilities: (U,) match probabilities.
        heads: (S, U), see `count_by_head`; ascending K.
        columns: (P,) the positives, ascending.
        flags: (S, P), see `sum_by_head`, as for the next three.
        spans: (S, 2).
        ranks: (N,).
        terms: (N,).
        lambs: (L,).
        cutoff: Of the protocol.
        at: (A,) the k of each mP@k.
        sums: (L, K, S), see `sum_by_head`, as for the next two.
        hits: (L, K, S, A).
        lasts: (L, K, S).
    """
    size = len(columns)
    scores = np.empty(len(similarities))
    above, places = np.empty(BUCKETS, np.uint32), np.empty(len(similarities), np.uint32)
    order, values = np.arange(size), np.full(size + 1, -np.inf)
    counts = np.empty((len(heads), sums.shape[1] + 1, size + 1), np.int32)
    own_heads = heads[:, columns]
    for step in range(len(lambs)):
        if size:
            mixed(similarities, probabilities, lambs[step], scores)
            sort_positives(scores, columns, order, values)
            find_places(scores, values, columns[order], above, places)
            count_by_head(places, heads, counts)
        sum_by_head(
            flags,
            own_heads,
            order,
            counts,
            spans,
            ranks,
            terms,
            cutoff,
            at,
            sums[step],
            hits[step],
            lasts[step],
        )

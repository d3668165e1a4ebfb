"""Average precision of one ranking from the ranks of its positives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ames_ray.types import IntArray


def trapezoid_sum(ranks: IntArray) -> float:
    """Area under the precision-recall curve by the trapezoid rule, times the number of positives.

    Args:
        ranks: (P,) ranks of the positives found, from 0, ascending.

    Returns:
        Σ over the j-th positive at rank r of the mean of j/r (1 at rank 0) and (j + 1)/(r + 1).
    """
    found = np.arange(len(ranks))
    before = np.where(ranks > 0, found / np.maximum(ranks, 1), 1.0)
    after = (found + 1) / (ranks + 1)
    return float(((before + after) / 2).sum())


def hits_sum(ranks: IntArray, cutoff: int) -> float:
    """Σ of the precision at each positive among the first `cutoff` ranks; `ranks` as in `trapezoid_sum`."""
    kept = ranks[ranks < cutoff]
    return float(((np.arange(len(kept)) + 1) / (kept + 1)).sum())


def precision_at(ranks: IntArray, k: int) -> float:
    """Share of positives among the first k; k is cut at the last positive, as in the Revisited evaluator.

    Returns:
        |1-based ranks ≤ kq| / kq with kq = min(last rank, k); 0 if no positive was ranked.
    """
    if len(ranks) == 0:
        return 0.0
    cut = min(int(ranks[-1]) + 1, k)
    return int((ranks < cut).sum()) / cut

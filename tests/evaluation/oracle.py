"""Evaluation as a textbook would write it: plain Python, one list at a time, nothing shared with ames_ray."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SETUPS = {
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}


def pools(gnd: Mapping[str, Iterable[int]], setup: str) -> tuple[set[int], set[int]]:
    """Positives and ignored images of one query."""
    wanted, unwanted = SETUPS[setup]
    positives = {image for name in wanted for image in gnd[name]}
    return positives, {image for name in unwanted for image in gnd[name]} - positives


def without(ranking: Iterable[int], ignored: set[int]) -> list[int]:
    return [image for image in ranking if image not in ignored]


def trapezoid_ap(ranking: Sequence[int], positives: set[int]) -> float:
    """Area under the precision-recall curve, walked down the list."""
    if not positives:
        return math.nan
    area, found = 0.0, 0
    for rank, image in enumerate(ranking):
        if image in positives:
            before = found / rank if rank else 1.0
            found += 1
            area += (before + found / (rank + 1)) / 2
    return area / max(min(len(positives), len(ranking)), 1)


def ap_at(ranking: Sequence[int], positives: set[int], k: int) -> float:
    """Mean precision at the hits among the first k."""
    if not positives:
        return math.nan
    kept = ranking[:k]
    total = sum(
        sum(i in positives for i in kept[: rank + 1]) / (rank + 1)
        for rank, image in enumerate(kept)
        if image in positives
    )
    return total / max(min(len(positives), len(kept)), 1)


def precision_at(ranking: Sequence[int], positives: set[int], k: int) -> float:
    if not positives:
        return math.nan
    hits = [rank for rank, image in enumerate(ranking, start=1) if image in positives]
    if not hits:
        return 0.0
    kq = min(max(hits), k)
    return sum(image in positives for image in ranking[:kq]) / kq


def reranked(
    ranking: Sequence[int],
    similarity: Mapping[int, float],
    logit: Mapping[int, float],
    lamb: float,
    temp: float,
    k: int,
) -> list[int]:
    """The first k images by ensemble score, equal ones as they were, undefined ones last; then the rest."""

    def score(image: int) -> float:
        x = temp * logit[image]
        sigmoid = 0.0 if x < -700 else 1 / (1 + math.exp(-x))
        value = lamb * similarity[image] + (1 - lamb) * sigmoid
        return value if math.isfinite(value) else -math.inf

    return sorted(ranking[:k], key=score, reverse=True) + list(ranking[k:])


def mean(values: Iterable[float]) -> float:
    counted = [value for value in values if not math.isnan(value)]
    return math.fsum(counted) / len(counted) if counted else math.nan

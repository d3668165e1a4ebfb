"""What a search found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from ames_ray.types import FloatArray, ImageFeatures, ImageRecord

Verdict = Literal["positive", "junk", "negative"]


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """Places of two pictures that show the same, surest first.

    Attributes:
        query_xy: (P, 2) x and y in pixels of the whole query picture.
        image_xy: (P, 2) x and y in pixels of the whole other picture.
        strength: (P,) 0 to 1, descending.
        count: How many there are; P is smaller where only the surest are kept.
        image_size: Width and height of the other picture [pixels]; zeros where the store does not say.
    """

    query_xy: FloatArray
    image_xy: FloatArray
    strength: FloatArray
    count: int
    image_size: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Hit:
    """One image that was found.

    Attributes:
        record: Its line of the store's list.
        rank: Its place, from 1.
        before: Its place by global similarity alone, from 1.
        similarity: Global similarity, the inner product of L2-normalised descriptors.
        score: What the comparison gave; none where it was not compared.
        agreement: Why; none where it was not compared.
        verdict: What the ground truth says; none where there is none.
    """

    record: ImageRecord
    rank: int
    before: int
    similarity: float
    score: float | None = None
    agreement: Agreement | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SearchResult:
    """What was found for one query.

    Attributes:
        query: Its features; a failed one has a reason and no hits.
        hits: Every image among the first `num_results` after or before re-ranking, by its place.
        num_results: How long a list was asked for.
    """

    query: ImageFeatures
    hits: tuple[Hit, ...] = field(default=())
    num_results: int = 0

    @property
    def top(self) -> tuple[Hit, ...]:
        """The list that was asked for."""
        return tuple(hit for hit in self.hits if hit.rank <= self.num_results)

    def first_right(self, *, before: bool = False) -> int | None:
        """Place of the first image that shows the same, junk not counted; none where the list has none.

        Args:
            before: In the list before re-ranking.
        """
        places = {(hit.before if before else hit.rank): hit.verdict for hit in self.hits}
        counted = 0
        for place in sorted(places)[: self.num_results]:
            counted += places[place] != "junk"
            if places[place] == "positive":
                return counted
        return None

    def lines(self) -> list[dict[str, Any]]:
        """One JSON object a hit; of a failed query, one with its reason."""
        name = printable(self.query.record.image_id)
        if self.query.reason is not None:
            return [{"query": name, "reason": self.query.reason}]
        return [{"query": name, **_line(hit)} for hit in self.top]


def printable(name: str) -> str:
    """A file name with the bytes that are not UTF-8 spelled out."""
    return name.encode("utf-8", "backslashreplace").decode()


def _line(hit: Hit) -> dict[str, Any]:
    line: dict[str, Any] = {
        "rank": hit.rank,
        "image": printable(hit.record.image_id),
        "row": hit.record.row,
        "uri": printable(hit.record.uri),
        "similarity": _plain(hit.similarity),
        "score": None if hit.score is None else _plain(hit.score),
        "before": hit.before,
        "moved": hit.before - hit.rank,
    }
    return line if hit.verdict is None else {**line, "verdict": hit.verdict}


def _plain(value: float) -> float | None:
    """A number as JSON can hold it, as short as float32 allows."""
    return float(f"{value:.7g}") if np.isfinite(value) else None

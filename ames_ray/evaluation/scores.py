"""What evaluation reads: a global ranking, and the network's scores of pairs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ames_ray.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ames_ray.types import AnyArray, BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Shortlist:
    """The gallery images nearest to each query, best first.

    Images of non-finite similarity, and padding, are moved to the end of their row, whatever program sorted
    it (`torch.topk` puts NaN first). Everything else keeps the given order.

    Attributes:
        rows: (Q, K) int64 rows of the gallery list; -1 fills up a shorter list.
        similarities: (Q, K) float32 global similarities.
        query_manifest: Digest of the query list that it was made from, or "".
        gallery_manifest: Digest of the gallery list, or "".
        settings: What else it was made with: descriptor, index. Goes into the card of a result.

    Raises:
        DatasetError: The shapes differ, or the rows are not whole numbers.
    """

    rows: IntArray
    similarities: FloatArray
    query_manifest: str = ""
    gallery_manifest: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = ranking_rows(self.rows)
        similarities = _values("similarities", self.similarities, rows)
        last = ~np.isfinite(similarities) | (rows < 0)
        if (last[:, :-1] & ~last[:, 1:]).any():
            order = np.argsort(last, axis=1, kind="stable")
            rows = np.take_along_axis(rows, order, 1)
            similarities = np.take_along_axis(similarities, order, 1)
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "similarities", similarities)

    @classmethod
    def from_neighbours(cls, neighbours: AnyArray) -> Self:
        """From the array of the authors' `nn_*.pkl`: (2, Q, K), similarities, then gallery rows.

        Raises:
            DatasetError: The array has another shape.
        """
        if neighbours.ndim != 3 or len(neighbours) != 2:
            raise DatasetError(
                f"neighbours have shape {neighbours.shape}; allowed is (2, queries, images)",
                "the first half holds the global similarities, the second one the rows of the gallery list",
            )
        return cls(neighbours[1].astype(np.int64), neighbours[0])

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True, eq=False)
class PairScores:
    """The network's answers for the pairs of a `Shortlist`: each query with each of its images.

    Attributes:
        rows: (Q, K) int64, `rows` of the shortlist that was scored; -1 where there is no pair.
        logits: (Q, K) float32, raw scores of the network, before the sigmoid.
        model_hash: SHA-256 of the network's weights.
        query_desc_num: Local descriptors used of a query image.
        db_desc_num: Local descriptors used of a gallery image.
        query_manifest: Digest of the query list, or "".
        gallery_manifest: Digest of the gallery list, or "".
        settings: What else decides them: stores, precision. Goes into the card of a result.

    Raises:
        DatasetError: The shapes differ, the rows are not whole numbers, or a pair is there twice.
    """

    rows: IntArray
    logits: FloatArray
    model_hash: str
    query_desc_num: int
    db_desc_num: int
    query_manifest: str = ""
    gallery_manifest: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = ranking_rows(self.rows)
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "logits", _values("logits", self.logits, rows))
        for query, line in enumerate(rows):
            refuse_repeats(line[line >= 0], f"pair scores of query {query} hold")

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, query: int, images: IntArray) -> tuple[FloatArray, BoolArray]:
        """Logits of a query with some images, and whether each of these pairs was scored.

        Args:
            query: Number of the query.
            images: (N,) gallery rows.

        Returns:
            (N,) logits, NaN where the pair was not scored; (N,) bool.
        """
        order = np.argsort(self.rows[query])
        known = self.rows[query][order]
        place = np.minimum(np.searchsorted(known, images), max(len(known) - 1, 0))
        scored = known[place] == images if len(known) else np.zeros(len(images), np.bool_)
        logits = np.full(len(images), np.nan, np.float32)
        logits[scored] = self.logits[query][order[place[scored]]]
        return logits, scored

    def check_belongs_to(self, shortlist: Shortlist) -> None:
        """Refuse a shortlist of other queries or another gallery.

        Raises:
            DatasetError: The number of queries, or a manifest digest that both state, differs.
        """
        if len(self) != len(shortlist):
            raise DatasetError(f"pair scores have {len(self)} queries, the shortlist {len(shortlist)}")
        for name in ("query_manifest", "gallery_manifest"):
            ours, theirs = getattr(self, name), getattr(shortlist, name)
            if ours and theirs and ours != theirs:
                raise DatasetError(
                    f"{name} of the pair scores is {ours[:12]}…, that of the shortlist {theirs[:12]}…",
                    "their row numbers mean different images; score this shortlist",
                )


def ranking_rows(ranking: Any) -> IntArray:
    """Rankings as a (Q, K) int64 array, best first.

    Args:
        ranking: A `Shortlist`, or anything that numpy reads as a (Q, K) array of gallery rows; -1 fills up.

    Raises:
        DatasetError: It is not a two-dimensional array of whole numbers.
    """
    rows = ranking.rows if isinstance(ranking, Shortlist) else np.asarray(ranking)
    if rows.ndim != 2 or rows.dtype.kind not in "iu":
        raise DatasetError(
            f"rows are {rows.dtype} of shape {rows.shape}; allowed are integers of shape (queries, images)",
            "one line a query: rows of the gallery list, best first, filled up with -1",
        )
    return rows.astype(np.int64, copy=False)


def refuse_repeats(rows: IntArray, what: str) -> None:
    """Refuse a list that holds an image twice.

    Raises:
        DatasetError: It does; the message starts with `what`.
    """
    ascending = np.sort(rows)
    repeated = ascending[1:][ascending[1:] == ascending[:-1]]
    if len(repeated):
        raise DatasetError(
            f"{what} image {repeated[0]} more than once", "each image has one rank; make the shortlist again"
        )


def _values(name: str, values: Any, rows: IntArray) -> FloatArray:
    array = np.asarray(values, np.float32)
    if array.shape != rows.shape:
        raise DatasetError(
            f"{name} have shape {array.shape}, rows {rows.shape}", "each row number needs its value"
        )
    return array

"""What evaluation reads: a global ranking, and the network's scores of pairs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ames_ray.types import AnyArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Shortlist:
    """The gallery images nearest to each query, best first.

    Non-finite similarities are moved to the end of their row, whatever program sorted it
    (`torch.topk` puts NaN first). Ties keep the given order.

    Attributes:
        rows: (Q, K) int64 rows of the gallery list; -1 fills up a row that is shorter.
        similarities: (Q, K) float32 global similarities.
        settings: What it was made with: manifest hashes, descriptor, index.

    Raises:
        DatasetError: The shapes differ, or the rows are not whole numbers.
    """

    rows: IntArray
    similarities: FloatArray
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = ranking_rows(self.rows)
        similarities = np.asarray(self.similarities, np.float32)
        _check_shape("similarities", similarities, rows)
        lowest = ~np.isfinite(similarities) | (rows < 0)
        unordered = lowest[:, :-1] & ~lowest[:, 1:]
        if unordered.any():
            order = np.argsort(lowest, axis=1, kind="stable")
            rows = np.take_along_axis(rows, order, 1)
            similarities = np.take_along_axis(similarities, order, 1)
        object.__setattr__(self, "rows", rows.astype(np.int64, copy=False))
        object.__setattr__(self, "similarities", similarities)

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True, eq=False)
class PairScores:
    """The network's answer for pairs of a query and a candidate, together with their global similarity.

    The candidates of a query must hold the first images of its ranking, without the images that a setup
    ignores, for every setup; `candidates` lists them. Their order within a row does not matter.

    Attributes:
        rows: (Q, U) int64 candidate rows of the gallery list; -1 fills up a row that is shorter.
        similarities: (Q, U) float32 global similarities.
        logits: (Q, U) float32 raw scores of the network, before the sigmoid.
        settings: What they were made with: model hash, descriptor counts, shortlist.

    Raises:
        DatasetError: The shapes differ, or the rows are not whole numbers.
    """

    rows: IntArray
    similarities: FloatArray
    logits: FloatArray
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = ranking_rows(self.rows)
        object.__setattr__(self, "rows", rows.astype(np.int64, copy=False))
        for name in ("similarities", "logits"):
            values = np.asarray(getattr(self, name), np.float32)
            _check_shape(name, values, rows)
            object.__setattr__(self, name, values)

    def __len__(self) -> int:
        return len(self.rows)


def ranking_rows(ranking: Any) -> AnyArray:
    """Rankings as a (Q, T) array of integers, best first.

    Args:
        ranking: A `Shortlist`, or anything that numpy reads as a (Q, T) array of gallery rows; -1 fills up.

    Raises:
        DatasetError: It is not a two-dimensional array of whole numbers.
    """
    rows = ranking.rows if isinstance(ranking, Shortlist) else np.asarray(ranking)
    if rows.ndim != 2 or rows.dtype.kind not in "iu":
        raise DatasetError(
            f"rows are {rows.dtype} of shape {rows.shape}; allowed are integers of shape (queries, images)",
            "one line a query: rows of the gallery list, best first, filled up with -1",
        )
    return rows


def _check_shape(name: str, values: AnyArray, rows: AnyArray) -> None:
    if values.shape != rows.shape:
        raise DatasetError(
            f"{name} have shape {values.shape}, rows {rows.shape}", "each row number needs its value"
        )

"""The images at the head of each ranking that re-ranking can move, in the form that its inner loop reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ames_ray.errors import DatasetError
from ames_ray.evaluation.ranking import RankedQuery, ranked_queries
from ames_ray.evaluation.scores import PairScores, Shortlist

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ames_ray.evaluation.protocol import Protocol, Setup
    from ames_ray.types import BoolArray, FloatArray, IntArray

Number = TypeVar("Number", np.int32, np.int64, np.float32, np.float64)

NOWHERE = np.iinfo(np.int32).max
"""Place of an image that is not in a setup's list."""


def candidates(protocol: Protocol, shortlist: Shortlist, num_rerank: int) -> Shortlist:
    """The pairs that re-ranking the first `num_rerank` images needs scores of, whatever the setup.

    Ignored images leave a ranking before it is cut, and every setup ignores others, so this is a little more
    than the first `num_rerank` columns in some places and less in others.

    Returns:
        A shortlist of them in the same order, filled up with -1; score it to get the `PairScores`.

    Raises:
        DatasetError: The shortlist does not fit the ground truth.
    """
    queries = ranked_queries(protocol, shortlist)
    columns = [_columns(_places(protocol.setups, query, num_rerank), num_rerank) for query in queries]
    chosen = _padded(columns, -1)
    held = chosen >= 0
    return Shortlist(
        np.where(held, np.take_along_axis(shortlist.rows, np.maximum(chosen, 0), 1), -1),
        np.where(held, np.take_along_axis(shortlist.similarities, np.maximum(chosen, 0), 1), np.nan),
        shortlist.query_manifest,
        shortlist.gallery_manifest,
        {**shortlist.settings, "num_rerank": num_rerank, "protocol": protocol.name},
    )


@dataclass(frozen=True, slots=True, eq=False)
class CandidateTable:
    """Candidates of all queries (letters: S setups, Q queries, U candidates of a query, M marked ones).

    Attributes:
        similarities: (Q, U) float64 global similarities, 0 at padding.
        logits: (Q, U) float32 logits of the network, NaN at padding.
        places: (Q, S, U) int32, rank of the candidate in the setup's list, from which the ignored images are
            removed; `NOWHERE` where it is not in it. Ascending along U but for these.
        marked: (M,) int64, the candidates that are positive in any setup, ascending within a query.
        starts: (Q + 1,) int64, where each query begins in `marked`.
        positive: (S, M) bool, whether a marked candidate is positive in the setup.
    """

    similarities: NDArray[np.float64]
    logits: FloatArray
    places: NDArray[np.int32]
    marked: IntArray
    starts: IntArray
    positive: BoolArray


def gather(
    protocol: Protocol,
    queries: Sequence[RankedQuery],
    shortlist: Shortlist,
    scores: PairScores,
    num_rerank: int,
) -> CandidateTable:
    """The candidates of the first `num_rerank` images, with their logits.

    Raises:
        DatasetError: The scores are of another shortlist, or lack one of the pairs.
    """
    scores.check_belongs_to(shortlist)
    places, logits, similarities, positive = [], [], [], []
    for query in queries:
        in_setups = _places(protocol.setups, query, num_rerank)
        columns = _columns(in_setups, num_rerank)
        images = query.rows[columns]
        values, scored = scores.of(query.query, images)
        if not scored.all():
            raise _unscored(query.query, images[~scored], in_setups[:, columns[~scored]])
        places.append(in_setups[:, columns])
        logits.append(values)
        similarities.append(shortlist.similarities[query.query, columns].astype(np.float64))
        positive.append(np.stack([np.isin(images, s.positives[query.query]) for s in protocol.setups]))
    marked = [np.flatnonzero(flags.any(axis=0)) for flags in positive]
    return CandidateTable(
        similarities=_padded(similarities, 0.0),
        logits=_padded(logits, np.nan),
        places=np.stack(
            [_padded([p[s] for p in places], NOWHERE) for s in range(len(protocol.setups))], axis=1
        ),
        marked=np.concatenate(marked),
        starts=np.cumsum([0, *map(len, marked)]),
        positive=np.concatenate([f[:, m] for f, m in zip(positive, marked, strict=True)], axis=1),
    )


def _places(setups: Sequence[Setup], query: RankedQuery, num_rerank: int) -> NDArray[np.int32]:
    """(S, C) rank of each of the first C images in each setup's list; C holds all candidates."""
    ignored = [query.split(setup)[1] for setup in setups]
    columns = np.arange(min(len(query.rows), num_rerank + max(map(len, ignored))))
    places = np.empty((len(setups), len(columns)), np.int32)
    for place, skipped in zip(places, ignored, strict=True):
        place[:] = columns - np.searchsorted(skipped, columns)
        place[skipped[skipped < len(columns)]] = NOWHERE
    return places


def _columns(places: NDArray[np.int32], num_rerank: int) -> IntArray:
    return np.flatnonzero((places < num_rerank).any(axis=0))


def _padded(lines: Sequence[NDArray[Number]], fill: float) -> NDArray[Number]:
    width = max(map(len, lines))
    table = np.full((len(lines), width), fill, lines[0].dtype)
    for line, values in zip(table, lines, strict=True):
        line[: len(values)] = values
    return table


def _unscored(query: int, images: IntArray, places: NDArray[np.int32]) -> DatasetError:
    return DatasetError(
        f"query {query}: image {images[0]} has no score, and {len(images) - 1} more of its images have none",
        f"score candidates(protocol, shortlist, num_rerank), or set num_rerank to {places.min()} or less",
    )

"""Where the images of the ground truth stand in a global ranking: all that evaluation needs of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.evaluation.average_precision import SetupRanks
from ames_ray.evaluation.scores import ranking_rows, refuse_repeats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ames_ray.evaluation.protocol import Protocol, Setup
    from ames_ray.types import IntArray


@dataclass(frozen=True, slots=True, eq=False)
class RankedQuery:
    """One query's ranking and the positions in it of the images that the ground truth lists.

    Attributes:
        query: Number of the query.
        rows: (T,) gallery rows, best first, without padding.
        listed: (M,) positions in `rows` of images that the ground truth lists, ascending.
    """

    query: int
    rows: IntArray
    listed: IntArray

    def split(self, setup: Setup) -> tuple[IntArray, IntArray]:
        """Positions in `rows` of a setup's positives, and of the images it ignores, both ascending."""
        images = self.rows[self.listed]
        positive = np.isin(images, setup.positives[self.query])
        ignored = np.isin(images, setup.ignored[self.query]) & ~positive
        return self.listed[positive], self.listed[ignored]


def ranked_queries(protocol: Protocol, ranking: Any) -> tuple[RankedQuery, ...]:
    """Each query's ranking with the images that the protocol lists.

    Args:
        protocol: The benchmark.
        ranking: A `Shortlist`, or (Q, T) gallery rows, best first, filled up with -1.

    Raises:
        DatasetError: Another number of queries than the ground truth, or an image ranked twice.
    """
    rankings = ranking_rows(ranking)
    protocol.check_queries(len(rankings), "the ranking")
    queries = []
    for query, line in enumerate(rankings):
        rows = line[line >= 0]
        refuse_repeats(rows, f"the ranking of query {query} holds")
        lists = [rows_of[query] for setup in protocol.setups for rows_of in (setup.positives, setup.ignored)]
        queries.append(RankedQuery(query, rows, np.flatnonzero(np.isin(rows, np.concatenate(lists)))))
    return tuple(queries)


def global_ranks(queries: Sequence[RankedQuery], setup: Setup, cutoff: int) -> SetupRanks:
    """Ranks of a setup's positives in the global ranking, the ignored images removed.

    Positives that a ranking does not hold count as never found.
    """
    splits = [query.split(setup) for query in queries]
    ranks = [positives - np.searchsorted(ignored, positives) for positives, ignored in splits]
    counts = np.array([len(found) for found in ranks], np.int64)
    ranked = np.array([len(q.rows) - len(s[1]) for q, s in zip(queries, splits, strict=True)], np.int64)
    return SetupRanks(
        ranks=np.concatenate(ranks),
        query=np.repeat(np.arange(len(queries)), counts),
        found=np.concatenate([np.arange(count) for count in counts]),
        ranked=ranked,
        denominator=setup.denominator(ranked, cutoff),
    )


def ranking_notes(
    protocol: Protocol, queries: Sequence[RankedQuery], setups: Sequence[SetupRanks]
) -> list[str]:
    """Sentences about what the rankings lack."""
    notes = []
    shortest = min(len(query.rows) for query in queries)
    if shortest < protocol.cutoff:
        notes.append(
            f"mAP@{protocol.cutoff}: the shortest ranking holds {shortest} images; its ranks end there"
        )
    for setup, ranks in zip(protocol.setups, setups, strict=True):
        missing = sum(len(rows) for rows in setup.positives) - len(ranks.ranks)
        if missing:
            notes.append(
                f"{setup.name}: {missing} positives are not in the rankings; they count as never found"
            )
    return notes

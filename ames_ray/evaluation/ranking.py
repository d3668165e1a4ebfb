"""Where the images of the ground truth stand in a global ranking: all that evaluation needs of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.errors import DatasetError
from ames_ray.evaluation.scores import ranking_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ames_ray.evaluation.protocol import Protocol, Setup
    from ames_ray.types import AnyArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class RankedQuery:
    """One query's ranking and the positions in it of the images that the ground truth lists.

    Attributes:
        query: Number of the query.
        rows: (T,) gallery rows, best first, without padding.
        listed: (M,) positions in `rows` of images that the ground truth lists, ascending.
    """

    query: int
    rows: AnyArray
    listed: IntArray

    def split(self, setup: Setup) -> tuple[IntArray, IntArray]:
        """Positions in `rows` of a setup's positives, and of the images it ignores, both ascending."""
        images = self.rows[self.listed]
        positive = np.isin(images, setup.positives[self.query])
        ignored = np.isin(images, setup.ignored[self.query]) & ~positive
        return self.listed[positive], self.listed[ignored]

    def ranks(self, setup: Setup) -> tuple[IntArray, int]:
        """Ranks of a setup's positives after the ignored images are removed, and the images that remain.

        Returns:
            (P,) int64 ranks from 0, ascending, of the positives that the ranking holds; its length.
        """
        positives, ignored = self.split(setup)
        return positives - np.searchsorted(ignored, positives), len(self.rows) - len(ignored)


def ranked_queries(protocol: Protocol, ranking: Any) -> Iterator[RankedQuery]:
    """Each query's ranking with the images that the protocol lists.

    Args:
        protocol: The benchmark.
        ranking: A `Shortlist`, or (Q, T) gallery rows, best first, filled up with -1.

    Raises:
        DatasetError: Another number of queries than the ground truth, or an image ranked twice.
    """
    rankings = ranking_rows(ranking)
    protocol.check_queries(len(rankings), "the ranking")
    for query, line in enumerate(rankings):
        rows = line[line >= 0]
        _refuse_repeats(rows, query)
        lists = [rows_of[query] for setup in protocol.setups for rows_of in (setup.positives, setup.ignored)]
        yield RankedQuery(query, rows, np.flatnonzero(np.isin(rows, np.concatenate(lists))))


def missing_positives(setup: Setup, found: int) -> str | None:
    """A sentence about positives that no ranking holds, if there are any."""
    missing = sum(len(rows) for rows in setup.positives) - found
    if missing <= 0:
        return None
    return f"{setup.name}: {missing} positives are not in the rankings; they count as never found"


def _refuse_repeats(rows: AnyArray, query: int) -> None:
    ascending = np.sort(rows)
    repeated = ascending[1:][ascending[1:] == ascending[:-1]]
    if len(repeated):
        raise DatasetError(
            f"the ranking of query {query} holds image {repeated[0]} more than once",
            "each image has one rank; make the shortlist again",
        )

"""Pictures of the worst queries and of what they found, small enough to lie inside a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.report.pictures import embed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ames_ray.report.evaluation import Evaluation
    from ames_ray.report.first_results import Ranked, Rankings
    from ames_ray.store.reader import Store
    from ames_ray.types import ImageRecord


@dataclass(frozen=True, slots=True, eq=False)
class QueryPictures:
    """What the page shows beside the numbers of a query.

    Attributes:
        queries: Numbers of pictures by query.
        results: By setup and query, first results before and after re-ranking, each as picture, verdict, rank
            and rank before.
        names: Of the pictures.
        shelves: The pictures as `embed` makes them.
        notes: What cannot be shown and why, a sentence each.
    """

    queries: Mapping[int, int]
    results: Mapping[str, Mapping[int, list[list[list[Any]]]]]
    names: list[str]
    shelves: list[list[str | None]]
    notes: list[str]


def worst_queries(evaluation: Evaluation, setup: str, count: int) -> list[int]:
    """The queries of a setup with the lowest average precision of the best setting, the lowest first."""
    values = evaluation.precisions(evaluation.best, setup)
    counted = np.flatnonzero(~np.isnan(values))
    found: list[int] = counted[np.argsort(values[counted], kind="stable")][:count].tolist()
    return found


def query_pictures(
    evaluation: Evaluation,
    queries: Sequence[ImageRecord],
    gallery: Sequence[Store],
    rankings: Rankings | None,
    *,
    worst: int,
    num_results: int,
) -> QueryPictures:
    """Pictures of the worst queries of each setup.

    Args:
        evaluation: The result.
        queries: The query list.
        gallery: Stores of the gallery; empty for no results.
        rankings: What was found, or none for no results.
        worst: Queries of each setup; the size of a page follows from it.
        num_results: First results of each ranking.
    """
    shelf = _Shelf()
    results: dict[str, dict[int, list[list[list[Any]]]]] = {}
    numbers: dict[int, int] = {}
    setups = {setup.name: setup for setup in rankings.protocol.setups} if rankings else {}
    for name in evaluation.setups:
        results[name] = {}
        for query in worst_queries(evaluation, name, worst):
            numbers[query] = shelf.number(queries[query])
            if rankings is None or not gallery:
                continue
            lists = [rankings.before(setups[name], query, num_results)]
            if rankings.scores is not None:
                lists.append(rankings.after(setups[name], query, num_results))
            results[name][query] = [[shelf.line(ranked, gallery) for ranked in one] for one in lists]
    uris = list(shelf.numbers)
    shelves = embed(uris)
    pictures = [picture for part in shelves for picture in part]
    missing = [uri for uri, picture in zip(uris, pictures, strict=True) if picture is None]
    return QueryPictures(numbers, results, shelf.names, shelves, _notes(missing, len(uris)))


def _notes(missing: Sequence[str], of: int) -> list[str]:
    if not missing:
        return []
    return [f"{len(missing):,} of {of:,} photos cannot be read any more, the first one {missing[0]}"]


class _Shelf:
    """Gives each picture one number, however often it is shown."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.names: list[str] = []
        self._rows: dict[int, int] = {}

    def number(self, record: ImageRecord) -> int:
        if record.uri not in self.numbers:
            self.names.append(record.image_id)
        return self.numbers.setdefault(record.uri, len(self.numbers))

    def line(self, ranked: Ranked, gallery: Sequence[Store]) -> list[Any]:
        if ranked.row not in self._rows:
            self._rows[ranked.row] = self.number(_record(gallery, ranked.row))
        return [self._rows[ranked.row], ranked.verdict, ranked.rank, ranked.before]


def _record(gallery: Sequence[Store], row: int) -> ImageRecord:
    """A line of several lists, counted on."""
    for store in gallery[:-1]:
        if row < store.meta.rows:
            return store.manifest.record(row)
        row -= store.meta.rows
    return gallery[-1].manifest.record(row)

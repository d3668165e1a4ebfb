"""The first results of a query as an evaluation saw them, before and after re-ranking, with verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.evaluation.ensemble import ensemble_scores, match_probability

if TYPE_CHECKING:
    from ames_ray.evaluation.ensemble import Ensemble
    from ames_ray.evaluation.protocol import Protocol, Setup
    from ames_ray.evaluation.scores import PairScores, Shortlist
    from ames_ray.search.results import Verdict
    from ames_ray.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Ranked:
    """An image in a ranking.

    Attributes:
        row: Of the gallery.
        verdict: What the ground truth says.
        rank: From 1 among the images that count; none for junk, which is taken out before ranks are counted.
        before: Its rank in the global ranking; none for junk.
    """

    row: int
    verdict: Verdict
    rank: int | None
    before: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Rankings:
    """The rankings of an evaluation, and what re-ranks them.

    Attributes:
        protocol: The benchmark.
        shortlist: The global ranking.
        scores: Logits of its pairs, or none where nothing is re-ranked.
        ensemble: The setting, or none.
    """

    protocol: Protocol
    shortlist: Shortlist
    scores: PairScores | None = None
    ensemble: Ensemble | None = None

    def before(self, setup: Setup, query: int, length: int) -> list[Ranked]:
        """The first images of a query's global ranking."""
        rows, _ = self._line(query)
        return _ranked(setup, query, rows[:length], rows)

    def after(self, setup: Setup, query: int, length: int) -> list[Ranked]:
        """The first images of the ranking in which the first K that count have a new order.

        Junk among them stands where its score puts it; without a score it is left out.
        """
        if self.scores is None or self.ensemble is None:
            return self.before(setup, query, length)
        rows, similarities = self._line(query)
        counted = np.flatnonzero(~_junk(setup, query, rows))[: self.ensemble.num_rerank]
        head = int(counted[-1]) + 1 if len(counted) else 0
        logits, scored = self.scores.of(query, rows[:head])
        values = ensemble_scores(
            similarities[:head][scored],
            match_probability(logits[scored], self.ensemble.temp),
            self.ensemble.lamb,
        )
        order = np.argsort(-values, kind="stable")
        new = np.concatenate([rows[:head][scored][order], rows[head : head + length]])
        return _ranked(setup, query, new[:length], rows)

    def _line(self, query: int) -> tuple[IntArray, FloatArray]:
        """Rows and similarities of a query's global ranking, without padding."""
        rows = self.shortlist.rows[query]
        return rows[rows >= 0], self.shortlist.similarities[query][rows >= 0]


def _junk(setup: Setup, query: int, rows: IntArray) -> BoolArray:
    found: BoolArray = np.isin(rows, setup.ignored[query]) & ~np.isin(rows, setup.positives[query])
    return found


def _ranked(setup: Setup, query: int, shown: IntArray, ranking: IntArray) -> list[Ranked]:
    """The shown images with their verdicts, their ranks there, and their ranks in the global ranking."""
    junk, positive = _junk(setup, query, shown), np.isin(shown, setup.positives[query])
    ranks = np.cumsum(~junk)
    all_ranks = np.cumsum(~_junk(setup, query, ranking))
    by_row = np.argsort(ranking)
    before = all_ranks[by_row[np.searchsorted(ranking, shown, sorter=by_row)]]
    found = []
    columns = (array.tolist() for array in (shown, junk, positive, ranks, before))
    for row, no, yes, rank, was in zip(*columns, strict=True):
        verdict: Verdict = "junk" if no else "positive" if yes else "negative"
        found.append(Ranked(row, verdict, None if no else rank, None if no else was))
    return found

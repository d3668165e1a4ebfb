"""Figures after re-ranking, for any λ, γ and K, from scores that the network gave once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.card import make_card
from ames_ray.errors import ConfigError
from ames_ray.evaluation.candidates import gather
from ames_ray.evaluation.ensemble import match_probability
from ames_ray.evaluation.evaluate import measure, shortlist_settings
from ames_ray.evaluation.ranking import global_ranks, ranked_queries, ranking_notes
from ames_ray.evaluation.result import EvaluationResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ames_ray.evaluation.average_precision import SetupRanks
    from ames_ray.evaluation.ensemble import Ensemble
    from ames_ray.evaluation.protocol import Protocol
    from ames_ray.evaluation.scores import PairScores, Shortlist


class RerankedEvaluation:
    """A benchmark with its global ranking and pair scores, ready to be asked for any setting.

    Making it looks up every candidate once; a call then only reorders the heads of the rankings and counts.
    The images that a setup ignores leave the ranking before it is cut at K, so Medium and Hard re-rank
    different candidates, as in the authors' evaluation.

    Args:
        protocol: The benchmark, from `revisited` or `gldv2`.
        shortlist: The global ranking, as much of it as there is.
        scores: Logits of `candidates(protocol, shortlist, num_rerank)`, or of more pairs.
        num_rerank: The largest K that will be asked for.

    Attributes:
        protocol: The benchmark.
        num_rerank: The largest K.
        table: The candidates.
        setups: Ranks of the positives in the global ranking.

    Raises:
        DatasetError: Ranking, scores and ground truth do not belong together, or a pair has no score.
    """

    def __init__(self, protocol: Protocol, shortlist: Shortlist, scores: PairScores, num_rerank: int) -> None:
        queries = ranked_queries(protocol, shortlist)
        self.protocol = protocol
        self.num_rerank = num_rerank
        self.table = gather(protocol, queries, shortlist, scores, num_rerank)
        self.setups = tuple(global_ranks(queries, setup, protocol.cutoff) for setup in protocol.setups)
        self._ranks = np.concatenate([setup.ranks for setup in self.setups])
        self._ends = np.cumsum([len(setup.ranks) for setup in self.setups])
        self._firsts = np.stack(
            [
                end - len(setup.ranks) + np.searchsorted(setup.query, np.arange(len(queries)))
                for setup, end in zip(self.setups, self._ends, strict=True)
            ]
        )
        self._probabilities: dict[float, NDArray[np.float64]] = {}
        self._heads: dict[int, NDArray[np.uint8]] = {}
        self._counts = protocol.counts()
        self._notes = (*protocol.notes(), *ranking_notes(protocol, queries, self.setups))
        made_with = {"shortlist": shortlist_settings(shortlist), "scores": _scores_settings(scores)}
        self._card = make_card("evaluate", {"protocol": protocol.name}, self._counts, made_with)

    def __call__(self, ensemble: Ensemble) -> EvaluationResult:
        """Figures of one setting.

        Raises:
            ConfigError: `num_rerank` is above the one that this was made for.
        """
        figures, per_query = measure(self.protocol, self.ranks(ensemble))
        K = ensemble.num_rerank
        longest = max(int(setup.ranked.max()) for setup in self.setups)
        shortest = min(int(setup.ranked.min()) for setup in self.setups)
        short = f"num_rerank={K}: the shortest list to re-rank holds {shortest} images"
        return EvaluationResult(
            protocol=self.protocol.name,
            figures=figures,
            per_query=per_query,
            settings={
                "lamb": ensemble.lamb,
                "temp": ensemble.temp,
                "num_rerank": K,
                "num_rerank_used": min(K, longest),
            },
            counts=self._counts,
            notes=(*self._notes, short) if shortest < K else self._notes,
            card=self._card,
        )

    def ranks(self, ensemble: Ensemble) -> list[SetupRanks]:
        """Ranks of the positives of every setup after re-ranking.

        Raises:
            ConfigError: `num_rerank` is above the one that this was made for.
        """
        from ames_ray.evaluation.kernel import rerank_positives

        table = self.table
        ranks = self._ranks.copy()
        rerank_positives(
            table.similarities,
            self.probabilities(ensemble.temp),
            ensemble.lamb,
            self.heads(ensemble.num_rerank),
            table.marked,
            table.starts,
            table.positive,
            self._firsts,
            ranks,
        )
        parts = np.split(ranks, self._ends[:-1])
        return [replace(setup, ranks=part) for setup, part in zip(self.setups, parts, strict=True)]

    def probabilities(self, temp: float) -> NDArray[np.float64]:
        """(Q, U) match probabilities of the candidates. Those of the last γ are kept."""
        if temp not in self._probabilities:
            self._probabilities = {temp: match_probability(self.table.logits, temp)}
        return self._probabilities[temp]

    def heads(self, num_rerank: int) -> NDArray[np.uint8]:
        """(Q, U), bit s: the candidate is among the first K images of the list of setup s.

        Raises:
            ConfigError: K is above the one that this was made for.
        """
        if num_rerank > self.num_rerank:
            raise ConfigError(
                f"num_rerank={num_rerank}: this evaluation holds the first {self.num_rerank} images"
            )
        if num_rerank not in self._heads:
            bits = 1 << np.arange(len(self.setups), dtype=np.uint8)
            self._heads[num_rerank] = np.bitwise_or.reduce(
                (self.table.places < num_rerank) * bits[:, None], axis=1
            )
        return self._heads[num_rerank]


def _scores_settings(scores: PairScores) -> dict[str, Any]:
    return {
        "model_hash": scores.model_hash,
        "query_desc_num": scores.query_desc_num,
        "db_desc_num": scores.db_desc_num,
        **scores.settings,
    }

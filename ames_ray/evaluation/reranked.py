"""Figures after re-ranking, for any λ, γ and K, from scores that the network gave once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.card import make_card
from ames_ray.errors import ConfigError
from ames_ray.evaluation.candidates import gather
from ames_ray.evaluation.ensemble import Ensemble, ensemble_scores, match_probability
from ames_ray.evaluation.evaluate import measure, shortlist_settings
from ames_ray.evaluation.ranking import global_ranks, ranked_queries, ranking_notes
from ames_ray.evaluation.result import EvaluationResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ames_ray.evaluation.average_precision import SetupRanks
    from ames_ray.evaluation.protocol import Protocol
    from ames_ray.evaluation.scores import PairScores, Shortlist
    from ames_ray.types import BoolArray


class RerankedEvaluation:
    """A benchmark with its global ranking and pair scores, ready to be asked for any setting.

    Building it looks up every candidate once; a call then only reorders the heads and counts.
    The images that a setup ignores leave the ranking before it is cut at K, so Medium and Hard re-rank
    different candidates, as in the authors' evaluation.

    Args:
        protocol: The benchmark, from `revisited` or `gldv2`.
        shortlist: The global ranking, as long as there is one.
        scores: Logits of `candidates(protocol, shortlist, num_rerank)`, or of more pairs.
        num_rerank: The largest K that will be asked for.

    Raises:
        DatasetError: Ranking, scores and ground truth do not belong together, or a pair has no score.
    """

    def __init__(self, protocol: Protocol, shortlist: Shortlist, scores: PairScores, num_rerank: int) -> None:
        queries = ranked_queries(protocol, shortlist)
        self.protocol = protocol
        self.num_rerank = num_rerank
        self.table = gather(protocol, queries, shortlist, scores, num_rerank)
        self.setups = tuple(global_ranks(queries, setup, protocol.cutoff) for setup in protocol.setups)
        self._notes = (*protocol.notes(), *ranking_notes(protocol, queries, self.setups))
        self._counts = protocol.counts()
        self._made_with = {"shortlist": shortlist_settings(shortlist), "scores": _scores_settings(scores)}
        self._ranks = np.concatenate([setup.ranks for setup in self.setups])
        self._ends = np.cumsum([len(setup.ranks) for setup in self.setups])
        self._firsts = np.stack([
            end - len(setup.ranks) + np.searchsorted(setup.query, np.arange(len(queries)))
            for setup, end in zip(self.setups, self._ends, strict=True)
        ])
        self._probabilities: dict[float, NDArray[np.float64]] = {}
        self._heads: dict[int, BoolArray] = {}

    def __call__(self, ensemble: Ensemble) -> EvaluationResult:
        """Figures of one setting.

        Raises:
            ConfigError: `num_rerank` is above the one that this was made for.
        """
        figures, per_query = measure(self.protocol, self.ranks(ensemble))
        used = min(ensemble.num_rerank, self._longest)
        return EvaluationResult(
            protocol=self.protocol.name,
            figures=figures,
            per_query=per_query,
            settings={
                "lamb": ensemble.lamb,
                "temp": ensemble.temp,
                "num_rerank": ensemble.num_rerank,
                "num_rerank_used": used,
            },
            counts=self._counts,
            notes=(*self._notes, *self._length_notes(ensemble.num_rerank)),
            card=self._card,
        )

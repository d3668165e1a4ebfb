"""What a network in training is worth: the evaluation of a held-out split, shared by all workers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from ames_ray.errors import StoreError
from ames_ray.evaluation.candidates import candidates
from ames_ray.evaluation.evaluate import evaluate
from ames_ray.evaluation.reranked import RerankedEvaluation
from ames_ray.evaluation.sweep import check_figure
from ames_ray.model.ames_reranker import AmesReranker
from ames_ray.model.projection import PROJECTION
from ames_ray.retrieval.fit import check_fits
from ames_ray.retrieval.scoring import PairScorer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ames_ray.evaluation.ensemble import Ensemble
    from ames_ray.evaluation.scores import Shortlist
    from ames_ray.model.ames import Ames
    from ames_ray.retrieval.benchmark import Benchmark
    from ames_ray.retrieval.gallery import Gallery
    from ames_ray.retrieval.scoring import ScoreOptions
    from ames_ray.training.group import Group


class Validation:
    """Evaluates networks on one benchmark.

    Args:
        benchmark: Ground truth.
        query: Store of the queries.
        gallery: Stores of the gallery.
        shortlist: The global ranking.
        ensemble: λ, γ and K.
        options: Descriptor budgets.
        figure: The figure that the best network is chosen by; none for the benchmark's own.

    Raises:
        DatasetError: Stores and ground truth are of other images.
        ConfigError: There is no such figure.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        query: Gallery,
        gallery: Gallery,
        shortlist: Shortlist,
        ensemble: Ensemble,
        options: ScoreOptions,
        figure: str | None = None,
    ) -> None:
        benchmark.check(query, gallery)
        self.figure = figure or benchmark.figure
        check_figure(benchmark.protocol, self.figure)
        self._protocol = benchmark.protocol
        self._query, self._gallery = query.stores[0], gallery
        self._shortlist = benchmark.queries_of(shortlist)
        self._pairs = candidates(self._protocol, self._shortlist, ensemble.num_rerank)
        self._ensemble, self._options = ensemble, options

    def require_fits(self, model: Ames) -> None:
        """Refuse stores that this network could not score after an epoch, before one is spent on it.

        Raises:
            StoreError: Their descriptors have another backbone or width, or are projected otherwise than this
                network will do.
        """
        spec = AmesReranker(model).spec
        trained = any(weight.requires_grad for weight in model.get_submodule("remap_local.0").parameters())
        for store in (self._query, *self._gallery.stores):
            check_fits(store, spec)
            if trained and PROJECTION in store.meta.settings:
                raise StoreError(
                    f"{store.storage.uri} is projected, and training changes the projection",
                    "name the store that it was made from",
                )

    def before(self) -> dict[str, float]:
        """The means of the global ranking."""
        return _means(evaluate(self._protocol, self._shortlist).figures)

    def __call__(self, model: Ames, group: Group) -> dict[str, float]:
        """Mean average precisions with this network, equal on every worker; its mode stays as it was.

        Raises:
            StoreError: The network does not fit the stores.
        """
        training = model.training
        try:
            reranker = AmesReranker(model, device=str(group.device))
            scorer = PairScorer(self._pairs, self._query, self._gallery, reranker, self._options)
            # Each worker scores some of the pairs; the others stay 0, so that a sum joins them.
            found = np.zeros(self._pairs.rows.shape, np.float32)
            for piece in list(scorer.pieces())[group.rank :: group.world]:
                found[piece.query, scorer.columns(piece)] = scorer(piece)
            logits = group.sum(torch.from_numpy(found).to(group.device)).cpu().numpy().astype(np.float32)
            logits[self._pairs.rows < 0] = np.nan
            scores = scorer.scores(logits)
        finally:
            model.train(training)
        num_rerank = self._ensemble.num_rerank
        evaluation = RerankedEvaluation(self._protocol, self._shortlist, scores, num_rerank)
        return _means(evaluation(self._ensemble).figures)


def _means(figures: Mapping[str, float]) -> dict[str, float]:
    """The means that are defined: without positives there is none."""
    return {name: float(v) for name, v in figures.items() if "_mAP" in name and not math.isnan(v)}

"""Searching and scoring with the workers that a job asks for: threads of this process, or a Ray cluster."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ames_ray.cli.device import local_device
from ames_ray.cli.pairs import PairDisplay
from ames_ray.model.reranker import load_reranker
from ames_ray.retrieval.belongs import check_belongs
from ames_ray.retrieval.crew import threads
from ames_ray.retrieval.ivf import approximate_neighbors
from ames_ray.retrieval.kept import kept_shortlist, read_shortlist
from ames_ray.retrieval.neighbors import find_neighbors
from ames_ray.retrieval.pieces import score_pairs
from ames_ray.retrieval.scoring import PairScorer, ScoreOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from ames_ray.config.retrieval import BenchmarkConfig, ModelConfig, PairsConfig, RankingConfig
    from ames_ray.evaluation.scores import PairScores, Shortlist
    from ames_ray.files import Storage
    from ames_ray.model.reranker import Reranker
    from ames_ray.retrieval.benchmark import Benchmark
    from ames_ray.retrieval.crew import Hire
    from ames_ray.retrieval.gallery import Gallery


def search_settings(config: RankingConfig, shortlist_size: int | None) -> dict[str, Any]:
    """What decides a first ranking besides the stores."""
    cells = {"nprobe": config.nprobe} if config.index == "ivf" else {}
    return {"pooled": config.pooled, "shortlist_size": shortlist_size, "index": config.index, **cells}


def search(
    config: RankingConfig,
    query: Gallery,
    gallery: Gallery,
    shortlist_size: int | None,
    *,
    exclude_self: bool = False,
) -> Shortlist:
    """The first ranking by global descriptor."""
    queries, pooled = query.stores[0], config.pooled
    if config.index == "ivf":
        return approximate_neighbors(
            queries, gallery, pooled, shortlist_size, config.nprobe, exclude_self=exclude_self
        )
    hire = None if config.here else _cluster(config)
    return find_neighbors(queries, gallery, pooled, shortlist_size, exclude_self=exclude_self, hire=hire)


def first_ranking(
    config: BenchmarkConfig,
    folder: Storage,
    benchmark: Benchmark,
    query: Gallery,
    gallery: Gallery,
    num_rerank: int,
) -> Shortlist:
    """The ranking of nn_file=, or one that is long enough and kept in the folder; of the benchmark's queries.

    Args:
        config: Where it comes from.
        folder: Where it is kept.
        benchmark: What it is measured by.
        query: Store of the queries.
        gallery: Stores of the gallery.
        num_rerank: The largest K that is asked for.

    Raises:
        StoreError: nn_file= is of other lists, or the stores do not belong together.
    """
    if config.nn_file is not None:
        shortlist = check_belongs(read_shortlist(config.nn_file), query.stores[0], gallery)
    else:
        size = benchmark.list_length(num_rerank)
        settings = search_settings(config, size)
        shortlist = kept_shortlist(
            folder, query.stores[0], gallery, settings, lambda: search(config, query, gallery, size)
        )
    return benchmark.queries_of(shortlist)


class Scoring:
    """The scores of one shortlist.

    Args:
        config: Network, budgets and workers.
        weights: Weights file, or name of published weights.
        pairs: The shortlist.
        query: Store of the queries.
        gallery: Stores of the gallery.

    Raises:
        StoreError: They do not belong together.
        WeightsError: The weights are missing or do not fit.
        ResourceError: A GPU is wanted where there is none.
    """

    def __init__(
        self, config: ModelConfig, weights: str, pairs: Shortlist, query: Gallery, gallery: Gallery
    ) -> None:
        self._config = config
        self._weights = weights
        options = ScoreOptions(config.query_desc_num, config.db_desc_num, config.batch_size, config.precision)
        # On a cluster this one stays idle: it tells whether weights and stores fit before anything starts.
        device = local_device(config.device) if config.here else "cpu"
        self._is_cpu = device == "cpu"
        reranker = load_reranker(config.reranker, weights, device=device, precision=config.precision)
        self._scorer = PairScorer(pairs, query.stores[0], gallery, reranker, options)

    @property
    def digest(self) -> str:
        """SHA-256 over all that decides the scores."""
        return self._scorer.digest

    def __call__(self, pieces: Storage) -> PairScores:
        """Compute what is not in the folder of pieces yet, with a display of the progress."""
        hire, load = self._workers()
        if needed := self._scorer.reranker.spec.weights:
            # A file that lacks one is refused when it is loaded.
            print(f"{self._weights}: matched {needed} of {needed} weights", file=sys.stderr)  # noqa: T201
        with PairDisplay() as display:
            return score_pairs(self._scorer, pieces=pieces, report=display, hire=hire, load=load)

    def _workers(self) -> tuple[Hire, Callable[[], Reranker] | None]:
        config = self._config
        if config.here:
            # A GPU is kept busy by one thread.
            return threads(None if self._is_cpu else 1, max(1, int(config.cpus_per_worker))), None
        from ames_ray.distributed.score import AssignedReranker

        wants_gpu = config.device != "cpu"
        gpus = config.gpus_per_worker if wants_gpu else 0
        load = AssignedReranker(config.reranker, self._weights, config.device, config.precision)
        return _cluster(config, gpus, wants_gpu=wants_gpu), load


def _cluster(config: PairsConfig, gpus_per_worker: float | None = 0, *, wants_gpu: bool = False) -> Hire:
    from ames_ray.distributed.crew import cluster

    return cluster(
        config.address,
        config.workers,
        config.cpus_per_worker,
        gpus_per_worker,
        wants_gpu=wants_gpu,
        stall_timeout=config.stall_timeout,
    )

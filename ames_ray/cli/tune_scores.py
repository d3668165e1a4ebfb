"""The scores that a sweep asks about: one set for each budget and each network, kept on disk."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from ames_ray.cli.crews import Scoring, first_ranking
from ames_ray.evaluation.candidates import candidates
from ames_ray.evaluation.reranked import RerankedEvaluation
from ames_ray.evaluation.score_files import load_pair_scores
from ames_ray.files import to_json
from ames_ray.model.reranker import load_reranker
from ames_ray.retrieval.kept import kept_scores
from ames_ray.retrieval.scoring import PairScorer, ScoreOptions
from ames_ray.tuning.objective import Budget, Scored

if TYPE_CHECKING:
    from ames_ray.config.tune import TuneConfig
    from ames_ray.evaluation.scores import PairScores, Shortlist
    from ames_ray.files import Storage
    from ames_ray.model.reranker import Reranker, RerankerSpec
    from ames_ray.retrieval.benchmark import Benchmark
    from ames_ray.retrieval.gallery import Gallery
    from ames_ray.retrieval.scoring import Piece
    from ames_ray.tuning.space import Space

_RATES = "rates.json"
_TIMED_PAIRS, _TIMES = 100, 4


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """What scores are made from.

    Attributes:
        config: The job.
        output: Where they are kept.
        benchmark: Whose protocol says which pairs are needed.
        query: Store of the queries.
        gallery: Stores of the gallery.
    """

    config: TuneConfig
    output: Storage
    benchmark: Benchmark
    query: Gallery
    gallery: Gallery


def budgets_of(space: Space) -> list[Budget]:
    """All budgets that a space may choose."""
    names = ("model", "query_desc_num", "db_desc_num")
    lists = []
    for name in names:
        parameter = space[name]
        values = [*parameter.values, *([parameter.otherwise] if parameter.otherwise is not None else [])]
        lists.append(list(dict.fromkeys(values)))
    return [Budget(str(model), int(q), int(g)) for model, q, g in product(*lists)]


def with_budgets(config: TuneConfig, space: Space) -> Space:
    """The space, with networks and budgets of the command or of its scores where it names none."""
    of = config if config.scores is None else load_pair_scores(config.scores)
    for name, values in (
        ("db_desc_num", [of.db_desc_num]),
        ("query_desc_num", [of.query_desc_num]),
        ("model", config.model or [str(config.scores)]),
    ):
        space = space.with_constant(name, values)
    return space


def as_scored(config: TuneConfig) -> TuneConfig:
    """The job with the kind of network and the arithmetic that its scores were made with, if it names any."""
    if config.scores is None:
        return config
    made = load_pair_scores(config.scores).settings
    return config.model_copy(update={name: made[name] for name in ("reranker", "precision") if name in made})


def score_budgets(
    sources: Sources, budgets: list[Budget], largest: int, *, costs: bool
) -> dict[Budget, Scored]:
    """Scores of every budget for K up to `largest`; those that the output folder has are not made again.

    Args:
        sources: What they are made from.
        budgets: Which.
        largest: The largest K.
        costs: Whether bytes and time are asked for.

    Raises:
        AmesError: Stores, networks and ground truth do not fit together.
    """
    benchmark, query, gallery = sources.benchmark, sources.query, sources.gallery
    shortlist = first_ranking(sources.config, sources.output, benchmark, query, gallery, largest)
    protocol = benchmark.protocol
    if sources.config.scores is not None:
        scores = load_pair_scores(sources.config.scores)
        evaluation = RerankedEvaluation(protocol, shortlist, scores, largest)
        return {budget: Scored(evaluation) for budget in budgets}
    pairs = candidates(protocol, shortlist, largest)
    found = {}
    for budget in budgets:
        scores, cost = _one(sources, pairs, budget, costs=costs)
        found[budget] = Scored(RerankedEvaluation(protocol, shortlist, scores, largest), *cost)
    return found


def _one(
    sources: Sources, pairs: Shortlist, budget: Budget, *, costs: bool
) -> tuple[PairScores, tuple[float, ...]]:
    config = sources.config.model_copy(
        update={"query_desc_num": budget.query_desc_num, "db_desc_num": budget.db_desc_num}
    )
    scoring = Scoring(config, budget.model, pairs, sources.query, sources.gallery)
    scores = kept_scores(sources.output, scoring.digest, scoring)
    if not costs:
        return scores, ()
    reranker = load_reranker(config.reranker, budget.model, precision=config.precision)
    size = descriptor_bytes(reranker.spec) * scores.db_desc_num
    return scores, (size, _rate(sources, pairs, budget, reranker, scoring.digest))


def descriptor_bytes(spec: RerankerSpec) -> float:
    """What the database keeps of a local descriptor after the projection, its location left out."""
    return spec.payload_dim / 8 if spec.payload == "bits" else 2.0 * spec.payload_dim


def _rate(sources: Sources, pairs: Shortlist, budget: Budget, reranker: Reranker, digest: str) -> float:
    """Pairs a second of one CPU worker; measured once, so that a search goes on with the same costs."""
    known = _known_rates(sources.output)
    if digest not in known:
        batch = sources.config.batch_size
        options = ScoreOptions(budget.query_desc_num, budget.db_desc_num, batch)
        scorer = PairScorer(pairs, sources.query.stores[0], sources.gallery, reranker, options)
        first = next(scorer.pieces())
        piece = replace(first, stop=min(first.stop, _TIMED_PAIRS))
        known[digest] = len(piece) / min(_seconds(scorer, piece) for _ in range(_TIMES))
        sources.output.publish(_RATES, to_json(known))
    return known[digest]


def _known_rates(folder: Storage) -> dict[str, float]:
    """Rates by the digest of their scores; none of a damaged file, so that they are measured again."""
    if not folder.exists(_RATES):
        return {}
    try:
        rates = {digest: float(rate) for digest, rate in json.loads(folder.read(_RATES)).items()}
    except (ValueError, TypeError, AttributeError):
        return {}
    return {digest: rate for digest, rate in rates.items() if 0 < rate < math.inf}


def _seconds(scorer: PairScorer, piece: Piece) -> float:
    began = time.perf_counter()
    scorer(piece)
    return time.perf_counter() - began

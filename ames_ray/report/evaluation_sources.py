"""What a result of `ames-ray evaluate` was made from, found again: truth, rankings, image lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ames_ray.errors import AmesError, DatasetError
from ames_ray.evaluation.ensemble import Ensemble
from ames_ray.evaluation.evaluate import evaluate
from ames_ray.evaluation.score_files import load_pair_scores, load_shortlist
from ames_ray.report.first_results import Rankings
from ames_ray.retrieval.benchmark import Benchmark
from ames_ray.retrieval.kept import read_shortlist
from ames_ray.store.reader import Store

if TYPE_CHECKING:
    from ames_ray.evaluation.scores import PairScores, Shortlist
    from ames_ray.report.evaluation import Evaluation
    from ames_ray.types import ImageRecord


def benchmark_of(evaluation: Evaluation) -> Benchmark:
    """The benchmark that a result was measured with, its ground truth read again.

    Raises:
        AmesError: The ground truth is not there any more.
    """
    truth = evaluation.config.get("ground_truth")
    if truth is None:
        raise AmesError(f"{evaluation.name} does not name its ground truth")
    return Benchmark.read(truth, evaluation.config.get("protocol"))


def rankings(evaluation: Evaluation, benchmark: Benchmark) -> Rankings:
    """The rankings of a result, from what lies beside it or where its settings say.

    Raises:
        AmesError: They are not there any more; or they, or the ground truth, are others by now.
    """
    shortlist = _shortlist(evaluation, benchmark)
    _require_same(evaluation, benchmark, shortlist)
    settings = evaluation.best["settings"]
    if not settings:
        return Rankings(benchmark.protocol, shortlist)
    ensemble = Ensemble(settings["lamb"], settings["temp"], int(settings["num_rerank"]))
    return Rankings(benchmark.protocol, shortlist, _scores(evaluation, shortlist), ensemble)


def query_list(evaluation: Evaluation) -> list[ImageRecord]:
    """The lines of the query list, as many as were evaluated.

    Raises:
        AmesError: The store is not there any more.
    """
    manifest = Store.open(str(evaluation.config.get("query", ""))).manifest
    return manifest.records(0, min(len(manifest), int(evaluation.before["counts"]["queries"])))


def gallery_of(evaluation: Evaluation) -> list[Store]:
    """The stores of the gallery.

    Raises:
        AmesError: One is not there any more.
    """
    return [Store.open(uri) for uri in evaluation.config.get("gallery", [])]


def _shortlist(evaluation: Evaluation, benchmark: Benchmark) -> Shortlist:
    """The first ranking of the run, the longest that the result's own words fit; cut to its queries."""
    given = evaluation.config.get("nn_file")
    if given:
        return benchmark.queries_of(read_shortlist(given))
    wanted = evaluation.document["card"].get("settings", {}).get("shortlist", {})
    found = [load_shortlist(uri) for uri in _kept(evaluation, "neighbors-")]
    own = [
        ranking
        for ranking in found
        if ranking.query_manifest == wanted.get("query_manifest")
        and ranking.gallery_manifest == wanted.get("gallery_manifest")
        and all(wanted.get(key) == value for key, value in ranking.settings.items())
        and len(ranking) >= benchmark.protocol.queries
    ]
    if not own:
        raise _gone(evaluation, "ranking")
    return benchmark.queries_of(max(own, key=_length))


def _scores(evaluation: Evaluation, shortlist: Shortlist) -> PairScores:
    """The pair scores of the run, those of the most pairs that the result's own words fit."""
    wanted = evaluation.document["card"].get("settings", {}).get("scores", {})
    budgets = wanted.get("query_desc_num"), wanted.get("db_desc_num")
    found = [load_pair_scores(uri) for uri in _kept(evaluation, "scores-")]
    own = [
        scores
        for scores in found
        if (scores.query_desc_num, scores.db_desc_num) == budgets
        and scores.model_hash == wanted.get("model_hash")
        and all(wanted.get(key) == value for key, value in scores.settings.items())
        and len(scores) == len(shortlist)
    ]
    if not own:
        raise _gone(evaluation, "scores")
    return max(own, key=_length)


def _require_same(evaluation: Evaluation, benchmark: Benchmark, shortlist: Shortlist) -> None:
    """Refuse what no longer gives the figures of the result: its verdicts would be of another truth."""
    found = evaluate(benchmark.protocol, shortlist).per_query
    told = {setup: evaluation.precisions(evaluation.before, setup) for setup in evaluation.setups}
    if found.keys() != told.keys() or not all(
        found[setup].shape == told[setup].shape and np.allclose(found[setup], told[setup], equal_nan=True)
        for setup in told
    ):
        raise DatasetError(
            f"{benchmark.uri} and the ranking give other figures than {evaluation.name} holds",
            "one of them was changed since; evaluate again",
        )


def _length(ranking: Shortlist | PairScores) -> int:
    return int(ranking.rows.shape[1])


def _gone(evaluation: Evaluation, what: str) -> DatasetError:
    return DatasetError(
        f"{evaluation.folder.uri} holds no {what} of {evaluation.name}",
        "evaluate again into the same folder: what it keeps there is found again",
    )


def _kept(evaluation: Evaluation, prefix: str) -> list[str]:
    folder = evaluation.folder
    return [folder.address(name) for name in folder.names() if name.startswith(prefix)]

"""Every figure of random benchmarks against the plain-Python oracle."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ames_ray.evaluation.candidates import candidates
from ames_ray.evaluation.ensemble import Ensemble
from ames_ray.evaluation.evaluate import evaluate
from ames_ray.evaluation.gldv2 import gldv2
from ames_ray.evaluation.ground_truth import GroundTruth
from ames_ray.evaluation.protocol import Group, Protocol, Setup
from ames_ray.evaluation.reranked import RerankedEvaluation
from ames_ray.evaluation.result import EvaluationResult
from ames_ray.evaluation.revisited import revisited
from ames_ray.evaluation.scores import PairScores

from . import oracle
from .strategies import Benchmark, benchmarks, no_deadline

LAMBDAS = st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0])
GAMMAS = st.sampled_from([0.0, 0.1, 1.0, 5.0])
DEPTHS = st.integers(0, 16)


def assert_revisited(result: EvaluationResult, bench: Benchmark, lists: dict[str, list[list[int]]]) -> None:
    """Compare with `lists`: of each setup the final ranking of each query, without the ignored images."""
    for setup, rankings in lists.items():
        positives = [oracle.pools(entry, setup)[0] for entry in bench.gnd]
        pairs = list(zip(rankings, positives, strict=True))
        aps = [oracle.trapezoid_ap(ranking, wanted) for ranking, wanted in pairs]
        np.testing.assert_allclose(result.per_query[setup], aps, rtol=0, atol=1e-14, equal_nan=True)
        expected = {f"{setup}_mAP": oracle.mean(aps)}
        for k in (1, 5, 10):
            expected[f"{setup}_mP@{k}"] = oracle.mean(oracle.precision_at(r, p, k) for r, p in pairs)
        for name, value in expected.items():
            assert result.figures[name] == pytest.approx(value, rel=0, abs=1e-14, nan_ok=True)


def lists_without_ignored(bench: Benchmark) -> dict[str, list[list[int]]]:
    return {
        setup: [
            oracle.without(ranking, oracle.pools(entry, setup)[1])
            for ranking, entry in zip(bench.rankings, bench.gnd, strict=True)
        ]
        for setup in oracle.SETUPS
    }


@no_deadline
@given(benchmarks())
def test_global_ranking(bench: Benchmark) -> None:
    assert_revisited(evaluate(revisited(bench.truth), bench.shortlist), bench, lists_without_ignored(bench))


@settings(deadline=None, max_examples=300)
@given(benchmarks(), LAMBDAS, GAMMAS, DEPTHS)
def test_reranked(bench: Benchmark, lamb: float, temp: float, depth: int) -> None:
    evaluation = RerankedEvaluation(revisited(bench.truth), bench.shortlist, bench.scores, 16)
    lists = {
        setup: [
            oracle.reranked(ranking, bench.similarity[q], bench.logit[q], lamb, temp, depth)
            for q, ranking in enumerate(rankings)
        ]
        for setup, rankings in lists_without_ignored(bench).items()
    }
    assert_revisited(evaluation(Ensemble(lamb, temp, depth)), bench, lists)


@no_deadline
@given(benchmarks(), DEPTHS, LAMBDAS)
def test_candidates_are_what_is_needed_and_no_more(bench: Benchmark, depth: int, lamb: float) -> None:
    protocol = revisited(bench.truth)
    chosen = candidates(protocol, bench.shortlist, depth)
    lists = lists_without_ignored(bench)
    for query, ranking in enumerate(bench.rankings):
        needed = set().union(*(lists[setup][query][:depth] for setup in lists))
        assert chosen.rows[query][chosen.rows[query] >= 0].tolist() == [i for i in ranking if i in needed]
    logits = np.array(
        [[bench.logit[q].get(i, np.nan) for i in line] for q, line in enumerate(chosen.rows.tolist())]
    ).reshape(chosen.rows.shape)
    few = PairScores(chosen.rows, logits, "", 8, 8)
    ensemble = Ensemble(lamb, 1.0, depth)
    found = RerankedEvaluation(protocol, bench.shortlist, few, depth)(ensemble).figures
    every = RerankedEvaluation(protocol, bench.shortlist, bench.scores, 16)(ensemble).figures
    assert all(found[name] == every[name] or math.isnan(every[name]) for name in every)


@no_deadline
@given(benchmarks(), st.integers(1, 6))
def test_precision_at_the_hits_up_to_a_cutoff(bench: Benchmark, cutoff: int) -> None:
    truth = GroundTruth({"ok": [entry["easy"] + entry["hard"] for entry in bench.gnd]})
    nothing = (np.empty(0, np.int64),) * len(truth)
    group = Group("all", 0, slice(None))
    protocol = Protocol("short", (Setup("retrieval", truth.of("ok"), nothing),), (group,), cutoff)
    result = evaluate(protocol, bench.shortlist)
    aps = [
        oracle.ap_at(ranking, set(positives.tolist()), cutoff)
        for ranking, positives in zip(bench.rankings, truth.of("ok"), strict=True)
    ]
    np.testing.assert_allclose(result.per_query["retrieval"], aps, rtol=0, atol=1e-14, equal_nan=True)
    assert result.figures[f"all_mAP@{cutoff}"] == pytest.approx(oracle.mean(aps), abs=1e-14)


@no_deadline
@given(benchmarks(), LAMBDAS, GAMMAS, DEPTHS)
def test_gldv2_reranked_is_gldv2_of_the_reranked_lists(
    bench: Benchmark, lamb: float, temp: float, depth: int
) -> None:
    truth = GroundTruth({"ok": [entry["easy"] + entry["hard"] for entry in bench.gnd]})
    protocol = gldv2(truth, public=1)
    ensemble = Ensemble(lamb, temp, depth)
    lists = [
        oracle.reranked(ranking, bench.similarity[q], bench.logit[q], lamb, temp, depth)
        for q, ranking in enumerate(bench.rankings)
    ]
    rows = np.full(bench.shortlist.rows.shape, -1)
    for line, ranking in zip(rows, lists, strict=True):
        line[: len(ranking)] = ranking
    found = RerankedEvaluation(protocol, bench.shortlist, bench.scores, 16)(ensemble)
    np.testing.assert_array_equal(
        found.per_query["retrieval"], evaluate(protocol, rows).per_query["retrieval"]
    )


@no_deadline
@given(benchmarks(answers=None), st.randoms())
def test_order_of_the_pair_scores_does_not_matter(bench: Benchmark, random: object) -> None:
    rng = np.random.default_rng(abs(hash(random)) % 2**32)
    shuffled = rng.permutation(bench.scores.rows.shape[1])
    other = PairScores(bench.scores.rows[:, shuffled], bench.scores.logits[:, shuffled], "f00d", 8, 8)
    protocol, ensemble = revisited(bench.truth), Ensemble(0.4, 0.7, 9)
    found = RerankedEvaluation(protocol, bench.shortlist, other, 9)(ensemble)
    assert (
        found.to_json() == RerankedEvaluation(protocol, bench.shortlist, bench.scores, 9)(ensemble).to_json()
    )


@no_deadline
@given(benchmarks())
def test_global_weight_alone_keeps_the_ranking(bench: Benchmark) -> None:
    finite = Benchmark(
        bench.gnd, bench.rankings, bench.similarity, [dict.fromkeys(v, 1.0) for v in bench.logit]
    )
    evaluation = RerankedEvaluation(revisited(finite.truth), finite.shortlist, finite.scores, 16)
    plain = evaluate(revisited(finite.truth), finite.shortlist).per_query
    for setting in (Ensemble(1, 1, 16), Ensemble(0.5, 1, 16), Ensemble(0, 1, 16), Ensemble(0.2, 1, 0)):
        for name, values in evaluation(setting).per_query.items():
            np.testing.assert_array_equal(values, plain[name])

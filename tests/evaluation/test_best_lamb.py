"""The step function of λ against brute force over all of its steps."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ames_ray.errors import ConfigError, DatasetError
from ames_ray.evaluation.best_lamb import best_lamb, lamb_steps
from ames_ray.evaluation.ensemble import Ensemble
from ames_ray.evaluation.gldv2 import gldv2
from ames_ray.evaluation.ground_truth import GroundTruth
from ames_ray.evaluation.reranked import RerankedEvaluation
from ames_ray.evaluation.revisited import revisited

from . import golden, oracle
from .strategies import Benchmark, benchmarks, no_deadline

# Probabilities closer than float64 tells apart in a sum with the similarity would tie there, but not here.
MODERATE = (-np.inf, -4.0, -2.0, 0.0, 1.0, 1.0, 3.0, np.nan)
TRUTH = GroundTruth.from_gnd(golden.figures("revisited"))


def all_crossings(bench: Benchmark, temp: float) -> list[float]:
    """Every λ at which any two images of a query have equal scores, pair by pair."""
    found = {0.0, 1.0}
    for similarity, logit in zip(bench.similarity, bench.logit, strict=True):
        g = {image: np.float64(value) for image, value in similarity.items()}
        f = {image: 1 / (1 + np.exp(-temp * np.float64(value))) for image, value in logit.items()}
        for a, b in combinations(similarity, 2):
            slope = (f[a] - f[b]) - (g[a] - g[b])
            if slope != 0 and 0 < (f[a] - f[b]) / slope < 1:
                found.add(float((f[a] - f[b]) / slope))
    return sorted(found)


def textbook_mean(bench: Benchmark, setup: str, lamb: float, temp: float, depth: int) -> float:
    values = []
    for q, (entry, ranking) in enumerate(zip(bench.gnd, bench.rankings, strict=True)):
        positives, ignored = oracle.pools(entry, setup)
        kept = oracle.without(ranking, ignored)
        final = oracle.reranked(kept, bench.similarity[q], bench.logit[q], lamb, temp, depth)
        values.append(oracle.trapezoid_ap(final, positives))
    return oracle.mean(values)


@settings(deadline=None, max_examples=60)
@given(benchmarks(answers=None), st.sampled_from([0.1, 1.0]), st.integers(0, 16))
def test_equals_brute_force_over_all_crossings(bench: Benchmark, temp: float, depth: int) -> None:
    setup = "medium"
    evaluation = RerankedEvaluation(revisited(bench.truth, [setup]), bench.shortlist, bench.scores, 16)
    edges, values = lamb_steps(evaluation, temp, depth, "medium_mAP")
    crossings = all_crossings(bench, temp)
    tried = []
    for low, high in pairwise(crossings):
        if high - low < 1e-9:
            continue
        expected = textbook_mean(bench, setup, (low + high) / 2, temp, depth)
        step = np.searchsorted(edges, (low + high) / 2) - 1
        assert values[step] == pytest.approx(expected, rel=0, abs=1e-12)
        tried.append(expected)
    tried += [textbook_mean(bench, setup, end, temp, depth) for end in (0.0, 1.0)]
    best = best_lamb(evaluation, temp, depth, "medium_mAP")
    assert best.value == pytest.approx(max(tried), rel=0, abs=1e-12)
    assert best.low <= best.lamb <= best.high
    assert best.value == pytest.approx(textbook_mean(bench, setup, best.lamb, temp, depth), rel=0, abs=1e-12)


@no_deadline
@given(benchmarks(answers=None), st.integers(0, 16), st.floats(0, 0.5), st.floats(0.5, 1))
def test_equals_brute_force_within_a_range(bench: Benchmark, depth: int, low: float, high: float) -> None:
    evaluation = RerankedEvaluation(revisited(bench.truth, ["medium"]), bench.shortlist, bench.scores, 16)
    inside = [edge for edge in all_crossings(bench, 1.0) if low < edge < high]
    tried = [low, high]
    tried += [(a + b) / 2 for a, b in pairwise([low, *inside, high]) if b - a > 1e-9]
    expected = max(textbook_mean(bench, "medium", lamb, 1.0, depth) for lamb in tried)
    best = best_lamb(evaluation, 1.0, depth, "medium_mAP", low=low, high=high)
    assert best.value == pytest.approx(expected, rel=0, abs=1e-12)
    assert low <= best.low <= best.lamb <= best.high <= high


@no_deadline
@given(benchmarks(answers=MODERATE), st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 16))
def test_steps_hold_between_their_edges_with_ties_and_nan(bench: Benchmark, temp: float, depth: int) -> None:
    evaluation = RerankedEvaluation(revisited(bench.truth, ["medium"]), bench.shortlist, bench.scores, 16)
    edges, values = lamb_steps(evaluation, temp, depth, "medium_mAP")
    assert edges[0] == 0
    assert edges[-1] == 1
    assert (np.diff(edges) >= 0).all()
    for low, high, value in zip(edges[:-1], edges[1:], values, strict=True):
        if high - low > 1e-9:
            for share in (0.1, 0.5, 0.9):
                lamb = float(low + share * (high - low))
                assert value == pytest.approx(
                    textbook_mean(bench, "medium", lamb, temp, depth), rel=0, abs=1e-12
                )


@no_deadline
@given(benchmarks(answers=None), st.integers(0, 16))
def test_gldv2_steps(bench: Benchmark, depth: int) -> None:
    truth = GroundTruth({"ok": [entry["easy"] + entry["hard"] for entry in bench.gnd]})
    evaluation = RerankedEvaluation(gldv2(truth, public=1), bench.shortlist, bench.scores, 16)
    edges, values = lamb_steps(evaluation, 1.0, depth, "combined_mAP@100")
    for low, high, value in zip(edges[:-1], edges[1:], values, strict=True):
        if high - low > 1e-9:
            found = evaluation(Ensemble(float((low + high) / 2), 1.0, depth)).figures["combined_mAP@100"]
            assert value == pytest.approx(found, rel=0, abs=1e-12)


@pytest.mark.parametrize("figure", ["easy_mAP", "medium_mAP", "hard_mAP"])
def test_golden_benchmark_beats_a_fine_grid(figure: str) -> None:
    evaluation = RerankedEvaluation(revisited(TRUTH), *golden.revisited_scores(), num_rerank=120)
    best = best_lamb(evaluation, 0.5, 120, figure)
    grid = [evaluation(Ensemble(lamb, 0.5, 120)).figures[figure] for lamb in np.linspace(0, 1, 2001).tolist()]
    assert best.value >= max(grid)
    assert best.value == evaluation(Ensemble(best.lamb, 0.5, 120)).figures[figure]
    edges, values = lamb_steps(evaluation, 0.5, 120, figure)
    inside = np.searchsorted(edges, np.linspace(0, 1, 2001)[1:-1]) - 1
    np.testing.assert_allclose(values[inside], grid[1:-1], rtol=0, atol=1e-12)


def test_a_maximum_at_the_end_alone_is_found() -> None:
    """Equal similarities: at λ = 1 the given order stands, below it the network decides, wrongly."""
    bench = Benchmark(
        gnd=[{"easy": [0], "hard": [], "junk": []}],
        rankings=[[0, 1]],
        similarity=[{0: 0.5, 1: 0.5}],
        logit=[{0: -1.0, 1: 1.0}],
    )
    evaluation = RerankedEvaluation(revisited(bench.truth), bench.shortlist, bench.scores, 2)
    best = best_lamb(evaluation, 1.0, 2, "easy_mAP")
    assert (best.lamb, best.low, best.high, best.value) == (1.0, 1.0, 1.0, 1.0)


def test_refuses_other_figures() -> None:
    evaluation = RerankedEvaluation(revisited(TRUTH), *golden.revisited_scores(), num_rerank=20)
    with pytest.raises(ConfigError, match=r"figure=medium_mP@5: allowed are easy_mAP, medium_mAP, hard_mAP"):
        best_lamb(evaluation, 0.5, 20, "medium_mP@5")
    with pytest.raises(ConfigError, match="num_rerank=21: this evaluation holds the first 20"):
        best_lamb(evaluation, 0.5, 21, "medium_mAP")
    no_hard = Benchmark([{"easy": [0], "hard": [], "junk": []}], [[0]], [{0: 1.0}], [{0: 1.0}])
    evaluation = RerankedEvaluation(revisited(no_hard.truth), no_hard.shortlist, no_hard.scores, 1)
    with pytest.raises(DatasetError, match="hard_mAP is undefined"):
        best_lamb(evaluation, 0.5, 1, "hard_mAP")

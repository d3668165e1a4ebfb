"""The authors' figures, to the last digit that they were written with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ames_ray.evaluation.candidates import candidates
from ames_ray.evaluation.ensemble import Ensemble
from ames_ray.evaluation.evaluate import evaluate
from ames_ray.evaluation.gldv2 import gldv2
from ames_ray.evaluation.ground_truth import GroundTruth
from ames_ray.evaluation.reranked import RerankedEvaluation
from ames_ray.evaluation.revisited import revisited
from ames_ray.evaluation.scores import PairScores
from ames_ray.evaluation.sweep import sweep

from . import golden

SETTINGS = golden.figures("revisited")["rerank"]
TRUTH = GroundTruth.from_gnd(golden.figures("revisited"))


def assert_percent(found: float, expected: float) -> None:
    """Golden means are percent, rounded to three decimals."""
    assert round(100 * found, 3) == expected


@pytest.fixture(scope="module")
def evaluation() -> RerankedEvaluation:
    return RerankedEvaluation(revisited(TRUTH), *golden.revisited_scores(), num_rerank=400)


def test_revisited_global_ranking() -> None:
    expected = golden.figures("revisited")["global_only"]
    result = evaluate(revisited(TRUTH), golden.revisited_scores()[0])
    for setup, letter in (("easy", "E"), ("medium", "M"), ("hard", "H")):
        assert_percent(result.figures[f"{setup}_mAP"], expected[f"{letter}_map"])
        for k, precision in zip((1, 5, 10), expected[f"{letter}_mp"], strict=True):
            assert_percent(result.figures[f"{setup}_mP@{k}"], precision)
        aps = golden.per_query(expected[f"aps{letter}"])
        np.testing.assert_allclose(result.per_query[setup], aps, rtol=0, atol=4e-16, equal_nan=True)


@pytest.mark.parametrize("expected", SETTINGS, ids=lambda s: f"K{s['num_rerank']}-{s['lamb']}-{s['temp']}")
def test_revisited_reranked(evaluation: RerankedEvaluation, expected: dict[str, Any]) -> None:
    result = evaluation(Ensemble(expected["lamb"], expected["temp"], expected["num_rerank"]))
    for setup in ("medium", "hard"):
        assert_percent(result.figures[f"{setup}_mAP"], expected[f"{setup}_mAP"])
        for k, precision in zip((1, 5, 10), expected[f"{setup}_mP"], strict=True):
            assert_percent(result.figures[f"{setup}_mP@{k}"], precision)
        aps = golden.per_query(expected[f"{setup}_AP"])
        np.testing.assert_allclose(result.per_query[setup], aps, rtol=0, atol=4e-16, equal_nan=True)


def test_revisited_sweep_holds_the_whole_grid() -> None:
    lamb, temp, num_rerank = ([0.0, 0.35, 0.5, 1.0], [0.1, 0.5, 1.0], [20, 120])
    table = sweep(revisited(TRUTH), *golden.revisited_scores(), lamb, temp, num_rerank, "hard_mAP")
    found = {(r["lamb"], r["temp"], r["num_rerank"]): r for r in table.rows()}
    assert len(found) == len(table.results) == len(SETTINGS)
    for expected in SETTINGS:
        row = found[expected["lamb"], expected["temp"], expected["num_rerank"]]
        assert row["hard_mAP"] is not None
        assert_percent(row["hard_mAP"], expected["hard_mAP"])
    assert_percent(table.best.figures["hard_mAP"], max(s["hard_mAP"] for s in SETTINGS))


def test_scores_of_the_candidates_alone_suffice() -> None:
    shortlist, scores = golden.revisited_scores()
    protocol = revisited(TRUTH)
    pairs = candidates(protocol, shortlist, 20)
    assert 20 <= pairs.rows.shape[1] < 45
    logits = np.take_along_axis(golden.arrays("revisited")["raw_similarity_by_image"], pairs.rows, 1)
    few = RerankedEvaluation(protocol, shortlist, PairScores(pairs.rows, logits, "", 600, 100), 20)
    all_pairs = RerankedEvaluation(protocol, shortlist, scores, 400)
    for setting in SETTINGS[:12]:
        ensemble = Ensemble(setting["lamb"], setting["temp"], 20)
        assert few(ensemble).figures == all_pairs(ensemble).figures


def test_gldv2() -> None:
    expected = golden.figures("gldv2")
    truth = GroundTruth.from_gnd({"ok": expected["ok"]})
    ranks = golden.arrays("gldv2")["ranks"]
    test = evaluate(gldv2(truth), ranks)
    assert_percent(test.figures["public_mAP@100"], expected["test"]["pub_map"])
    assert_percent(test.figures["private_mAP@100"], expected["test"]["priv_map"])
    assert_percent(test.figures["combined_mAP@100"], expected["test"]["map"])
    val = evaluate(gldv2(truth, "val"), ranks[:379])
    assert_percent(val.figures["val_mAP@100"], expected["val"]["map"])
    assert val.figures["val_mAP@100"] == test.figures["public_mAP@100"]
    empty = sum(not positives for positives in expected["ok"])
    assert test.counts["combined_queries_without_positives"] == empty > 0
    assert test.counts["combined_queries"] == 1129 - empty

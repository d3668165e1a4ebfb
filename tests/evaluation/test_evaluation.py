"""Results, sweeps, and what happens at the edges of the protocols."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from ames_ray.errors import ConfigError, DatasetError
from ames_ray.evaluation.ensemble import Ensemble, ensemble_scores, match_probability
from ames_ray.evaluation.evaluate import evaluate
from ames_ray.evaluation.gldv2 import gldv2
from ames_ray.evaluation.ground_truth import GroundTruth
from ames_ray.evaluation.reranked import RerankedEvaluation
from ames_ray.evaluation.revisited import revisited
from ames_ray.evaluation.scores import PairScores, Shortlist
from ames_ray.evaluation.sweep import sweep

from . import golden

TRUTH = GroundTruth.from_gnd(golden.figures("revisited"))


def small(gnd: dict[str, list[int]], logits: list[float]) -> tuple[GroundTruth, Shortlist, PairScores]:
    """One query; images 0, 1, 2 … in this order, similarities falling from 0.9 by 0.1."""
    rows = np.arange(len(logits))[None]
    similarities = 0.9 - 0.1 * rows
    truth = GroundTruth.from_gnd([{"easy": [], "hard": [], "junk": [], **gnd}])
    return truth, Shortlist(rows, similarities), PairScores(rows, np.array([logits]), "f00d", 600, 600)


def new_order(shortlist: Shortlist, scores: PairScores, ensemble: Ensemble) -> list[int]:
    """The images of the one query by the place that each has as the only positive."""
    images = {}
    for image in shortlist.rows[0].tolist():
        protocol = revisited(GroundTruth({"easy": [[image]], "hard": [[]], "junk": [[]]}), ["easy"])
        (found,) = RerankedEvaluation(protocol, shortlist, scores, ensemble.num_rerank).ranks(ensemble)
        images[int(found.ranks[0])] = image
    return [images[place] for place in range(len(images))]


def test_two_positives_of_which_one_is_beyond_the_cutoff() -> None:
    """mAP@100 divides by both: 1/2 · 1/5, not 1/5."""
    result = evaluate(gldv2(GroundTruth.from_gnd([[4, 102]]), public=1), np.arange(200)[None])
    assert result.figures["public_mAP@100"] == pytest.approx(0.5 * 1 / 5, abs=1e-15)
    assert math.isnan(result.figures["private_mAP@100"])
    assert "no query of private has positives: its figures are undefined" in result.notes


def test_trapezoid_is_not_the_sum_of_precisions() -> None:
    truth, shortlist, _ = small({"easy": [0, 2]}, [0.0] * 4)
    result = evaluate(revisited(truth), shortlist)
    assert result.figures["easy_mAP"] == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2, abs=1e-15)


def test_junk_is_removed_before_the_cut() -> None:
    """With K = 2 the Medium head is images 2 and 3, because 0 and 1 are junk; 3 overtakes 2."""
    truth, shortlist, scores = small({"hard": [3], "easy": [5], "junk": [0, 1]}, [0, 0, -9, 9, 0, 0])
    result = RerankedEvaluation(revisited(truth, ["medium", "hard"]), shortlist, scores, 2)(
        Ensemble(0.5, 1, 2)
    )
    assert result.figures["hard_mAP"] == 1.0
    medium = (1 + (1 / 3 + 2 / 4) / 2) / 2
    assert result.figures["medium_mAP"] == pytest.approx(medium, abs=1e-15)


def test_queries_without_positives_are_left_out_and_counted() -> None:
    result = evaluate(revisited(TRUTH), golden.revisited_scores()[0])
    assert result.counts["queries"] == 14
    assert result.counts["hard_queries"] == 11
    assert result.counts["hard_queries_without_positives"] == 3
    assert np.isnan(result.per_query["hard"]).sum() == 3
    assert result.figures["hard_mAP"] == pytest.approx(np.nanmean(result.per_query["hard"]), abs=1e-15)
    assert json.loads(result.to_json())["per_query"]["hard"][3] is None


def test_no_positives_at_all() -> None:
    truth, shortlist, scores = small({"junk": [1]}, [0.0] * 3)
    with pytest.raises(DatasetError, match=r"none of the 1 queries has positives \(easy, medium, hard\)"):
        revisited(truth)
    with pytest.raises(DatasetError, match="none of the 0 queries"):
        revisited(GroundTruth({"easy": [], "hard": [], "junk": []}))
    with pytest.raises(DatasetError, match=r"none of the 2 queries has positives \(val\)"):
        gldv2(GroundTruth.from_gnd([[], [], [1]]), "val", public=2)
    truth, shortlist, scores = small({"easy": [1]}, [0.0] * 3)
    result = evaluate(revisited(truth), shortlist)
    assert math.isnan(result.figures["hard_mAP"])
    assert json.loads(result.to_json())["figures"]["hard_mAP"] is None
    with pytest.raises(DatasetError, match="hard_mAP is undefined"):
        sweep(revisited(truth), shortlist, scores, [0.5], [1.0], [2], "hard_mAP")


def test_depth_beyond_the_database() -> None:
    truth, shortlist, scores = small({"easy": [4]}, [0, 0, 0, 0, 9])
    result = RerankedEvaluation(revisited(truth, ["easy"]), shortlist, scores, 100)(Ensemble(0.1, 1, 100))
    assert (result.settings["num_rerank"], result.settings["num_rerank_used"]) == (100, 5)
    assert "num_rerank=100: the shortest list to re-rank holds 5 images" in result.notes
    assert result.figures["easy_mAP"] == 1.0


def test_positives_outside_the_ranking_are_never_found_and_named() -> None:
    truth, shortlist, _ = small({"easy": [0, 7, 8]}, [0.0] * 4)
    result = evaluate(revisited(truth, ["easy"]), shortlist)
    assert result.figures["easy_mAP"] == pytest.approx(1 / 3, abs=1e-15)
    assert "easy: 2 positives are not in the rankings; they count as never found" in result.notes
    nothing = evaluate(revisited(truth, ["easy"]), np.empty((1, 0), np.int64))
    assert nothing.figures == dict.fromkeys(nothing.figures, 0.0)


def test_an_image_that_is_positive_and_junk_counts_as_positive() -> None:
    truth, shortlist, scores = small({"easy": [1, 2], "junk": [0, 1]}, [0.0] * 3)
    result = evaluate(revisited(truth, ["easy"]), shortlist)
    assert result.figures["easy_mAP"] == 1.0
    reranked = RerankedEvaluation(revisited(truth, ["easy"]), shortlist, scores, 2)(Ensemble(0.5, 1, 2))
    assert reranked.figures == result.figures
    assert "easy: 1 images are both positive and ignored; they count as positive" in result.notes


def test_undefined_scores_are_last_of_the_head() -> None:
    truth, shortlist, scores = small({"easy": [0]}, [math.nan, -9, -9, 9])
    for lamb in (0.0, 0.5, 1.0):
        assert new_order(shortlist, scores, Ensemble(lamb, 1, 3)) == [1, 2, 0, 3]
        values = ensemble_scores(shortlist.similarities, match_probability(scores.logits, 1), lamb)
        assert values[0, 0] == -math.inf
        result = RerankedEvaluation(revisited(truth), shortlist, scores, 3)(Ensemble(lamb, 1, 3))
        assert result.figures["easy_mAP"] == pytest.approx((0 + 1 / 3) / 2, abs=1e-15)


def test_an_infinite_similarity_does_not_win() -> None:
    shortlist = Shortlist(np.array([[5, 7, 9]]), np.array([[math.inf, 0.9, 0.5]], np.float32))
    scores = PairScores(np.array([[5, 7, 9]]), np.array([[9, -9, 0]], np.float32), "f00d", 600, 600)
    assert new_order(shortlist, scores, Ensemble(0.5, 1, 3)) == [9, 7, 5]
    values = ensemble_scores(shortlist.similarities, match_probability(scores.logits, 1), 0.5)
    assert values[shortlist.rows == 5].tolist() == [-math.inf]
    truth = GroundTruth({"easy": [[5]], "hard": [[]], "junk": [[]]})
    result = RerankedEvaluation(revisited(truth), shortlist, scores, 3)(Ensemble(0.5, 1, 3))
    assert result.figures["easy_mAP"] == pytest.approx((0 + 1 / 3) / 2, abs=1e-15)


def test_many_equal_scores_keep_the_global_order() -> None:
    images = np.arange(200)
    easy = images[images % 3 == 0]
    rows, level = images[None], np.where(images % 7 == 0, 2.0, 1.0)[None]
    truth = GroundTruth({"easy": [easy], "hard": [[]], "junk": [[]]})
    shortlist = Shortlist(rows, np.full(rows.shape, 0.5, np.float32))
    scores = PairScores(rows, level.astype(np.float32), "f00d", 600, 600)
    protocol, ensemble = revisited(truth, ["easy"]), Ensemble(0.5, 1, 180)
    sorted_rows = np.concatenate(
        [images[:180][level[0, :180] == 2], images[:180][level[0, :180] == 1], images[180:]]
    )
    assert new_order(shortlist, scores, ensemble) == sorted_rows.tolist()
    result = RerankedEvaluation(protocol, shortlist, scores, 180)(ensemble)
    assert result.figures == evaluate(protocol, sorted_rows[None]).figures


def test_missing_scores_are_named() -> None:
    truth, shortlist, _ = small({"easy": [0], "junk": [1]}, [0.0] * 4)
    scores = PairScores(np.array([[0, 1]]), np.zeros((1, 2), np.float32), "f00d", 600, 600)
    with pytest.raises(
        DatasetError, match=r"query 0: image 2 has no score(.|\n)*set num_rerank to 1 or less"
    ):
        RerankedEvaluation(revisited(truth, ["easy"]), shortlist, scores, 3)
    RerankedEvaluation(revisited(truth, ["easy"]), shortlist, scores, 1)


def test_rankings_that_do_not_fit() -> None:
    protocol = gldv2(GroundTruth.from_gnd([[1], [2]]), public=1)
    with pytest.raises(DatasetError, match="the ranking has 1 queries, the ground truth 2"):
        evaluate(protocol, np.array([[0, 1]]))
    with pytest.raises(DatasetError, match="the ranking of query 1 holds image 2 more than once"):
        evaluate(protocol, np.array([[0, 1, 2], [2, 0, 2]]))
    short = evaluate(protocol, np.array([[0, 1, -1], [2, 0, 1]]))
    assert "mAP@100: the shortest ranking holds 2 images; its ranks end there" in short.notes


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((1.1, 1, 1), "lamb=1.1"),
        ((-0.1, 1, 1), "lamb=-0.1"),
        ((math.nan, 1, 1), "lamb=nan"),
        ((0.5, -1, 1), "temp=-1"),
        ((0.5, math.inf, 1), "temp=inf"),
        ((0.5, 1, -1), "num_rerank=-1"),
        ((0.5, 1, 1.5), "num_rerank=1.5"),
    ],
)
def test_settings_outside_their_range(values: tuple[Any, Any, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Ensemble(*values)


def test_the_best_row_is_found_wherever_it_stands() -> None:
    truth, shortlist, scores = small({"easy": [3]}, [-9, -9, -9, 9])
    protocol = revisited(truth)
    for lamb in ([0.1, 1.0], [1.0, 0.1]):
        table = sweep(protocol, shortlist, scores, lamb, [0.1, 0.9], [2, 4], "easy_mAP")
        assert len(table.rows()) == 8
        best = table.best
        assert (best.settings["lamb"], best.settings["temp"], best.settings["num_rerank"]) == (0.1, 0.1, 4)
        assert best.row() in table.rows()
        assert best.row()["hard_mAP"] is None
        assert best.card["settings"]["scores"]["model_hash"] == "f00d"
    assert sweep(protocol, shortlist, scores, [1.0], [1.0], [0], "easy_mAP").best.figures == dict(
        evaluate(protocol, shortlist).figures
    ) | {name: pytest.approx(v, nan_ok=True) for name, v in evaluate(protocol, shortlist).figures.items()}


def test_sweep_refuses_empty_lists_and_unknown_figures() -> None:
    truth, shortlist, scores = small({"easy": [3]}, [0.0] * 4)
    protocol = revisited(truth)
    with pytest.raises(ConfigError, match=r"temp=\[\]"):
        sweep(protocol, shortlist, scores, [0.5], [], [2], "easy_mAP")
    with pytest.raises(ConfigError, match="figure=mAP: allowed are easy_mAP, medium_mAP, hard_mAP"):
        sweep(protocol, shortlist, scores, [0.5], [1], [2], "mAP")


def test_json_holds_the_figures_exactly_and_what_made_them() -> None:
    evaluation = RerankedEvaluation(revisited(TRUTH), *golden.revisited_scores(), num_rerank=50)
    result = evaluation(Ensemble(0.35, 0.5, 50))
    stored = json.loads(result.to_json())
    assert stored["figures"] == result.figures
    assert stored["settings"] == result.settings
    np.testing.assert_array_equal(np.array(stored["per_query"]["hard"], float), result.per_query["hard"])
    assert result.card["settings"]["scores"]["query_desc_num"] == 600
    assert result.card["settings"]["shortlist"]["length"] == 400


def run_python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_evaluation_loads_neither_torch_nor_ray_and_numba_only_to_rerank() -> None:
    code = """
import sys, pkgutil, importlib, ames_ray.evaluation as e
names = [m.name for m in pkgutil.iter_modules(e.__path__) if m.name != "kernel"]
[importlib.import_module(f"ames_ray.evaluation.{n}") for n in names]
print(len(names) > 10, sorted({"torch", "ray", "numba", "safetensors"} & set(sys.modules)))
importlib.import_module("ames_ray.evaluation.kernel")
print(sorted({"torch", "ray"} & set(sys.modules)))
"""
    assert run_python(code) == "True []\n[]"


def test_the_inner_loop_works_where_machine_code_cannot_be_kept() -> None:
    code = """
from ames_ray.evaluation.kernel import fill_buckets, BUCKETS
import numpy as np
print(fill_buckets(np.array([3.0, 1.0]), np.zeros(BUCKETS, np.uint32)), fill_buckets.stats.cache_path)
"""
    assert run_python(code, NUMBA_CACHE_LOCATOR_CLASSES="ZipCacheLocator") == "255.5 None"


def test_the_inner_loop_is_the_same_without_compilation() -> None:
    code = """
import numpy as np
from ames_ray.evaluation.ensemble import Ensemble
from ames_ray.evaluation.ground_truth import GroundTruth
from ames_ray.evaluation.reranked import RerankedEvaluation
from ames_ray.evaluation.revisited import revisited
from ames_ray.evaluation.scores import PairScores, Shortlist
rng = np.random.default_rng(0)
rows = np.stack([rng.permutation(60) for _ in range(5)])
gnd = [{"easy": rng.choice(60, 9), "hard": rng.choice(60, 9), "junk": rng.choice(60, 5)} for _ in rows]
shortlist = Shortlist(rows, np.sort(rng.random(rows.shape))[:, ::-1])
scores = PairScores(rows, rng.normal(0, 3, rows.shape), "", 1, 1)
evaluation = RerankedEvaluation(revisited(GroundTruth.from_gnd(gnd)), shortlist, scores, 40)
print([evaluation(Ensemble(lamb, 0.5, 40)).figures for lamb in (0, 0.4, 1)])
"""
    assert run_python(code) == run_python(code, NUMBA_DISABLE_JIT="1")

"""The grid that is evaluated at once, against one evaluation after another and the authors' numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ames_ray.errors import ConfigError, DatasetError
from ames_ray.evaluation.ensemble import Ensemble
from ames_ray.evaluation.ground_truth import GroundTruth
from ames_ray.evaluation.protocol import Group, Protocol, Setup
from ames_ray.evaluation.reranked import RerankedEvaluation
from ames_ray.evaluation.revisited import revisited
from ames_ray.evaluation.sweep import sweep
from ames_ray.tuning.grid import Grid, GridTable, evaluate_grid
from ames_ray.tuning.refine import refine
from tests.evaluation import golden
from tests.evaluation.strategies import EXTREME, Benchmark, benchmarks

TRUTH = GroundTruth.from_gnd(golden.figures("revisited"))
GRID = Grid((0.0, 0.1, 0.5, 0.77, 1.0), (0.0, 0.1, 0.8, 3.0), (0, 1, 2, 5, 13, 40))


def same(table: GridTable, evaluation: RerankedEvaluation) -> None:
    """Bit for bit, NaN included."""
    for row in table.rows():
        setting = Ensemble(row["lamb"], row["temp"], int(row["num_rerank"]))
        expected = evaluation(setting).figures
        assert {name: row[name] for name in expected} == pytest.approx(
            dict(expected), rel=0, abs=0, nan_ok=True
        )


@settings(max_examples=60)
@given(benchmarks(EXTREME))
def test_every_figure_is_that_of_a_single_evaluation(bench: Benchmark) -> None:
    try:
        protocol = revisited(bench.truth, ("easy", "medium", "hard"))
    except DatasetError:  # no query has positives
        return
    evaluation = RerankedEvaluation(protocol, bench.shortlist, bench.scores, 40)
    same(evaluate_grid(evaluation, GRID, threads=1), evaluation)


@settings(max_examples=40)
@given(benchmarks(EXTREME), st.integers(0, 3))
def test_also_of_the_other_protocol(bench: Benchmark, public: int) -> None:
    rows = [[row for name in ("easy", "hard") for row in entry[name]] for entry in bench.gnd]
    if not any(rows):
        return
    positives = tuple(np.array(row, np.int64) for row in map(sorted, rows))
    nothing = tuple(np.empty(0, np.int64) for _ in rows)
    groups = (Group("public", 0, slice(0, public)), Group("all", 0, slice(None)))
    protocol = Protocol("gldv2", (Setup("all", positives, nothing),), groups, cutoff=3)
    evaluation = RerankedEvaluation(protocol, bench.shortlist, bench.scores, 40)
    same(evaluate_grid(evaluation, GRID), evaluation)


def golden_evaluation() -> RerankedEvaluation:
    shortlist, scores = golden.revisited_scores()
    return RerankedEvaluation(revisited(TRUTH), shortlist, scores, shortlist.rows.shape[1])


def test_golden_figures_of_the_authors() -> None:
    evaluation = golden_evaluation()
    for entry in golden.figures("revisited")["rerank"]:
        grid = Grid((entry["lamb"],), (entry["temp"],), (entry["num_rerank"],))
        table = evaluate_grid(evaluation, grid)
        for setup in ("medium", "hard"):
            names = [f"{setup}_mAP", *(f"{setup}_mP@{k}" for k in (1, 5, 10))]
            found = [100 * float(table.figures[name][0, 0, 0]) for name in names]
            assert found == pytest.approx([entry[f"{setup}_mAP"], *entry[f"{setup}_mP"]], abs=6e-4)


def test_a_list_of_many_ks_is_no_different() -> None:
    evaluation = golden_evaluation()
    same(evaluate_grid(evaluation, Grid((0.3,), (0.5,), tuple(range(160)))), evaluation)


def test_the_best_row_is_that_of_the_sweep() -> None:
    shortlist, scores = golden.revisited_scores()
    lamb, temp, heads = (0.1, 0.3, 0.9), (0.1, 0.5), (10, 40)
    table = sweep(revisited(TRUTH), shortlist, scores, lamb, temp, heads, "hard_mAP")
    grid = evaluate_grid(golden_evaluation(), Grid(lamb, temp, heads))
    best = grid.best("hard_mAP")
    assert table.best.settings.items() >= {"lamb": best.lamb, "temp": best.temp}.items()
    assert list(grid.rows()) == [
        {name: value for name, value in row.items() if name != "num_rerank_used"} for row in table.rows()
    ]


def test_refinement_beats_every_setting_of_a_much_finer_grid() -> None:
    evaluation = golden_evaluation()
    lambs = tuple(np.linspace(0, 1, 101).tolist())
    temps, heads = tuple(np.geomspace(0.01, 10, 8).tolist()), (10, 40)
    coarse = evaluate_grid(evaluation, Grid(lambs, temps, heads))
    best = refine(evaluation, coarse, "medium_mAP")
    assert best.value == evaluation(best.ensemble).figures["medium_mAP"]
    assert best.low <= best.ensemble.lamb <= best.high
    finer = Grid(tuple(np.linspace(0, 1, 1001).tolist()), (best.ensemble.temp,), (best.ensemble.num_rerank,))
    assert best.value >= evaluate_grid(evaluation, finer).figures["medium_mAP"].max()
    assert best.value >= coarse.figures["medium_mAP"].max()


def test_refinement_keeps_what_is_not_free() -> None:
    evaluation = golden_evaluation()
    table = evaluate_grid(evaluation, Grid((0.2, 0.3, 0.4), (0.1, 0.5), (10, 40)))
    best = refine(evaluation, table, "medium_mAP", free_temp=False, free_head=False)
    assert best.ensemble.temp in (0.1, 0.5)
    assert best.ensemble.num_rerank in (10, 40)
    assert 0.2 <= best.low < best.ensemble.lamb < best.high <= 0.4
    lambs = tuple(np.linspace(0.2, 0.4, 2001).tolist())
    finer = Grid(lambs, (best.ensemble.temp,), (best.ensemble.num_rerank,))
    assert best.value >= evaluate_grid(evaluation, finer).figures["medium_mAP"].max()


def test_progress_ends_with_all_settings() -> None:
    seen: list[tuple[int, int]] = []
    evaluate_grid(golden_evaluation(), GRID, report=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(GRID), len(GRID)) == (120, 120)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize(
    ("lamb", "temp", "heads", "message"),
    [
        ((), (1.0,), (1,), "lamb=[]"),
        ((1.2,), (1.0,), (1,), "lamb=1.2"),
        ((1.0,), (math.nan,), (1,), "temp=nan"),
        ((1.0,), (1.0,), (5, 2), "num_rerank=[5, 2]"),
        ((1.0,), (1.0,), (2, 2), "num_rerank=[2, 2]"),
    ],
)
def test_values_out_of_range_are_refused(
    lamb: tuple[float, ...], temp: tuple[float, ...], heads: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Grid(lamb, temp, heads)
    assert message in caught.value.message


def test_a_deeper_head_than_there_are_scores_is_refused() -> None:
    evaluation = golden_evaluation()
    with pytest.raises(ConfigError, match="holds the first"):
        evaluate_grid(evaluation, Grid((0.5,), (0.5,), (10**6,)))

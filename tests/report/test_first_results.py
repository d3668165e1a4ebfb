"""The lists that a report shows are those that were measured: their AP by the textbook is the AP."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from ames_ray.evaluation.ensemble import Ensemble
from ames_ray.evaluation.protocol import Group, Protocol, Setup
from ames_ray.evaluation.scores import PairScores, Shortlist
from ames_ray.report.evaluation import Evaluation
from ames_ray.report.evaluation_sources import benchmark_of, rankings
from ames_ray.report.first_results import Ranked, Rankings
from tests.report.runs import SWEEP, make_input, run

ALL = 1_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first")
    make_input(folder)
    return folder


def area(found: list[Ranked], positives: int) -> float:
    """Area under precision over recall by the trapezoid rule, as Revisited Oxford measures it."""
    counted = [r.verdict == "positive" for r in found if r.verdict != "junk"]
    total = 0.0
    for place, good in enumerate(counted):
        if good:
            hits = sum(counted[:place])
            before = hits / place if place else 1.0
            total += (before + (hits + 1) / (place + 1)) / 2
    return total / positives if positives else math.nan


def test_the_lists_have_the_average_precision_of_the_result(folder: Path) -> None:
    result = run(folder, folder / "results", f"model={folder / 'model.safetensors'}", *SWEEP)
    evaluation = Evaluation.read(str(result))
    benchmark = benchmark_of(evaluation)
    protocol, found = benchmark.protocol, rankings(evaluation, benchmark)
    moved = False
    for setup in protocol.setups:
        before = evaluation.precisions(evaluation.before, setup.name)
        after = evaluation.precisions(evaluation.best, setup.name)
        for query in range(protocol.queries):
            lists = found.before(setup, query, ALL), found.after(setup, query, ALL)
            areas = [area(one, len(setup.positives[query])) for one in lists]
            assert areas == pytest.approx([before[query], after[query]], nan_ok=True)
            moved = moved or [r.row for r in lists[0]] != [r.row for r in lists[1]]
            assert found.after(setup, query, 3) == lists[1][:3]
    assert moved


def made(similarities: list[float], logits: list[float]) -> Rankings:
    """One query over images 0 to 4; image 1 is junk without a score, image 3 shows the same."""
    setup = Setup("all", (np.array([3]),), (np.array([1]),))
    protocol = Protocol("revisited", (setup,), (Group("all", 0, slice(None)),))
    rows = np.array([[4, 1, 2, 3, 0, -1]])
    scored = np.array([[4, 2, 3]])
    return Rankings(
        protocol,
        Shortlist(rows, np.array([[*similarities, -1]], np.float32)),
        PairScores(scored, np.array([logits], np.float32), "0" * 64, 1, 1),
        Ensemble(0.0, 1.0, 3),
    )


def test_junk_has_a_frame_and_no_rank_and_movement_counts_without_it() -> None:
    found = made([0.9, 0.8, 0.7, 0.6, 0.5], [0.0, -1.0, 2.0])
    setup = found.protocol.setups[0]
    assert found.before(setup, 0, 4) == [
        Ranked(4, "negative", 1, 1),
        Ranked(1, "junk", None, None),
        Ranked(2, "negative", 2, 2),
        Ranked(3, "positive", 3, 3),
    ]
    assert found.after(setup, 0, ALL) == [
        Ranked(3, "positive", 1, 3),
        Ranked(4, "negative", 2, 1),
        Ranked(2, "negative", 3, 2),
        Ranked(0, "negative", 4, 4),
    ]


def test_without_scores_both_lists_are_the_global_ranking() -> None:
    found = made([0.9, 0.8, 0.7, 0.6, 0.5], [0.0, 0.0, 0.0])
    plain = Rankings(found.protocol, found.shortlist)
    setup = found.protocol.setups[0]
    assert plain.after(setup, 0, ALL) == plain.before(setup, 0, ALL)
    assert [r.row for r in plain.before(setup, 0, ALL)] == [4, 1, 2, 3, 0]

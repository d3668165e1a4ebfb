"""The exact grid and the search on Ray Tune: time, and how far the best is from the exact optimum.

    OMP_NUM_THREADS=1 python -m benchmarks.tuning [trials]

70 queries over 4,993 images, K up to 1600, Medium and Hard with mP@1, 5, 10, as in `benchmarks.evaluation`.
Every figure of a sample of the grid must equal that of a single evaluation before anything is timed.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.config.compose import config_folder
from ames_ray.evaluation.ensemble import Ensemble
from ames_ray.evaluation.reranked import RerankedEvaluation
from ames_ray.evaluation.revisited import revisited
from ames_ray.tuning.exact import exact_answer, grid_of
from ames_ray.tuning.grid import Grid, evaluate_grid
from ames_ray.tuning.objective import Budget, Objective, Scored
from ames_ray.tuning.study import open_study
from ames_ray.tuning.sweep_file import parse_sweep
from benchmarks.evaluation import NUM_RERANK, SETUP_NAMES, random_benchmark
from benchmarks.record import save, spread

if TYPE_CHECKING:
    from ames_ray.tuning.space import Space

FIGURE = "medium_mAP"
BUDGET = Budget("network", 600, 600)
SEEDS, SIZES = range(5), (1, 10, 50)


def space_of(name: str) -> Space:
    """The space of one of the package's sweeps."""
    space = parse_sweep(name, (config_folder() / "sweeps" / f"{name}.yaml").read_bytes(), name).space
    for key, value in (("db_desc_num", 600), ("query_desc_num", 600), ("model", "network")):
        space = space.with_constant(key, [value])
    return space


def measure_grid(evaluation: RerankedEvaluation, repeats: int = 5) -> dict[str, Any]:
    """Seconds of the whole grid, after the compilation."""
    grid = grid_of(space_of("exact"))
    evaluate_grid(evaluation, Grid(grid.lamb[:2], grid.temp[:1], grid.num_rerank))
    table = evaluate_grid(evaluation, grid)
    rows = list(table.rows())
    for place in np.random.default_rng(0).choice(len(rows), 200, replace=False).tolist():
        row = rows[place]
        setting = Ensemble(row["lamb"], row["temp"], int(row["num_rerank"]))
        for name, value in evaluation(setting).figures.items():
            if row[name] != value:
                raise AssertionError(f"{name} at {setting}: {row[name]} and {value}")
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        evaluate_grid(evaluation, grid)
        seconds.append(time.perf_counter() - start)
    return {"settings": len(grid), "compared": 200, "seconds": spread(seconds)}


def measure_search(evaluation: RerankedEvaluation, trials: int) -> dict[str, Any]:
    """Wall time with Ray's start, and the distance to the exact optimum, for some sizes of a batch."""
    from ames_ray.distributed.tune import search

    space, scored = space_of("ensemble"), {BUDGET: Scored(evaluation, 1.0, 1.0)}
    text = (config_folder() / "sweeps" / "ensemble.yaml").read_bytes()
    points = parse_sweep("ensemble", text, "ensemble").points
    optimum = exact_answer(space, scored, FIGURE).optimum.value
    result: dict[str, Any] = {"trials": trials, "optimum": round(100 * optimum, 3)}
    for size in SIZES:
        seconds, gaps = [], []
        for seed in SEEDS if size == 10 else (0,):
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                path = Path(folder) / "study.journal"
                study = open_study(path, "t", space, {}, directions=["maximize"], points=points, seed=seed)
                search(study, Objective(scored), [FIGURE], trials, folder=folder, points_per_trial=size)
                seconds.append(time.perf_counter() - start)
                best = study.best()
                gaps.append(100 * (optimum - best.values[0]) if best else float("nan"))
        result[f"{size} points a Ray Tune trial"] = {
            "wall_seconds": spread(seconds, 1),
            "below_the_optimum_mAP": spread(gaps, 4),
        }
    return result


def main() -> None:
    """Measure, print and write."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    for easy, hard, junk in ((30, 25, 30), (100, 80, 50)):
        truth, shortlist, scores = random_benchmark(easy, hard, junk)
        evaluation = RerankedEvaluation(revisited(truth, SETUP_NAMES), shortlist, scores, NUM_RERANK)
        save("tuning", f"grid, {easy + hard} positives a query", measure_grid(evaluation))
    truth, shortlist, scores = random_benchmark(30, 25, 30)
    evaluation = RerankedEvaluation(revisited(truth, SETUP_NAMES), shortlist, scores, NUM_RERANK)
    save("tuning", "search, 55 positives a query", measure_search(evaluation, trials))


if __name__ == "__main__":
    main()

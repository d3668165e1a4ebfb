"""What a search costs besides its objective: points in batches, one by one, and without Ray Tune.

    OMP_NUM_THREADS=1 python -m benchmarks.tuning_overhead [points]

Each way answers the same number of points of `sweep=ensemble` for 70 queries over 4,993 images, with one
worker, and ends with a study in a file. Ray's start is part of each.
"""

from __future__ import annotations

import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import ray

from ames_ray.distributed.runtime import connected
from ames_ray.distributed.tune import search
from ames_ray.evaluation.reranked import RerankedEvaluation
from ames_ray.evaluation.revisited import revisited
from ames_ray.tuning.objective import Objective, Scored
from ames_ray.tuning.study import POINT, open_study
from benchmarks.evaluation import NUM_RERANK, SETUP_NAMES, random_benchmark
from benchmarks.record import save, spread
from benchmarks.tuning import BUDGET, FIGURE, space_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ames_ray.tuning.study import OpenStudy

BATCH = 20
REPEATS = 3


def by_ray_tune(study: OpenStudy, objective: Objective, points: int, folder: str, size: int) -> None:
    """`size` points a Ray Tune trial."""
    search(study, objective, [FIGURE], points, folder=folder, points_per_trial=size)


def by_tasks(study: OpenStudy, objective: Objective, points: int, folder: str) -> None:
    """Optuna's ask and tell, a Ray task for each point, one at work and one waiting."""
    del folder
    with connected(None, 2):
        held = ray.put(objective)
        answer = ray.remote(lambda objective, point: objective(point)[FIGURE])
        waiting = {}
        for asked in range(points + 1):
            if asked < points:
                trial = study.study.ask()
                point = study.space.suggest(trial)
                trial.set_user_attr(POINT, point)
                waiting[answer.remote(held, point)] = trial
            while len(waiting) > (1 if asked < points else 0):
                (ready,), _ = ray.wait(list(waiting))
                study.study.tell(waiting.pop(ready), ray.get(ready))


def measure(
    way: Callable[[OpenStudy, Objective, int, str], None], objective: Objective, points: int
) -> float:
    """Wall seconds of one search."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        study = open_study(
            Path(folder) / "study.journal", "t", space_of("ensemble"), {}, directions=["maximize"]
        )
        way(study, objective, points, folder)
        seconds = time.perf_counter() - began
        if len(study.answered()) != points:
            raise AssertionError(f"{len(study.answered())} points are answered, not {points}")
    return seconds


def main() -> None:
    """Measure, print and write."""
    points = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    truth, shortlist, scores = random_benchmark(30, 25, 30)
    evaluation = RerankedEvaluation(revisited(truth, SETUP_NAMES), shortlist, scores, NUM_RERANK)
    objective = Objective({BUDGET: Scored(evaluation, 1.0, 1.0)})
    ways: dict[str, tuple[Callable[[OpenStudy, Objective, int, str], None], int]] = {
        f"{BATCH} points a Ray Tune trial": (partial(by_ray_tune, size=BATCH), REPEATS),
        "one point a Ray Tune trial": (partial(by_ray_tune, size=1), 1),
        "Optuna's ask and tell over Ray tasks": (by_tasks, REPEATS),
    }
    seconds = {
        name: {"wall_seconds": spread([measure(way, objective, points) for _ in range(repeats)], 1)}
        for name, (way, repeats) in ways.items()
    }
    save("tuning", f"overhead of {points} points", seconds)


if __name__ == "__main__":
    main()

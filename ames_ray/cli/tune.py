"""The verb that searches for the best settings: tune."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from ames_ray.card import refuse_other
from ames_ray.cli.bar import Bar
from ames_ray.cli.tune_result import STUDY, Best, TuneTask, publish_result
from ames_ray.cli.tune_scores import Sources, as_scored, budgets_of, score_budgets, with_budgets
from ames_ray.config.tune_training import TuneTrainingConfig
from ames_ray.errors import RunError
from ames_ray.evaluation.ensemble import Ensemble
from ames_ray.files import Storage
from ames_ray.report.tuning_run import RESULT, TuningRun
from ames_ray.retrieval.benchmark import Benchmark
from ames_ray.retrieval.gallery import Gallery
from ames_ray.tuning.exact import exact_answer
from ames_ray.tuning.objective import Budget, Objective, check_any_figure
from ames_ray.tuning.study import OTHER, open_study

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from ames_ray.config.tune import TuneConfig
    from ames_ray.tuning.exact import Exact
    from ames_ray.tuning.study import OpenStudy


class TuneDisplay(Bar):
    """Shows how many points are answered."""

    def __init__(self, what: str, console: Console | None = None) -> None:
        super().__init__(console, TextColumn(what), BarColumn(), MofNCompleteColumn())
        self._task = self._bar.add_task(what)

    def __call__(self, done: int, total: int) -> None:
        """Show what is done."""
        self._bar.update(self._task, completed=done, total=total)


def tune(config: TuneConfig | TuneTrainingConfig) -> None:
    """Search, print the best, and write results, plots and a preset or a recipe."""
    if isinstance(config, TuneTrainingConfig):
        from ames_ray.cli.tune_training import tune_training

        tune_training(config)
        return
    config = as_scored(config)
    sweep = config.read_sweep()
    benchmark = Benchmark.read(config.ground_truth, config.protocol)
    figure = config.figure or sweep.figure or benchmark.figure
    check_any_figure(benchmark.protocol, figure)
    query, gallery = Gallery.open([config.query]), Gallery.open(config.gallery)
    benchmark.check(query, gallery)
    output = Storage.at(config.output)
    with output.own("ames-ray tune"):
        sources = Sources(config, output, benchmark, query, gallery)
        space = with_budgets(config, sweep.space)
        scored = score_budgets(sources, budgets_of(space), sweep.largest, costs=bool(sweep.minimise))
        task = TuneTask(config, sweep, space, benchmark, figure, scored, output.child(sweep.name))
        if sweep.search == "exact":
            _finish_exact(task)
        else:
            _search(task)


def _finish_exact(task: TuneTask) -> None:
    _refuse_other(task)
    exact = _exact(task)
    best = Best(exact.budget, exact.optimum.ensemble, exact.optimum.value)
    publish_result(task, best, exact, [], None)


def _exact(task: TuneTask) -> Exact:
    with TuneDisplay("settings") as display:
        return exact_answer(task.space, task.scored, task.figure, display)


def _search(task: TuneTask) -> None:
    from ames_ray.distributed.tune import search

    config, sweep = task.config, task.sweep
    path = task.folder.local
    if path is None:
        raise TypeError("the settings allow local folders alone")
    opened = _open(task, path)
    for note in opened.notes:
        print(note, file=sys.stderr)  # noqa: T201
    with TuneDisplay("trials") as display:
        search(
            opened,
            Objective(task.scored),
            (task.figure, *sweep.minimise),
            config.trials or sweep.trials,
            folder=str(path / "ray"),
            points_per_trial=config.points_per_trial,
            workers=config.workers or 1,
            address=config.address,
            report=display,
        )
    found = opened.best()
    if found is None:
        reasons = {str(row["reason"]) for row in opened.rows()}
        raise RunError(f"no trial has a finite {task.figure}: {'; '.join(sorted(reasons)[:3])}")
    point = found.user_attrs["point"]
    setting = Ensemble(float(point["lamb"]), float(point["temp"]), int(point["num_rerank"]))
    has_exact = not sweep.minimise and not any(p.when for p in task.space.parameters)
    exact = _exact(task) if has_exact else None
    publish_result(
        task, Best(Budget.of(point), setting, float(found.values[0])), exact, opened.rows(), opened
    )


def _open(task: TuneTask, path: Path) -> OpenStudy:
    return open_study(
        path / STUDY,
        task.sweep.name,
        task.space,
        task.asked,
        directions=["maximize", *("minimize" for _ in task.sweep.minimise)],
        points=task.sweep.points,
        seed=task.config.seed,
    )


def _refuse_other(task: TuneTask) -> None:
    """Refuse to replace the answer to another question; without a study nothing else would tell."""
    if task.folder.exists(RESULT):
        kept = TuningRun.read(task.folder.uri).document["card"]["settings"]
        refuse_other(kept, task.settings, f"{task.folder.address(RESULT)} holds a result", OTHER)

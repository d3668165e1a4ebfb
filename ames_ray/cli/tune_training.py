"""`ames-ray tune sweep=training`: a search of which every trial trains a network."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from ames_ray.card import make_card
from ames_ray.cli.bar import Bar
from ames_ray.cli.tables import facts
from ames_ray.cli.tune_page import publish_page
from ames_ray.cli.tune_result import STUDY, to_csv, trials_line
from ames_ray.config.train_parts import prepare
from ames_ray.errors import RunError
from ames_ray.files import Storage, to_json
from ames_ray.report.tuning_run import RECIPE_FILE, RESULT, TRIALS
from ames_ray.report.use_it import train_command
from ames_ray.retrieval.gallery import Gallery
from ames_ray.tuning.runs import EPOCH, best_rows
from ames_ray.tuning.study import RUN, open_study

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rich.console import Console

    from ames_ray.config.tune_training import TuneTrainingConfig
    from ames_ray.training.loop import TrainParts
    from ames_ray.tuning.space import Point
    from ames_ray.tuning.study import OpenStudy
    from ames_ray.tuning.training_sweep import TrainingSweep


class TrainingDisplay(Bar):
    """Shows how many runs are answered, and a line an epoch."""

    def __init__(self, figure: str, console: Console | None = None) -> None:
        super().__init__(console, TextColumn("runs"), BarColumn(), MofNCompleteColumn())
        self._task = self._bar.add_task("runs")
        self._figure = figure

    def trials(self, done: int, total: int) -> None:
        """Show what is done."""
        self._bar.update(self._task, completed=done, total=total)

    def epoch(self, trial: int, figures: Mapping[str, float]) -> None:
        """Show what an epoch reached; this line stays."""
        value = f"{self._figure} {100 * figures[self._figure]:.2f}"
        line = f"trial {trial}  epoch {figures[EPOCH]:.0f}  loss {figures['loss']:.4f}  {value}"
        self._console.print(line, highlight=False, soft_wrap=True)


def tune_training(config: TuneTrainingConfig) -> None:
    """Search, print the best, and write results, a plot and a recipe."""
    output = Storage.at(config.output)
    gallery = Gallery.open([config.store])
    with output.own("ames-ray tune"):
        sweep = _fitted(config, gallery)
        # The runs choose their best networks by it too.
        config = config.model_copy(update={"figure": config.figure or sweep.figure})
        first = config.job(sweep.points[0] if sweep.points else {}, config.output)
        # Whatever the job lacks stops it here, not in every trial.
        parts = prepare(first)
        if parts.validation is None:
            raise TypeError("the settings ask for validation")
        figure = parts.validation.figure
        folder = output.child(sweep.name)
        opened = _open(config, sweep, figure, parts, folder)
        _search(opened, config, sweep, figure, folder)
        _publish(opened, config, sweep, figure, folder, parts.validation.before())


def _fitted(config: TuneTrainingConfig, gallery: Gallery) -> TrainingSweep:
    """The sweep without counts of descriptors that the store does not have."""
    sweep = config.read_sweep()
    if config.own_point(sweep) is None:
        print("the job's own settings are not in the space, so they are not tried", file=sys.stderr)  # noqa: T201
    high = min(config.max_desc, gallery.topk)
    return sweep if "max_desc" in sweep.space else sweep.with_highest("min_desc", high - 1)


def _open(
    config: TuneTrainingConfig, sweep: TrainingSweep, figure: str, parts: TrainParts, folder: Storage
) -> OpenStudy:
    kept = {name: value for name, value in parts.settings.items() if name not in sweep.space}
    opened = open_study(
        _local(folder) / STUDY,
        sweep.name,
        sweep.space,
        {"figure": figure, "settings": kept},
        directions=["maximize"],
        points=sweep.points,
        seed=config.seed,
    )
    for note in opened.notes:
        print(note, file=sys.stderr)  # noqa: T201
    return opened


def _search(
    opened: OpenStudy, config: TuneTrainingConfig, sweep: TrainingSweep, figure: str, folder: Storage
) -> None:
    from ames_ray.distributed.tune_training import search_training

    with TrainingDisplay(figure) as display:
        search_training(
            opened,
            config,
            figure,
            config.trials or sweep.trials,
            folder,
            report=display.trials,
            epoch=display.epoch,
        )


def _publish(
    opened: OpenStudy,
    config: TuneTrainingConfig,
    sweep: TrainingSweep,
    figure: str,
    folder: Storage,
    before: Mapping[str, float],
) -> None:
    rows = opened.rows()
    ranked = best_rows(rows, figure)
    if not ranked:
        reasons = sorted({str(row["reason"]) for row in rows})
        raise RunError(f"no trial has a finite {figure}: {'; '.join(reasons[:3])}")
    best = ranked[0]
    point: Point = {parameter.name: best[parameter.name] for parameter in sweep.space.parameters}
    recipe = config.recipe_of(point)
    counts = opened.counts()
    settings = {"space": sweep.space.plain(), "figure": figure}
    document = {
        "card": make_card("tune", config.model_dump(), counts, settings),
        "figure": figure,
        "best": {**point, "value": best[figure], "epoch": best[EPOCH], "run": best[RUN]},
        "recipe": recipe,
        "global_ranking": before[figure],
        "counts": counts,
    }
    folder.publish(RESULT, to_json(document))
    folder.publish(RECIPE_FILE, _recipe_file(sweep.name, figure, best[figure], recipe))
    folder.publish(TRIALS, to_csv(rows))
    from ames_ray.report.figure import publish_figure
    from ames_ray.report.tuning import convergence

    # A stopped run has reached something, so its dot is drawn like the others.
    drawn = [row | {"state": "complete"} if row["state"] == "stopped" else row for row in rows]
    plots = publish_figure(convergence(drawn, figure, None), folder, "convergence")
    lines = {
        "best": f"{figure} {100 * best[figure]:.2f} % after epoch {best[EPOCH]} of {config.epochs}, "
        f"global ranking {100 * before[figure]:.2f} %",
        "with": ", ".join(f"{name} {_short(value)}" for name, value in point.items()),
        "runs": trials_line(counts),
        "network": folder.address(f"runs/{best[RUN]}/best.pt"),
        "written": f"{folder.uri}: {', '.join([RESULT, RECIPE_FILE, TRIALS, STUDY, *plots])}",
        "page": publish_page(folder),
    }
    facts(f"tune {sweep.name}", lines)
    # Not in the table, which would break the line.
    command = train_command(config.model_dump(), folder.address(RECIPE_FILE))
    print(f"\nuse it: {command}")  # noqa: T201


def _recipe_file(sweep: str, figure: str, value: float, recipe: Mapping[str, Any]) -> bytes:
    """In the form of the files in `configs/recipe`."""
    import yaml

    head = ["# @package _global_", f"# Tuned by `ames-ray tune sweep={sweep}`: {figure} {100 * value:.2f} %."]
    body = yaml.safe_dump({"recipe": sweep, **recipe}, sort_keys=False)
    return ("\n".join(head) + "\n" + body).encode()


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _local(folder: Storage) -> Path:
    if folder.local is None:
        raise TypeError("the settings allow local folders alone")
    return folder.local

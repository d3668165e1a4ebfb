"""The verb that trains AMES."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from ames_ray.cli.bar import Bar
from ames_ray.cli.device import local_device
from ames_ray.cli.display import duration
from ames_ray.cli.tables import facts
from ames_ray.config.address import names_cluster
from ames_ray.files import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from ames_ray.config.train import TrainConfig
    from ames_ray.training.loop import TrainReport
    from ames_ray.training.progress import TrainProgress


class TrainDisplay(Bar):
    """Shows a run in training; a `Watcher`.

    Args:
        console: Where to show it; stderr by default, so that results alone go to stdout.
    """

    def __init__(self, console: Console | None = None) -> None:
        words = TextColumn("{task.fields[words]}")
        super().__init__(console, TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), words)
        self._task = self._bar.add_task("starting", total=None, words="")

    def step(self, progress: TrainProgress) -> None:
        """Show where the run is; in a log, now and then."""
        name, words = f"epoch {progress.epoch}/{progress.epochs}", describe(progress)
        self._bar.update(
            self._task, description=name, completed=progress.done, total=progress.steps, words=words
        )
        self._log(f"{name}  step {progress.done:,}/{progress.steps:,}  {words}")

    def epoch(self, figures: Mapping[str, float]) -> None:
        """Show what an epoch reached; this line stays."""
        means = "  ".join(f"{n} {100 * v:.2f}" for n, v in figures.items() if "_mAP" in n)
        loss, accuracy = figures["loss"], 100 * figures["accuracy"]
        self._say(
            f"epoch {figures['epoch']:.0f}  loss {loss:.4f}  pairs right {accuracy:.1f} %  {means}".rstrip()
        )


def describe(progress: TrainProgress) -> str:
    """Loss, pair accuracy, rate, time left and how long the step waits for descriptors."""
    return "  ".join(
        (
            f"loss {progress.loss:.4f}",
            f"pairs right {100 * progress.accuracy:.1f} %",
            f"lr {progress.learning_rate:.1e}",
            f"{progress.triplets_per_s:.0f} triplets/s",
            f"waiting {100 * progress.waiting:.0f} %",
            f"ETA {duration(progress.seconds_left)}",
        )
    )


def train(config: TrainConfig) -> None:
    """Train, or go on with it, and print what was reached."""
    began = time.monotonic()
    with Storage.at(config.output).own("ames-ray train"), TrainDisplay() as display:
        report = _run(config, display)
    _show(report, time.monotonic() - began)


def _run(config: TrainConfig, display: TrainDisplay) -> TrainReport:
    """In this process, or by Ray where a cluster or more than one worker is asked for."""
    if config.workers > 1 or names_cluster(config.address):
        from ames_ray.distributed import train as distributed

        return distributed.run(config, display)
    import torch

    from ames_ray.config.train_parts import prepare
    from ames_ray.training.group import Group
    from ames_ray.training.loop import TrainLoop

    device = torch.device(local_device(config.device))
    # All that the job names is read first: a misspelt path must not cost the old run.
    return TrainLoop(prepare(config), Group.current(device), display, anew=config.overwrite).run()


def _show(report: TrainReport, seconds: float) -> None:
    rows = {
        "steps": f"{report.steps:,}, {report.computed:,} of them now",
        "loss": f"{report.loss:.4f} in the last epoch, {100 * report.accuracy:.1f} % of the pairs right",
    }
    for name, value in report.figures.items():
        rows[name] = f"{100 * value:.2f}, global ranking {100 * report.before[name]:.2f}"
    if report.best is not None:
        rows["best"] = f"{report.figure} {100 * report.best:.2f} after epoch {report.best_epoch}"
    if report.computed:
        rows["time"] = duration(seconds)
    which = "last and best" if report.best is not None else "last"
    facts("train", {**rows, "weights": f"{report.output}, {which} as .pt and .safetensors"})

"""Jobs on the made-up landmarks, and what they leave."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from ames_ray.config.compose import compose
from ames_ray.config.train import TrainConfig
from ames_ray.config.train_parts import prepare
from ames_ray.training.group import Group
from ames_ray.training.loop import TrainLoop, TrainReport
from ames_ray.training.progress import TrainProgress

ALONE = Group(0, 1, torch.device("cpu"))
CURVE = ("total", "epoch", "step", "loss", "bce", "token_mse", "accuracy", "learning_rate", "gradient_norm")
_SMALL = ("dim=16", "blocks=2", "feedforward=32", "initialisation=identity", "batch_size=10", "min_desc=4")


def words(here: Path, output: Path, *more: str) -> list[str]:
    """Settings of a run of 10 steps in two epochs, unless `more` tells otherwise."""
    stores = (f"store={here / 'train'}", f"nn_file={here / 'nn.parquet'}", f"output={output}")
    return [*stores, *_SMALL, "epochs=2", "checkpoint_every=2", "device=cpu", *more]


def validated(here: Path) -> tuple[str, ...]:
    """Settings for validation after each epoch."""
    return (
        f"val_query={here / 'query'}",
        f"val_gallery={here / 'gallery'}",
        f"val_ground_truth={here / 'gnd.json'}",
        "val_num_rerank=12",
        "figure=hard_mAP",
    )


def job(here: Path, output: Path, *more: str) -> TrainConfig:
    return compose(TrainConfig, words(here, output, *more))


class Killed(BaseException):
    """As sudden as a signal."""


class Watching:
    """Counts, and ends the run at a step as a kill would."""

    def __init__(self, last: int | None = None) -> None:
        self.last = last
        self.steps: list[TrainProgress] = []
        self.epochs: list[Mapping[str, float]] = []

    def step(self, progress: TrainProgress) -> None:
        self.steps.append(progress)
        if progress.done == self.last:
            raise Killed

    def epoch(self, figures: Mapping[str, float]) -> None:
        self.epochs.append(figures)


def run_here(config: TrainConfig, watching: Watching | None = None) -> TrainReport:
    """Train in this process."""
    return TrainLoop(prepare(config), ALONE, watching or Watching(), anew=config.overwrite).run()


@contextmanager
def one_thread() -> Iterator[None]:
    """As many threads as a worker of Ray has: sums of several threads are rounded otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def curve(output: Path) -> list[tuple[str, ...]]:
    """What the log says of every step, times aside."""
    with (output / "log.csv").open() as handle:
        return [tuple(row[name] for name in CURVE) for row in csv.DictReader(handle)]


def numbers(output: Path) -> list[list[float]]:
    return [[float(value) for value in row] for row in curve(output)]

"""Where a run stands, for whoever watches it."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ames_ray.training.plan import StepPlan
    from ames_ray.training.step import StepResult

_RECENT = 50


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """A run after one of its steps; means are over the last 50 steps.

    Attributes:
        epoch: From 1.
        epochs: Number of epochs.
        done: Steps done.
        steps: Steps of the whole run.
        loss: Mean loss.
        accuracy: Mean share of pairs on the right side of 0.
        learning_rate: Of the last step.
        triplets_per_s: On all workers together.
        waiting: Share of the time in which the step waited for descriptors, on the first worker.
        seconds_left: At this pace.
    """

    epoch: int
    epochs: int
    done: int
    steps: int
    loss: float
    accuracy: float
    learning_rate: float
    triplets_per_s: float
    waiting: float
    seconds_left: float


class Watcher(Protocol):
    """Whoever watches a run; every worker has one."""

    def step(self, progress: TrainProgress) -> None:
        """Called after each step."""

    def epoch(self, figures: Mapping[str, float]) -> None:
        """Called after each epoch, with its mean loss and what validation found."""


class Meter:
    """Means over the last steps.

    Args:
        epochs: Epochs of the run.
        steps: Steps of the run.
    """

    def __init__(self, epochs: int, steps: int) -> None:
        self._epochs, self._steps = epochs, steps
        self._recent: deque[tuple[StepResult, int, float, float]] = deque(maxlen=_RECENT)
        self._last = time.perf_counter()

    def pause(self) -> None:
        """Leave out the time since the last step: a validation, a checkpoint."""
        self._last = time.perf_counter()

    def add(self, plan: StepPlan, result: StepResult, waited: float, done: int) -> TrainProgress:
        """Count a step; `waited` seconds of it were spent on descriptors."""
        now = time.perf_counter()
        self._recent.append((result, plan.pairs // 2, now - self._last, waited))
        self._last = now
        results, triplets, seconds, waits = zip(*self._recent, strict=True)
        count, elapsed = len(results), max(sum(seconds), 1e-9)
        return TrainProgress(
            epoch=plan.epoch + 1,
            epochs=self._epochs,
            done=done,
            steps=self._steps,
            loss=sum(r.loss for r in results) / count,
            accuracy=sum(r.accuracy for r in results) / count,
            learning_rate=result.learning_rate,
            triplets_per_s=sum(triplets) / elapsed,
            waiting=min(1.0, sum(waits) / elapsed),
            seconds_left=elapsed / count * (self._steps - done),
        )

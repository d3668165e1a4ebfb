"""One small actor through which the workers of a training run talk to the driver."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ames_ray.distributed.runtime import START_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ray.actor import ActorHandle

    from ames_ray.errors import AmesError
    from ames_ray.training.loop import TrainReport
    from ames_ray.training.progress import TrainProgress


@dataclass(frozen=True, slots=True)
class TrainNews:
    """What happened since the driver last asked.

    Attributes:
        progress: Where the run is, or none.
        epochs: What each epoch reached.
        workers: How many began.
        quiet: Seconds since anything happened, or should have.
        error: What stopped a worker, and would stop it again; or none.
    """

    progress: TrainProgress | None
    epochs: list[Mapping[str, float]]
    workers: int
    quiet: float
    error: AmesError | None


@dataclass(slots=True)
class TrainBoard:
    """Made an actor by the driver.

    Attributes:
        progress: Where the run is, as the first worker last told.
        epochs: What each epoch reached, since the driver last asked.
        actors: The workers that began, since they were last dismissed.
        last: When anything happened, or when it should have.
        report: What the run reached, once it is at its end.
        error: What stopped a worker, and would stop it again.
        begun: Whether the run in the folder is this one.
    """

    progress: TrainProgress | None = None
    epochs: list[Mapping[str, float]] = field(default_factory=list)
    actors: list[ActorHandle] = field(default_factory=list)
    last: float = field(default_factory=time.monotonic)
    report: TrainReport | None = None
    error: AmesError | None = None
    begun: bool = False

    def enter(self, actor: ActorHandle) -> None:
        """A worker begins; the time it takes to start and to read its input is no silence."""
        self.actors.append(actor)
        self.last = time.monotonic() + START_SECONDS

    def dismiss(self) -> list[ActorHandle]:
        """The workers that began; they are to be ended. Others have their time to begin from here on."""
        actors, self.actors = self.actors, []
        self.last = time.monotonic()
        return actors

    def begin(self) -> None:
        """The run in the folder is this one, new or taken up again."""
        self.begun = True

    def is_begun(self) -> bool:
        """Whether it is, so that nothing is left to delete."""
        return self.begun

    def step(self, progress: TrainProgress) -> None:
        """The first worker did a step."""
        self.progress = progress
        self.last = time.monotonic()

    def epoch(self, figures: Mapping[str, float]) -> None:
        """The first worker is through an epoch."""
        self.epochs.append(figures)
        self.last = time.monotonic()

    def finish(self, report: TrainReport) -> None:
        """The run is at its end."""
        self.report = report

    def fail(self, error: AmesError) -> None:
        """A worker found what no restart will mend."""
        self.error = self.error or error

    def stopped(self) -> bool:
        """Whether there is no use in starting again."""
        return self.error is not None

    def news(self) -> TrainNews:
        """What happened since the last call."""
        epochs, self.epochs = self.epochs, []
        progress, self.progress = self.progress, None
        return TrainNews(progress, epochs, len(self.actors), time.monotonic() - self.last, self.error)

    def outcome(self) -> TrainReport | None:
        """What the run reached, or none."""
        return self.report

"""One small actor through which the workers of a training run talk to the driver."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ames_ray.errors import AmesError
    from ames_ray.training.loop import TrainReport
    from ames_ray.training.progress import TrainProgress


@dataclass(slots=True)
class TrainBoard:
    """Made an actor by the driver.

    Attributes:
        progress: Where the run is, as the first worker last told.
        epochs: What each epoch reached, since the driver last asked.
        report: What the run reached, once it is at its end.
        error: What stopped a worker, and would stop it again.
    """

    progress: TrainProgress | None = None
    epochs: list[Mapping[str, float]] = field(default_factory=list)
    report: TrainReport | None = None
    error: AmesError | None = None

    def step(self, progress: TrainProgress) -> None:
        """The first worker did a step."""
        self.progress = progress

    def epoch(self, figures: Mapping[str, float]) -> None:
        """The first worker is through an epoch."""
        self.epochs.append(figures)

    def finish(self, report: TrainReport) -> None:
        """The run is at its end."""
        self.report = report

    def fail(self, error: AmesError) -> None:
        """A worker found what no restart will mend."""
        self.error = self.error or error

    def stopped(self) -> AmesError | None:
        """Why there is no use in starting again, or none."""
        return self.error

    def news(self) -> tuple[TrainProgress | None, list[Mapping[str, float]]]:
        """What happened since the last call."""
        epochs, self.epochs = self.epochs, []
        progress, self.progress = self.progress, None
        return progress, epochs

    def outcome(self) -> tuple[TrainReport | None, AmesError | None]:
        """How the run ended."""
        return self.report, self.error

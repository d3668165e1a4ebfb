"""The loop: steps, checkpoints, validation; the same code for one process and for every worker of many."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ames_ray.card import make_card
from ames_ray.errors import RunError
from ames_ray.files import to_json
from ames_ray.model.checkpoints import save_ames
from ames_ray.training.checkpoint import Checkpoints, Position, require_same
from ames_ray.training.log import TrainLog
from ames_ray.training.output import (
    CARD,
    CHECKPOINTS,
    ENDINGS,
    NETWORK_RUN,
    NOT_FINITE,
    clear_run,
    require_same_card,
    require_shared,
)
from ames_ray.training.progress import Meter
from ames_ray.training.step import TrainStep, check_teacher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ames_ray.files import Storage
    from ames_ray.model.ames import Ames
    from ames_ray.training.batch import TripletBatch
    from ames_ray.training.group import Group
    from ames_ray.training.options import TrainOptions
    from ames_ray.training.plan import StepPlan, TripletSource
    from ames_ray.training.progress import TrainProgress, Watcher
    from ames_ray.training.step import StepResult
    from ames_ray.training.validate import Validation
    from ames_ray.types import IntArray


class BatchLoader(Protocol):
    """Reads descriptors ahead of the steps."""

    def prefetched(self, plans: Iterable[StepPlan]) -> Iterator[tuple[StepPlan, TripletBatch, float]]:
        """The batches of plans in order, each with the seconds that the caller had to wait for it."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainParts:
    """What a run is made of; every worker makes its own.

    Attributes:
        model: The network, with its first weights.
        source: Which triplets.
        loader: Their descriptors.
        options: Settings of step and loop.
        output: Folder of the run.
        names: Image ids of rows, for messages.
        settings: All that decides the weights; a run goes on only where they are equal.
        config: All settings, for the card.
        teacher: Trained network of a student, or none.
        validation: Evaluation after each epoch, or none.

    Raises:
        ConfigError: The teacher's tokens or descriptors have another width, or its backbone is another.
        StoreError: The network could not score the images of the validation.
    """

    model: Ames
    source: TripletSource
    loader: BatchLoader
    options: TrainOptions
    output: Storage
    names: Callable[[IntArray], list[str]]
    settings: Mapping[str, Any]
    config: Mapping[str, Any]
    teacher: Ames | None = None
    validation: Validation | None = None

    def __post_init__(self) -> None:
        if self.teacher is not None:
            check_teacher(self.teacher, self.model)
        if self.validation is not None:
            self.validation.require_fits(self.model)


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What a run reached.

    Attributes:
        output: Its folder.
        steps: Steps of the whole run.
        computed: Steps that this call did.
        loss: Mean loss of the last epoch.
        accuracy: Its mean share of pairs on the right side of 0.
        figures: What validation found after the last epoch.
        before: The same of the global ranking.
        figure: Name of the figure that the best network is chosen by, or none.
        best: Its best value, or none.
        best_epoch: The epoch with it, from 1; or none.
    """

    output: str
    steps: int
    computed: int
    loss: float
    accuracy: float
    figures: dict[str, float]
    before: dict[str, float]
    figure: str | None
    best: float | None
    best_epoch: int | None


class TrainLoop:
    """A run, new or resumed.

    Args:
        parts: What it is made of.
        group: The workers.
        watcher: Told of every step and epoch.
        anew: Delete the run in the folder first; the first worker does so, once all of them are there.

    Raises:
        ConfigError: The folder holds a run with other settings.
        RunError: The workers do not see the same folder.
    """

    def __init__(self, parts: TrainParts, group: Group, watcher: Watcher, *, anew: bool = False) -> None:
        self._parts, self._group, self._watcher = parts, group, watcher
        self._per_epoch = parts.source.steps_per_epoch
        self._steps = parts.options.epochs * self._per_epoch
        self._step = TrainStep(parts.model, parts.options, self._steps, group, parts.teacher)
        self._checkpoints = Checkpoints(parts.output.child(CHECKPOINTS))
        self._best: tuple[float, int] | None = None
        self._sums = (0.0, 0.0)
        self._last: dict[str, float] = {}
        require_shared(parts.output, group)
        if anew and group.rank == 0:
            clear_run(parts.output, NETWORK_RUN)
        self._position = self._restored()
        self._log = TrainLog(parts.output, self._position.total) if group.rank == 0 else None
        self._meter = Meter(parts.options.epochs, self._steps)

    def run(self) -> TrainReport:
        """Train to the end.

        Raises:
            RunError: The loss is not finite; the images of the batch are saved.
            StoreError: Descriptors cannot be read.
        """
        computed = self._steps - self._position.total
        try:
            self._meter.pause()
            for plan, batch, waited in self._parts.loader.prefetched(self._plans()):
                self._after_step(plan, self._step(plan, batch), waited)
        finally:
            if self._log is not None:
                self._log.close()
        return self._finish(computed)

    def _plans(self) -> Iterator[StepPlan]:
        """This worker's share of what is left."""
        teacher_desc_num = self._parts.options.teacher_desc_num if self._parts.teacher else None
        for total in range(self._position.total, self._steps):
            plan = self._parts.source.plan(*divmod(total, self._per_epoch))
            share = plan.share(self._group.rank, self._group.world)
            yield share.reading(teacher_desc_num) if teacher_desc_num else share

    def _after_step(self, plan: StepPlan, result: StepResult, waited: float) -> None:
        if not result.finite:
            raise self._not_finite(plan, result)
        total = self._position.total + 1
        self._sums = (self._sums[0] + result.loss, self._sums[1] + result.accuracy)
        progress = self._meter.add(plan, result, waited, total)
        if self._log is not None:
            self._log.step(total, _line(plan, result, progress))
        self._watcher.step(progress)
        self._position = Position(*divmod(total, self._per_epoch), total)
        if self._position.step == 0:
            self._after_epoch(plan.epoch + 1)
        elif total % self._parts.options.checkpoint_every == 0:
            self._save()
            self._meter.pause()

    def _after_epoch(self, epoch: int) -> None:
        loss, accuracy = (value / self._per_epoch for value in self._sums)
        self._sums = (0.0, 0.0)
        validation = self._parts.validation
        figures = validation(self._parts.model, self._group) if validation else {}
        self._last = {"loss": loss, "accuracy": accuracy, **figures}
        if self._log is not None:
            self._log.epoch(self._position.total, {"epoch": epoch, **self._last})
        self._export("last")
        if validation and (self._best is None or figures[validation.figure] > self._best[0]):
            self._best = figures[validation.figure], epoch
            self._export("best")
        self._save()
        self._watcher.epoch({"epoch": epoch, **self._last})
        self._meter.pause()

    def _save(self) -> None:
        """Publish log and checkpoint, in this order: a log may be ahead of its checkpoint, not behind it."""
        if self._log is None:
            return
        self._log.publish()
        state = {"best": self._best, "sums": self._sums, "last": self._last}
        state |= {"settings": dict(self._parts.settings)}
        self._checkpoints.save(self._position, self._step.state() | state)

    def _restored(self) -> Position:
        name = self._group.from_first(self._checkpoints.latest() if self._group.rank == 0 else None)
        if name is None:
            require_same_card(self._parts.output, self._parts.settings)
            return Position()
        position, state = self._checkpoints.load(name)
        require_same(state["settings"], self._parts.settings, self._parts.output.uri)
        self._step.restore(state)
        self._best, self._sums, self._last = state["best"], state["sums"], state["last"]
        return position

    def _export(self, name: str) -> None:
        """Write the weights as the published files are laid out, and as safetensors."""
        if self._group.rank:
            return
        with tempfile.TemporaryDirectory(prefix="ames-ray-") as folder:
            for ending in ENDINGS:
                path = Path(folder) / f"{name}{ending}"
                save_ames(self._parts.model, path)
                self._parts.output.publish(path.name, path.read_bytes())

    def _not_finite(self, plan: StepPlan, result: StepResult) -> RunError:
        whole = self._parts.source.plan(plan.epoch, plan.step)
        place = {"epoch": plan.epoch + 1, "step": plan.step, "loss": str(result.loss)}
        if self._group.rank == 0:
            ids = [self._parts.names(triplet) for triplet in whole.triplets]
            self._parts.output.publish(NOT_FINITE, to_json({**place, "triplets": ids}))
        # All workers are here: the first one to tell of it ends the others, of which one writes the file.
        self._group.wait()
        return RunError(
            f"epoch {plan.epoch + 1}, step {plan.step}: the loss is {result.loss}, the gradient's norm "
            f"{result.gradient_norm}; the images of the batch are in "
            f"{self._parts.output.address(NOT_FINITE)}",
            "`ames-ray store verify` finds broken descriptors; else lower lr=, or set clip_norm=1",
        )

    def _finish(self, computed: int) -> TrainReport:
        validation = self._parts.validation
        report = TrainReport(
            output=self._parts.output.uri,
            steps=self._steps,
            computed=computed,
            loss=self._last.get("loss", 0.0),
            accuracy=self._last.get("accuracy", 0.0),
            figures={name: value for name, value in self._last.items() if "_mAP" in name},
            before=validation.before() if validation else {},
            figure=validation.figure if validation else None,
            best=self._best[0] if self._best else None,
            best_epoch=self._best[1] if self._best else None,
        )
        if self._group.rank == 0:
            if not all(self._parts.output.exists(f"last{ending}") for ending in ENDINGS):
                self._export("last")
            result = {name: value for name, value in asdict(report).items() if name != "computed"}
            card = make_card("train", self._parts.config, result, self._parts.settings)
            self._parts.output.publish(CARD, to_json(card))
        return report


def _line(plan: StepPlan, result: StepResult, progress: TrainProgress) -> dict[str, float]:
    values = {name: float(value) for name, value in asdict(result).items() if name != "finite"}
    rates = {"triplets_per_s": progress.triplets_per_s, "waiting": progress.waiting}
    return {"epoch": plan.epoch + 1, "step": plan.step, **values, **rates}

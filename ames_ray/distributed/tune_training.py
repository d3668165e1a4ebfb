"""Ray Tune over runs of training: a trial is the plain loop in its process, and ASHA stops the bad ones.

A trial reports every epoch. Its run folder has the checkpoints that it goes on from, after the death of its
worker and in a later call alike, so Ray Tune holds none.
"""

from __future__ import annotations

import math
import time
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from ames_ray.config.train_parts import make_parts
from ames_ray.distributed.cluster import require_shared
from ames_ray.distributed.runtime import connected, size_pool
from ames_ray.distributed.tune_search import FAILED, LOST, StudySearch, run_search
from ames_ray.errors import AmesError, StoreError
from ames_ray.extraction.device import choose_device
from ames_ray.files import Storage
from ames_ray.training.group import Group
from ames_ray.training.log import read_epochs
from ames_ray.training.loop import TrainLoop
from ames_ray.training.output import clear_checkpoints, clear_weights
from ames_ray.tuning.runs import EPOCH, Curve, beyond, copy_answer, run_name
from ames_ray.tuning.study import KNOWN, POINT, RUN, point_key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    import optuna

    from ames_ray.config.tune_training import TuneTrainingConfig
    from ames_ray.training.progress import TrainProgress
    from ames_ray.tuning.study import OpenStudy

RUNS = "runs"
_OWNED_SECONDS = 120.0
"""How long a run folder's last owner may take to end after its command was killed."""


def search_training(
    opened: OpenStudy,
    config: TuneTrainingConfig,
    figure: str,
    trials: int,
    folder: Storage,
    *,
    report: Callable[[int, int], None] = lambda *_: None,
    epoch: Callable[[int, Mapping[str, float]], None] = lambda *_: None,
) -> None:
    """Go on with a study until it has so many answered trials.

    Args:
        opened: The study; this process owns it.
        config: The job, and how it is searched; its `output` has the first ranking.
        figure: The figure of validation to raise.
        trials: Answered trials of the study in all.
        folder: Local folder of the sweep, for the runs and the results of Ray Tune.
        report: Told how many trials are answered, of how many.
        epoch: Told what an epoch of a trial reached.

    Raises:
        ResourceError: The cluster cannot be reached, the workers do not fit, or its nodes do not share the
            folder.
        KeyboardInterrupt: It was interrupted.
    """
    runs = folder.child(RUNS)
    missing = trials - len(opened.answered())
    if missing > 0:
        searcher = Runs(opened, config, figure, missing, runs, report=lambda n: report(trials - n, trials))
        searcher.epoch = epoch
        with connected(config.address, math.ceil(config.workers * config.cpus_per_worker)):
            pool = size_pool(
                config.workers,
                config.cpus_per_worker,
                config.gpus_per_worker,
                wants_gpu=config.device != "cpu",
            )
            require_shared(runs.uri)
            trainable = tune.with_parameters(_train, job=config, figure=figure, runs=runs.uri)
            run_search(
                tune.with_resources(trainable, {"cpu": pool.cpus, "gpu": pool.gpus}),
                searcher,
                missing,
                folder=folder.child("ray").uri,
                workers=config.workers,
                scheduler=early_stopping(opened, config, figure),
                max_failures=config.max_failures,
            )
    tidy(opened, runs, figure, config.keep_best)
    report(len(opened.answered()), trials)


def early_stopping(opened: OpenStudy, config: TuneTrainingConfig, figure: str) -> ASHAScheduler:
    """ASHA that knows the trials of earlier calls."""
    scheduler = ASHAScheduler(
        time_attr=EPOCH,
        metric=figure,
        mode="max",
        max_t=config.epochs,
        grace_period=min(config.grace_period, config.epochs),
        reduction_factor=config.reduction_factor,
        stop_last_trials=False,
    )
    for answered in opened.answered():
        if answered.user_attrs.get(KNOWN):
            continue
        earlier = SimpleNamespace(trial_id=f"earlier-{answered.number}")
        scheduler.on_trial_add(None, earlier)
        for epoch, value in sorted(answered.intermediate_values.items()):
            scheduler.on_trial_result(None, earlier, {EPOCH: epoch, figure: value})
    return scheduler


def tidy(
    opened: OpenStudy, runs: Storage, figure: str, keep: int | None, under_way: Collection[str] = ()
) -> None:
    """Delete the checkpoints of all runs that have ended, and the networks of all but the `keep` best.

    Args:
        opened: The study.
        runs: Folder of the runs.
        figure: What is best by it.
        keep: Runs whose networks stay; none for all.
        under_way: Folders of runs that are left alone: a point that failed may have been asked for again.
    """
    rows = [row for row in opened.rows() if row.get(RUN) not in under_way]
    for row in rows:
        if RUN in row:
            clear_checkpoints(runs.child(row[RUN]))
    for name in beyond(rows, figure, keep):
        clear_weights(runs.child(name))


class Runs(StudySearch):
    """Asks for one point at a time; a known point is told at once, one that is under way when its twin ends.

    Args:
        opened: The study.
        config: The job.
        figure: The study's objective.
        missing: Trials to answer.
        runs: Folder of the runs.
        report: Told how many trials are missing yet.

    Attributes:
        epoch: Told the number of a trial and what an epoch of it reached.
    """

    def __init__(
        self,
        opened: OpenStudy,
        config: TuneTrainingConfig,
        figure: str,
        missing: int,
        runs: Storage,
        *,
        report: Callable[[int], None] = lambda _: None,
    ) -> None:
        super().__init__(opened, [figure], missing, report)
        self._config, self._figure, self._runs = config, figure, runs
        self._open: dict[str, tuple[optuna.Trial, str, Curve]] = {}
        self._twins: dict[str, list[optuna.Trial]] = {}
        self.epoch: Callable[[int, Mapping[str, float]], None] = lambda *_: None

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """The next point that is neither known nor under way."""
        known = self._opened.known()
        while self._to_ask:
            self._to_ask -= 1
            trial = self._opened.study.ask()
            point = self._opened.space.suggest(trial)
            trial.set_user_attr(POINT, point)
            key = point_key(point)
            if key in known:
                copy_answer(self._opened.study, trial, known[key])
                self._answered()
            elif key in self._twins:
                self._twins[key].append(trial)
            else:
                self._twins[key] = []
                self._open[trial_id] = trial, key, Curve(self._figure, self._config.epochs)
                return {"point": point}
        finished: str = self.FINISHED
        return finished

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Take up an epoch."""
        if trial_id not in self._open or result.get(FAILED):
            return
        trial, _, curve = self._open[trial_id]
        named = [name for name in result if name in ("loss", "accuracy") or "_mAP" in name]
        figures = {name: float(result[name]) for name in named}
        if curve.add(int(result[EPOCH]), figures, trial):
            self.epoch(trial.number, {EPOCH: result[EPOCH], **figures})

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Close a trial: it is complete, ASHA has stopped it, or it failed."""
        if trial_id not in self._open:
            return
        if result:
            self.on_trial_result(trial_id, result)
        trial, key, curve = self._open.pop(trial_id)
        reason = (result or {}).get(FAILED) or (LOST if error or not curve.reached else "")
        run = run_name(trial.user_attrs[POINT])
        curve.tell(self._opened.study, trial, run, reason)
        self._answered()
        for twin in self._twins.pop(key):
            curve.tell(self._opened.study, twin, run, reason)
            self._answered()
        under_way = {run_name(trial.user_attrs[POINT]) for trial, _, _ in self._open.values()}
        tidy(self._opened, self._runs, self._figure, self._config.keep_best, under_way)


def _train(config: Mapping[str, Any], job: TuneTrainingConfig, figure: str, runs: str) -> None:
    """One Ray Tune trial: a run of training from its last checkpoint on, a result for each epoch."""
    output = Storage.at(runs).child(run_name(config["point"]))
    epochs = _Epochs(job.epochs)
    try:
        run = job.job(config["point"], output.uri)
        with _owned(output):
            parts = make_parts(run, rankings=Storage.at(job.output))
            device = torch.device(choose_device(run.device, ray.get_gpu_ids()))
            loop = TrainLoop(parts, Group.current(device), epochs)
            for figures in read_epochs(output):
                epochs.epoch(figures)
            loop.run()
        epochs.finish()
    except Exception as error:  # noqa: BLE001 - whatever a point does, the search goes on
        reason = error.message if isinstance(error, AmesError) else f"{type(error).__name__}: {error}"
        tune.report({figure: math.nan, EPOCH: epochs.told, FAILED: reason})


class _Epochs:
    """A `Watcher` inside a trial: tells each epoch once.

    Args:
        epochs: Epochs of the run. The last one is told when the run is at its end, for a trial may be stopped
            while it tells.
    """

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._last: dict[str, Any] = {}
        self.told = 0

    def step(self, progress: TrainProgress) -> None:
        """Nothing: Ray Tune is told of epochs."""

    def epoch(self, figures: Mapping[str, float]) -> None:
        """Tell what an epoch reached, if that is news."""
        epoch = int(figures[EPOCH])
        if epoch <= self.told:
            return
        self.told = epoch
        self._last = {**figures, EPOCH: epoch, FAILED: ""}
        if epoch < self._epochs:
            tune.report(self._last)

    def finish(self) -> None:
        """Tell of the last epoch."""
        tune.report(self._last)


@contextmanager
def _owned(output: Storage) -> Iterator[None]:
    """Own the folder of a run, as soon as the worker of a killed command has ended."""
    deadline = time.monotonic() + _OWNED_SECONDS
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(output.own("ames-ray tune"))
                break
            except StoreError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
        yield

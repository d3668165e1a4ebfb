"""Ray Tune with `OptunaSearch`, a batch of points a trial: a trial costs a second, a point a millisecond."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ray import tune

from ames_ray.distributed.runtime import connected, size_pool
from ames_ray.distributed.tune_search import FAILED, LOST, StudySearch, is_rays, run_search
from ames_ray.tuning.study import FIGURES, KNOWN, POINT, REASON, point_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import optuna

    from ames_ray.tuning.space import Point, Value
    from ames_ray.tuning.study import OpenStudy

Answer = dict[str, float | str]
_NUMBER = "number"
_DEATHS = 2
"""Deaths of its worker that a batch survives; what it has answered by then is not told again."""


def search(
    opened: OpenStudy,
    objective: Callable[[Mapping[str, Value]], Mapping[str, float]],
    names: Sequence[str],
    trials: int,
    *,
    folder: str,
    points_per_trial: int = 20,
    workers: int = 1,
    address: str | None = None,
    report: Callable[[int, int], None] = lambda *_: None,
) -> tune.ResultGrid | None:
    """Go on with a study until it has so many answered trials.

    Args:
        opened: The study; this process owns it.
        objective: Answers a point with all its figures. It is sent to the workers once.
        names: Names of the study's objectives among them.
        trials: Answered trials of the study in all.
        folder: Local folder for the results of Ray Tune: one line a point as CSV, JSON and TensorBoard.
        points_per_trial: Points that a Ray Tune trial takes.
        workers: Ray Tune trials at work at once.
        address: Address of a cluster; none for RAY_ADDRESS, else a new local Ray.
        report: Told how many trials are answered, of how many.

    Returns:
        Ray Tune's results of this call, or none where nothing was left to do.

    Raises:
        ResourceError: The cluster cannot be reached, or the workers do not fit.
    """
    missing = trials - len(opened.answered())
    if missing <= 0:
        return None
    batches = Batches(opened, names, missing, points_per_trial, report=lambda n: report(trials - n, trials))
    with connected(address, workers + 1):
        size_pool(workers, 1, 0, wants_gpu=False)
        trainable = tune.with_parameters(_answer_batch, objective=objective, names=tuple(names))
        results = run_search(
            tune.with_resources(trainable, {"cpu": 1}),
            batches,
            math.ceil(missing / points_per_trial),
            folder=folder,
            workers=workers,
            max_failures=_DEATHS,
        )
    report(len(opened.answered()), trials)
    return results


class Batches(StudySearch):
    """Asks for several points at a time and tells each as soon as its answer is there.

    Args:
        opened: The study.
        names: Names of its objectives among the figures of an answer.
        missing: Trials to answer.
        size: Points that go to a worker together.
        report: Told how many trials are missing yet.
    """

    def __init__(
        self,
        opened: OpenStudy,
        names: Sequence[str],
        missing: int,
        size: int,
        *,
        report: Callable[[int], None] = lambda _: None,
    ) -> None:
        super().__init__(opened, names, missing, report)
        self._size = size
        self._known = {key: dict(trial.user_attrs[FIGURES]) for key, trial in opened.known().items()}
        self._open: dict[str, dict[int, tuple[optuna.Trial, Point]]] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """The next batch; points with a known answer are told at once and not part of it."""
        asked: dict[int, tuple[optuna.Trial, Point]] = {}
        while self._to_ask and len(asked) < self._size:
            self._to_ask -= 1
            trial = self._opened.study.ask()
            point = self._opened.space.suggest(trial)
            trial.set_user_attr(POINT, point)
            known = self._known.get(point_key(point))
            if known is None:
                asked[trial.number] = (trial, point)
            else:
                trial.set_user_attr(KNOWN, True)
                self._tell(trial, point, known)
        if not asked:
            finished: str = self.FINISHED
            return finished
        self._open[trial_id] = asked
        return {"points": {str(number): point for number, (_, point) in asked.items()}}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tell the study the answer to one point."""
        asked = self._open.get(trial_id, {}).pop(int(result.get(_NUMBER, -1)), None)
        if asked is not None:
            self._tell(*asked, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Close the points of a batch that got no answer."""
        del error
        if result:
            self.on_trial_result(trial_id, result)
        for trial, point in self._open.pop(trial_id, {}).values():
            self._tell(trial, point, {FAILED: LOST})

    def _tell(self, trial: optuna.Trial, point: Point, answer: Mapping[str, Any]) -> None:
        from optuna.trial import TrialState

        figures = {
            name: float(value)
            for name, value in answer.items()
            if isinstance(value, float) and name not in point and not is_rays(name)
        }
        values = [figures.get(name, math.nan) for name in self._names]
        reason = answer.get(FAILED) or _not_finite(self._names, values)
        if reason:
            trial.set_user_attr(REASON, reason)
            self._opened.study.tell(trial, state=TrialState.FAIL)
        else:
            trial.set_user_attr(FIGURES, figures)
            self._known[point_key(point)] = figures
            self._opened.study.tell(trial, values)
        self._answered()


def _answer_batch(
    config: Mapping[str, Any],
    objective: Callable[[Mapping[str, Value]], Mapping[str, float]],
    names: Sequence[str],
) -> None:
    """One Ray Tune trial: a result for each point."""
    for number, point in config["points"].items():
        answer: Answer = {_NUMBER: int(number), FAILED: "", **point}
        try:
            answer |= {name: float(value) for name, value in objective(point).items()}
        except Exception as error:  # noqa: BLE001 - whatever a point does, the search goes on
            answer |= dict.fromkeys(names, math.nan)
            answer[FAILED] = f"{type(error).__name__}: {error}"
        tune.report(answer)


def _not_finite(names: Sequence[str], values: Sequence[float]) -> str:
    bad = [
        f"{name} is {value}" for name, value in zip(names, values, strict=True) if not math.isfinite(value)
    ]
    return ", ".join(bad)

"""What all searches on Ray Tune share: a study that is the only memory, a new folder each call, quiet output.

Ray Tune's own snapshots are older than the study after a kill, so a search is never restored from them: it is
begun again on the study.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune.result import AUTO_RESULT_KEYS
from ray.tune.search.optuna import OptunaSearch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ray.tune.schedulers import TrialScheduler

    from ames_ray.tuning.study import OpenStudy

FAILED = "failed"
"""Name of the reason in a result; empty where all went well."""
LOST = "its worker ended without an answer"


class StudySearch(OptunaSearch):  # type: ignore[misc]  # ray has no types
    """`OptunaSearch` on a study that is open already.

    Args:
        opened: The study.
        names: Names of its objectives among the figures of an answer.
        missing: Trials to answer.
        report: Told how many trials are missing yet.

    Attributes:
        missing: Trials that have no answer yet.
    """

    def __init__(
        self,
        opened: OpenStudy,
        names: Sequence[str],
        missing: int,
        report: Callable[[int], None] = lambda _: None,
    ) -> None:
        modes = ["max" if direction == "maximize" else "min" for direction in opened.directions]
        one = len(names) == 1
        super().__init__(metric=names[0] if one else list(names), mode=modes[0] if one else modes)
        self._opened = opened
        self._names = tuple(names)
        self._to_ask, self.missing = missing, missing
        self._report = report

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray Tune's snapshots of a search are not gone on with, see the module."""
        return {}

    def set_search_properties(self, metric: Any, mode: Any, config: Any, **spec: Any) -> bool:
        """Refuse other properties: the study has its own."""
        del metric, mode, config, spec
        return True

    def save(self, checkpoint_path: str) -> None:
        """Write a mark alone: the study is in its own file."""
        Path(checkpoint_path).write_text(self._opened.study.study_name)

    def restore(self, checkpoint_path: str) -> None:
        """Refuse: see the module."""
        raise NotImplementedError(f"{checkpoint_path} is no study; run the same command again")

    def _answered(self) -> None:
        """A trial has been told."""
        self.missing -= 1
        self._report(self.missing)


def run_search(
    trainable: Any,
    searcher: StudySearch,
    samples: int,
    *,
    folder: str,
    workers: int,
    scheduler: TrialScheduler | None = None,
    max_failures: int = 0,
) -> tune.ResultGrid:
    """Run Ray Tune until the searcher has no more to ask.

    Args:
        trainable: What a trial does, with its resources.
        searcher: What to try.
        samples: Ray Tune trials at most.
        folder: Local folder for the results of Ray Tune.
        workers: Ray Tune trials at work at once.
        scheduler: Stops trials; none lets all run to their end.
        max_failures: Deaths of a trial's worker that are borne.

    Raises:
        KeyboardInterrupt: It was interrupted; Ray Tune itself would return what there is.
    """
    with _quiet():
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=samples,
                max_concurrent_trials=workers,
                reuse_actors=True,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name=_next_name(Path(folder)),
                storage_path=folder,
                failure_config=tune.FailureConfig(max_failures=max_failures),
                verbose=0,
            ),
        )
        results = tuner.fit()
    if searcher.missing > 0:
        raise KeyboardInterrupt
    return results


def is_rays(name: str) -> bool:
    """Whether Ray Tune has put a number into the answer: times, and the whole configuration."""
    return name in AUTO_RESULT_KEYS or "/" in name or name.startswith("time_")


def _name(trial: Any) -> str:
    """Short: Ray's own name holds every value of the first point."""
    return f"trial-{trial.trial_id}"


def _next_name(folder: Path) -> str:
    """A new folder each call: a call never writes into the results of an earlier one."""
    made = [path.name for path in folder.glob("run-*")] if folder.is_dir() else []
    numbers = [int(name.removeprefix("run-")) for name in made if name.removeprefix("run-").isdigit()]
    return f"run-{max(numbers, default=0) + 1:03d}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Ray Tune prints at every verbosity off stdout, where results go."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield

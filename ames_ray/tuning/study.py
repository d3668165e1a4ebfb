"""A study that survives kills: what is known is not asked again, what was cut off is closed."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ames_ray.card import refuse_other
from ames_ray.tuning.journal import open_journal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import optuna

    from ames_ray.tuning.space import Point, Space

POINT, FIGURES, REASON, KNOWN, RUN = "point", "figures", "reason", "known", "run"
"""Attributes of a trial: all values, all figures, why it failed, whether the answer was known already, where
its run lies."""
_RECIPE = "recipe"
_STATES = {"COMPLETE": "complete", "PRUNED": "stopped", "FAIL": "failed"}
OTHER = "go on with the old settings, or pass another output="
"""What to do where a folder holds something of other settings."""


@dataclass(frozen=True, slots=True, eq=False)
class OpenStudy:
    """A study with its owner's view of it.

    Attributes:
        study: Optuna's study.
        space: Its parameters.
        directions: "maximize" or "minimize" of each objective; the figure comes first.
        notes: Sentences about what was mended.
    """

    study: optuna.Study
    space: Space
    directions: tuple[str, ...]
    notes: tuple[str, ...]

    def answered(self) -> list[optuna.trial.FrozenTrial]:
        """Trials that need no further work: complete or stopped ones, and those that failed for a reason."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if _is_answered(trial)]

    def known(self) -> dict[str, optuna.trial.FrozenTrial]:
        """The first complete or stopped trial of each point, as `point_key` writes it."""
        found: dict[str, optuna.trial.FrozenTrial] = {}
        for trial in self.answered():
            if FIGURES in trial.user_attrs:
                found.setdefault(point_key(trial.user_attrs[POINT]), trial)
        return found

    def counts(self) -> dict[str, int]:
        """Trials in all, and how many were known already, stopped early, failed, or cut off by a kill."""
        trials = self.study.get_trials(deepcopy=False)
        failed = [trial for trial in trials if trial.state.name == "FAIL"]
        stale = sum(REASON not in trial.user_attrs for trial in failed)
        return {
            "answered": len(self.answered()),
            "known": sum(bool(trial.user_attrs.get(KNOWN)) for trial in trials),
            "stopped": sum(trial.state.name == "PRUNED" for trial in trials),
            "failed": len(failed) - stale,
            "cut_off": stale,
        }

    def rows(self) -> list[dict[str, Any]]:
        """One line an answered trial: number, state, reason, values, figures, and its folder, if any."""
        return [
            {
                "trial": trial.number,
                "state": _STATES[trial.state.name],
                "known": bool(trial.user_attrs.get(KNOWN)),
                "reason": trial.user_attrs.get(REASON, ""),
                **trial.user_attrs[POINT],
                **trial.user_attrs.get(FIGURES, {}),
                **{name: value for name, value in trial.user_attrs.items() if name == RUN},
            }
            for trial in self.answered()
        ]

    def best(self) -> optuna.trial.FrozenTrial | None:
        """The trial with the highest figure, the first one of equals; none where no trial is finite."""
        finite = [
            trial for trial in self.answered() if _is_complete(trial) and math.isfinite(trial.values[0])
        ]
        return max(finite, key=lambda trial: trial.values[0], default=None)


def open_study(
    path: Path,
    name: str,
    space: Space,
    recipe: Mapping[str, Any],
    *,
    directions: Sequence[str],
    points: Sequence[Point] = (),
    seed: int = 0,
) -> OpenStudy:
    """Make a study, or go on with the one in the file.

    Args:
        path: The journal; the caller owns its folder.
        name: Of the study.
        space: Its parameters.
        recipe: All that decides the answers, as JSON holds it. Another one is refused.
        directions: "maximize" or "minimize" of each objective.
        points: Tried first; those that have an answer are not tried again. So are those that were cut off.
        seed: With the number of stored trials it decides the points that the sampler chooses.

    Raises:
        ConfigError: The file holds a study with another recipe; the message lists what differs.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage, note = open_journal(path)
    if name in optuna.get_all_study_names(storage):
        study = optuna.load_study(study_name=name, storage=storage)
    else:
        study = optuna.create_study(storage=storage, study_name=name, directions=list(directions))
    _same_recipe(study, {**recipe, "space": space.plain(), "directions": list(directions)}, path)
    study.sampler = _sampler(seed + len(study.get_trials(deepcopy=False)))
    opened = OpenStudy(study, space, tuple(directions), ())
    stale = _close_stale(opened)
    _enqueue(opened, points)
    closed = f"{stale} trials were cut off by the end of the last run; they are closed and tried again"
    notes = [note, closed if stale else None]
    return OpenStudy(study, space, tuple(directions), tuple(text for text in notes if text))


def point_key(point: Mapping[str, Any]) -> str:
    """A point as text; equal points, equal texts."""
    return json.dumps({name: _number(value) for name, value in point.items()}, sort_keys=True)


def _same_recipe(study: optuna.Study, recipe: Mapping[str, Any], path: Path) -> None:
    stored = study.user_attrs.get(_RECIPE)
    if stored is None:
        study.set_user_attr(_RECIPE, json.loads(json.dumps(recipe)))
        return
    refuse_other(stored, recipe, f"{path} holds a study", OTHER)


def _close_stale(opened: OpenStudy) -> int:
    """Close the trials that a killed run left running, their points to be tried again; returns how many."""
    from optuna.trial import TrialState

    running = opened.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    # In this order: a kill between the two must not lose a point.
    _enqueue(opened, [trial.user_attrs[POINT] for trial in running if POINT in trial.user_attrs])
    for trial in running:
        opened.study.tell(trial.number, state=TrialState.FAIL)
    return len(running)


def _enqueue(opened: OpenStudy, points: Sequence[Point]) -> None:
    """Put the points that were neither answered nor are waiting in front."""
    from optuna.trial import TrialState

    waiting = opened.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    there = {point_key(trial.user_attrs[POINT]) for trial in (*opened.answered(), *waiting)}
    for point in map(opened.space.complete, points):
        if point_key(point) not in there:
            there.add(point_key(point))
            opened.study.enqueue_trial(point, user_attrs={POINT: point})


def _sampler(seed: int) -> optuna.samplers.BaseSampler:
    """TPE that takes the points under way into account, as a batch needs it."""
    import warnings

    from optuna.samplers import TPESampler

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


def _is_complete(trial: optuna.trial.FrozenTrial) -> bool:
    return bool(trial.state.name == "COMPLETE")


def _is_answered(trial: optuna.trial.FrozenTrial) -> bool:
    if trial.state.name == "FAIL":
        return REASON in trial.user_attrs
    return trial.state.name in _STATES


def _number(value: Any) -> Any:
    """1 and 1.0 are one value of a parameter."""
    return float(value) if isinstance(value, int) else value

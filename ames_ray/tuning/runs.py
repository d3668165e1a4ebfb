"""Runs of training as trials of a study: where one lies, what its epochs reached, which networks are kept."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ames_ray.tuning.study import FIGURES, KNOWN, REASON, RUN, point_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import optuna

    from ames_ray.tuning.space import Value

EPOCH, EPOCHS = "epoch", "epochs"
"""Figures of a trial: the epoch that its other figures are of, from 1, and how many there were."""


def run_name(point: Mapping[str, Value]) -> str:
    """Folder of a point's run: equal points have one run, so a point that is tried again goes on with it."""
    return f"run-{hashlib.sha256(point_key(point).encode()).hexdigest()[:12]}"


@dataclass(slots=True, eq=False)
class Curve:
    """What the epochs of a run reached.

    Attributes:
        figure: The figure that counts.
        epochs: Epochs of a whole run.
        reached: Figures by epoch, from 1.
    """

    figure: str
    epochs: int
    reached: dict[int, dict[str, float]] = field(default_factory=dict)

    def add(self, epoch: int, figures: Mapping[str, float], trial: optuna.Trial) -> bool:
        """Take up an epoch, and tell the trial; returns whether it is new."""
        if epoch in self.reached:
            return False
        self.reached[epoch] = dict(figures)
        trial.report(figures.get(self.figure, math.nan), epoch)
        return True

    def tell(self, study: optuna.Study, trial: optuna.Trial, run: str, reason: str = "") -> None:
        """Close a trial: failed for a reason, complete, or stopped before its last epoch."""
        from optuna.trial import TrialState

        trial.set_user_attr(RUN, run)
        finite = [e for e, found in self.reached.items() if math.isfinite(found.get(self.figure, math.nan))]
        if reason or not finite:
            trial.set_user_attr(REASON, reason or f"{self.figure} is not finite")
            study.tell(trial, state=TrialState.FAIL)
            return
        # The first one of equals, as a run chooses its best network.
        best = max(sorted(finite), key=lambda epoch: self.reached[epoch][self.figure])
        last = max(self.reached)
        trial.set_user_attr(FIGURES, {**self.reached[best], EPOCH: best, EPOCHS: last})
        if last < self.epochs:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, self.reached[best][self.figure])


def copy_answer(study: optuna.Study, trial: optuna.Trial, known: optuna.trial.FrozenTrial) -> None:
    """Close a trial with the answer that an earlier one of the same point has."""
    from optuna.trial import TrialState

    trial.set_user_attr(KNOWN, True)
    for name in (RUN, FIGURES):
        trial.set_user_attr(name, known.user_attrs[name])
    for epoch, value in sorted(known.intermediate_values.items()):
        trial.report(value, epoch)
    if known.state == TrialState.PRUNED:
        study.tell(trial, state=known.state)
    else:
        study.tell(trial, known.value)


def best_rows(rows: Iterable[Mapping[str, Any]], figure: str) -> list[Mapping[str, Any]]:
    """The rows of all runs that have the figure, the best one first; of equals the first one."""
    found = [row for row in rows if row["state"] != "failed" and not row["known"]]
    return sorted(found, key=lambda row: -row[figure])


def beyond(rows: Sequence[Mapping[str, Any]], figure: str, keep: int | None) -> list[str]:
    """Folders of the runs that are not among the `keep` best."""
    # Two trials of one point that were under way together have one run.
    kept = list(dict.fromkeys(row[RUN] for row in best_rows(rows, figure)))[:keep]
    return [row[RUN] for row in rows if row.get(RUN) is not None and row[RUN] not in kept]

"""What a search leaves behind: the result, a preset, tables and plots, and what is printed of it."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.card import make_card
from ames_ray.cli.tables import facts
from ames_ray.cli.tune_page import publish_page
from ames_ray.evaluation.result import none_for_nan
from ames_ray.files import Storage, to_json
from ames_ray.report.tuning_run import RESULT, TRIALS
from ames_ray.report.use_it import evaluate_command
from ames_ray.tuning.front import on_front
from ames_ray.tuning.objective import Budget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ames_ray.config.tune import TuneConfig
    from ames_ray.evaluation.ensemble import Ensemble
    from ames_ray.retrieval.benchmark import Benchmark
    from ames_ray.tuning.exact import Exact
    from ames_ray.tuning.objective import Scored
    from ames_ray.tuning.space import Space
    from ames_ray.tuning.study import OpenStudy
    from ames_ray.tuning.sweep_file import Sweep

STUDY, FRONT, PRESET = "study.journal", "front.csv", "ensemble.yaml"


@dataclass(frozen=True, slots=True, eq=False)
class TuneTask:
    """A sweep with all that answers it.

    Attributes:
        config: The job.
        sweep: What to search.
        space: Its space, with the command's networks and budgets.
        benchmark: Ground truth.
        figure: What to raise.
        scored: Scores by budget.
        folder: Where results go.
    """

    config: TuneConfig
    sweep: Sweep
    space: Space
    benchmark: Benchmark
    figure: str
    scored: Mapping[Budget, Scored]
    folder: Storage

    @property
    def asked(self) -> dict[str, Any]:
        """All that decides the answers besides the space."""
        return {
            "figure": self.figure,
            "protocol": self.benchmark.protocol.name,
            "answers": {_label(budget): _digest(scored) for budget, scored in self.scored.items()},
            "costs": list(self.sweep.minimise),
        }

    @property
    def settings(self) -> dict[str, Any]:
        """The question, for the card of its answer."""
        return {**self.asked, "space": self.space.plain()}


def _label(budget: Budget) -> str:
    return f"{budget.model} {budget.query_desc_num} {budget.db_desc_num}"


def _digest(scored: Scored) -> str:
    """Stands for all that a budget's answers depend on."""
    table = scored.evaluation.table
    digest = hashlib.sha256()
    for array in (table.similarities, table.logits, table.places, table.marked, table.positive):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(repr((scored.bytes_an_image, scored.pairs_per_second)).encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True, eq=False)
class Best:
    """The setting to use.

    Attributes:
        budget: Network and descriptors.
        ensemble: λ, γ and K.
        value: The figure, a fraction.
    """

    budget: Budget
    ensemble: Ensemble
    value: float


def publish_result(
    task: TuneTask,
    best: Best,
    exact: Exact | None,
    rows: Sequence[Mapping[str, Any]],
    opened: OpenStudy | None,
) -> None:
    """Write everything, then print what to know of it."""
    front = _front(task, rows) if task.sweep.minimise else []
    counts = opened.counts() if opened else {"settings": exact.settings if exact else 0}
    card = make_card("tune", task.config.model_dump(), counts, task.settings)
    document = {
        "card": card,
        "figure": task.figure,
        "best": _plain(best.budget, best.ensemble, best.value),
        "exact": _plain_exact(exact) if exact else None,
        "counts": counts,
        "front": front,
    }
    task.folder.publish(RESULT, to_json(document))
    task.folder.publish(PRESET, _preset(task, best))
    if rows:
        task.folder.publish(TRIALS, to_csv(rows))
    if front:
        task.folder.publish(FRONT, to_csv(front))
    plots = _plots(task, exact, rows, front)
    page = publish_page(task.folder, exact.table if exact else None)
    _show(task, best, exact, counts, front, plots, page)


def _plain(budget: Budget, ensemble: Ensemble, value: float) -> dict[str, Any]:
    return {**asdict(budget), **asdict(ensemble), "value": value}


def _plain_exact(exact: Exact) -> dict[str, Any]:
    return {
        **_plain(exact.budget, exact.optimum.ensemble, exact.optimum.value),
        "lamb_from": exact.optimum.low,
        "lamb_to": exact.optimum.high,
        "best_of_grid": _plain(exact.budget, exact.cell, exact.cell_value),
        "settings": exact.settings,
    }


def _preset(task: TuneTask, best: Best) -> bytes:
    """In the form of the files in `configs/ensemble`."""
    setting = best.ensemble
    lines = [
        "# @package _global_",
        f"# Tuned by `ames-ray tune sweep={task.sweep.name}`: {task.figure} {100 * best.value:.2f} %.",
        f"ensemble: {task.sweep.name}",
        f"lamb: [{setting.lamb!r}]",
        f"temp: [{setting.temp!r}]",
        f"num_rerank: [{setting.num_rerank}]",
    ]
    return ("\n".join(lines) + "\n").encode()


def _front(task: TuneTask, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The trials that nothing beats, fewest bytes first."""
    names = (task.figure, *task.sweep.minimise)
    good = [row for row in rows if row["state"] == "complete"]
    directions = ["maximize", *("minimize" for _ in task.sweep.minimise)]
    kept = on_front([[row[name] for name in names] for row in good], directions)
    found = [_as_json(row) for row, keep in zip(good, kept, strict=True) if keep]
    return sorted(found, key=lambda row: (row["bytes_an_image"], row["seconds_a_query"], -row[task.figure]))


def _as_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row in which null stands for a figure that no query has."""
    return {name: none_for_nan(v) if isinstance(v, float) else v for name, v in row.items()}


def to_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as a table, a column for each name that one of them has."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _plots(
    task: TuneTask,
    exact: Exact | None,
    rows: Sequence[Mapping[str, Any]],
    front: Sequence[Mapping[str, Any]],
) -> list[str]:
    from ames_ray.report.figure import publish_figure
    from ames_ray.report.tuning import budget_front, convergence, landscape

    names = []
    complete = [row for row in rows if row["state"] == "complete"]
    if exact is not None and min(len(exact.table.grid.lamb), len(exact.table.grid.temp)) > 1:
        own = [row for row in complete if Budget.of(row) == exact.budget]
        drawn = landscape(exact.table, task.figure, own, exact.optimum)
        names += publish_figure(drawn, task.folder, "landscape")
    if rows:
        best = exact.optimum.value if exact else None
        names += publish_figure(convergence(rows, task.figure, best), task.folder, "convergence")
    if front:
        on_it = {row["trial"] for row in front}
        drawn = budget_front(complete, task.figure, [row["trial"] in on_it for row in complete])
        names += publish_figure(drawn, task.folder, "front")
    return names


def _show(
    task: TuneTask,
    best: Best,
    exact: Exact | None,
    counts: Mapping[str, int],
    front: Sequence[Mapping[str, Any]],
    plots: Sequence[str],
    page: str,
) -> None:
    lines = {"best": f"{task.figure} {100 * best.value:.2f} %", **_setting(best, many=len(task.scored) > 1)}
    if exact is not None and task.sweep.search == "exact":
        lines["best of the grid"] = f"{100 * exact.cell_value:.2f} % of {exact.settings:,} settings"
        lines["same value for"] = f"λ from {exact.optimum.low:.6g} to {exact.optimum.high:.6g}"
    elif exact is not None:
        gap = 100 * (exact.optimum.value - best.value)
        side = "above" if gap >= 0 else "below"
        lines["exact optimum"] = f"{100 * exact.optimum.value:.2f} %, {abs(gap):.3f} {side} the search's best"
    if "answered" in counts:
        lines["trials"] = trials_line(counts)
    if front:
        lines["front"] = f"{len(front):,} settings that nothing beats: {FRONT}"
    written = [RESULT, PRESET, *([TRIALS, STUDY] if "answered" in counts else []), *plots]
    lines["written"] = f"{task.folder.uri}: {', '.join(written)}"
    lines["page"] = page
    facts(f"tune {task.sweep.name}", lines)
    # Not in the table, which would break the line.
    setting = _plain(best.budget, best.ensemble, best.value)
    print(f"\nuse it: {evaluate_command(task.config.model_dump(), setting)}")  # noqa: T201


_WORDS = {
    "known": "known already",
    "stopped": "stopped early",
    "failed": "failed",
    "cut_off": "cut off by a kill",
}


def trials_line(counts: Mapping[str, int]) -> str:
    """How many trials there are, and how they ended."""
    ends = [f"{counts[name]:,} {words}" for name, words in _WORDS.items() if counts[name]]
    return ", ".join([f"{counts['answered']:,}", *ends])


def _setting(best: Best, *, many: bool) -> dict[str, str]:
    setting, budget = best.ensemble, best.budget
    shown = {"λ, γ, K": f"{setting.lamb:.4g}, {setting.temp:.4g}, {setting.num_rerank:,}"}
    if many:
        shown["with"] = (
            f"{budget.model}, {budget.query_desc_num:,} descriptors a query, "
            f"{budget.db_desc_num:,} a gallery image"
        )
    return shown

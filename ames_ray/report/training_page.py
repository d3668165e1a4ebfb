"""The report of training: what every step and every epoch found, of one run or of several over each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.report.compare import PLACES, flat
from ames_ray.report.parts import (
    card,
    change,
    figure,
    folded,
    hero,
    heroes,
    keys,
    notes,
    percent,
    plain,
    table,
)
from ames_ray.report.plot import Chart, Line, line_chart
from ames_ray.report.shell import asset, escape, fill, page
from ames_ray.report.training_run import thinned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ames_ray.report.training_run import TrainingRun

_PARTS = 160
_STEP_CHARTS = (
    ("loss", "Loss", "loss", 1.0, ".4f"),
    ("bce", "Cross-entropy of the pairs", "cross-entropy", 1.0, ".4f"),
    ("token_mse", "Squared error of the tokens", "squared error", 1.0, ".4g"),
    ("accuracy", "Pairs on the right side", "pairs right, %", 100.0, ".1f"),
    ("learning_rate", "Learning rate", "learning rate", 1.0, ".3g"),
    ("gradient_norm", "Length of the gradient", "before clipping", 1.0, ".3g"),
    ("waiting", "Time spent waiting for descriptors", "share, %", 100.0, ".1f"),
)
"""Column, title, axis, factor, format in words."""
_LOG = {"gradient_norm", "token_mse"}
_NONE = np.empty(0)


def training_page(runs: Sequence[TrainingRun]) -> bytes:
    """The report as HTML; same runs, same bytes."""
    charts: list[Chart] = []
    one = runs[0] if len(runs) == 1 else None
    title = f"Training: {one.name}" if one else f"Training: {len(runs)} runs"
    body = fill(
        asset("training.html"),
        {
            "title": escape(title),
            "summary": escape(_summary(runs)),
            "heroes": _heroes(one) if one else "",
            "notes": notes(_notes(runs)),
            "overview": _overview(runs),
            "validation": _validation(runs, charts),
            "steps": _steps(runs, charts),
            "settings": _settings(runs),
            "cards": "".join(card(run.card, f"Card of {run.name}") for run in runs),
        },
    )
    islands: dict[str, Any] = {"page": {}, "readouts": [{"stops": chart.stops} for chart in charts]}
    script = asset("base.js") + asset("tables.js") + asset("readout.js")
    return page(title, body, islands, styles=asset("base.css") + asset("report.css"), script=script)


def _summary(runs: Sequence[TrainingRun]) -> str:
    steps = sum(len(run.steps["total"]) for run in runs)
    epochs = max((len(run.epochs.get("epoch", [])) for run in runs), default=0)
    return f"{steps:,} steps · {epochs:,} epoch{'s' if epochs != 1 else ''}"


def _notes(runs: Sequence[TrainingRun]) -> list[str]:
    return [
        f"{run.name} is not finished: its settings and the global ranking's figures come with its card"
        for run in runs
        if not run.card
    ]


def _heroes(run: TrainingRun) -> str:
    parts = []
    for name in run.figures:
        reached = run.epochs[name]
        place = run.best_epoch - 1 if run.best_epoch else len(reached) - 1
        before = run.result.get("before", {}).get(name)
        gained = f"{change(before, reached[place])}, " if before is not None else ""
        parts.append(hero(name.replace("_", " "), percent(reached[place]), f"{gained}epoch {place + 1}"))
    if not parts and "loss" in run.epochs:
        parts.append(hero("loss", f"{run.epochs['loss'][-1]:.4f}", "mean of the last epoch"))
        parts.append(hero("pairs right", percent(run.epochs["accuracy"][-1]), "mean of the last epoch"))
    return heroes("What was reached", parts)


def _overview(runs: Sequence[TrainingRun]) -> str:
    """Runs as rows of a table; nothing for one alone, whose figures stand at the top."""
    if len(runs) == 1:
        return ""
    figures = list(dict.fromkeys(name for run in runs for name in run.figures))
    rows = []
    for run in runs:
        place = (run.best_epoch or 0) - 1
        cells = [run.name, f"{len(run.steps['total']):,}"]
        cells.append(f"{run.epochs['loss'][-1]:.4f}" if "loss" in run.epochs else "–")
        cells.append(percent(run.epochs["accuracy"][-1]) if "accuracy" in run.epochs else "–")
        cells.append(str(run.best_epoch or "–"))
        cells += [percent(run.epochs[n][place]) if n in run.epochs else "–" for n in figures]
        rows.append(cells)
    columns = ["run", "steps", "loss", "pairs right", "best epoch", *(n.replace("_", " ") for n in figures)]
    return f"<section><h2>Runs</h2>{table(columns, rows)}</section>"


def _validation(runs: Sequence[TrainingRun], charts: list[Chart]) -> str:
    """A chart of each mean over the epochs, with the global ranking as a broken line."""
    figures = []
    legend: list[Line] = []
    for name in dict.fromkeys(name for run in runs for name in run.figures):
        lines = [_epoch_line(run, n, name) for n, run in enumerate(runs) if name in run.epochs]
        lines = _before(runs, name, max(line.x[-1] for line in lines)) + lines
        words = name.replace("_", " ")
        charts.append(line_chart(f"{words} over epochs", lines, "epoch", f"{words}, %", form=".2f"))
        figures.append(figure(words, charts[-1].svg))
        legend += lines
    if not figures:
        return ""
    return (
        f'<section><h2>Validation</h2>{keys(legend)}<div class="charts">{"".join(figures)}</div>'
        '<p class="quiet">A ring marks the epoch whose weights were kept as the best.</p></section>'
    )


def _epoch_line(run: TrainingRun, number: int, name: str) -> Line:
    ring = run.best_epoch - 1 if run.best_epoch else None
    return Line(run.name, run.epochs["epoch"], 100 * run.epochs[name], number, "dotted", ring=ring)


def _before(runs: Sequence[TrainingRun], name: str, last: float) -> list[Line]:
    """The global ranking; once where all runs were validated on the same."""
    values = {run.name: run.result["before"][name] for run in runs if name in run.result.get("before", {})}
    x = np.array([1.0, max(last, 1.01)])
    if len(set(values.values())) == 1:
        return [Line("global ranking", x, np.full(2, 100 * next(iter(values.values()))), None, "dashed")]
    number = {run.name: n for n, run in enumerate(runs)}
    return [
        Line(f"global ranking of {run}", x, np.full(2, 100 * value), number[run], "dashed")
        for run, value in values.items()
    ]


def _steps(runs: Sequence[TrainingRun], charts: list[Chart]) -> str:
    last = max(float(run.steps["total"][-1]) for run in runs)
    width = max(1.0, float(np.ceil(last / _PARTS)))
    figures = []
    for column, title, axis, factor, form in _STEP_CHARTS:
        shown = [(n, run) for n, run in enumerate(runs) if _tells(run, column)]
        if not shown:
            continue
        lines = [_line(run, n, column, factor, width, band=len(runs) == 1) for n, run in shown]
        charts.append(line_chart(title, lines, "step", axis, form=form, log=column in _LOG))
        figures.append(figure(title, charts[-1].svg))
    said = f"A point is the mean of {width:,.0f} steps"
    said += "; the band reaches from the lowest to the highest." if len(runs) == 1 else "."
    told = f'<p class="quiet">{said}</p>' if width > 1 else ""
    legend = "" if len(runs) == 1 else keys(Line(run.name, _NONE, _NONE, n) for n, run in enumerate(runs))
    return f'<section><h2>Steps</h2>{legend}{told}<div class="charts">{"".join(figures)}</div></section>'


def _tells(run: TrainingRun, column: str) -> bool:
    """Whether a column says something: without a teacher there is one loss alone."""
    if column not in run.steps:
        return False
    return column not in ("bce", "token_mse") or bool(run.steps["token_mse"].any())


def _line(run: TrainingRun, number: int, column: str, factor: float, width: float, *, band: bool) -> Line:
    x, mean, low, high = thinned(run.steps["total"], factor * run.steps[column], width)
    edges = (low, high) if band and width > 1 else (None, None)
    return Line(run.name, x, mean, number, "line", *edges)


def _settings(runs: Sequence[TrainingRun]) -> str:
    """Settings by run; of several those that differ come first, the others folded."""
    runs = [run for run in runs if run.card]
    cards = [flat(dict(run.card["config"])) for run in runs]
    names = sorted({name for values in cards for name in values} - PLACES)
    if not names:
        return ""
    rows = {name: [plain(values[name]) if name in values else "–" for values in cards] for name in names}
    if len(runs) < 2:
        listed = "".join(f"<dt>{escape(n)}</dt><dd>{escape(cells[0])}</dd>" for n, cells in rows.items())
        return folded("Settings", f"<dl>{listed}</dl>", opened=True)
    differ = [[name, *cells] for name, cells in rows.items() if len(set(cells)) > 1]
    same = [[name, cells[0]] for name, cells in rows.items() if len(set(cells)) == 1]
    shown = [
        (f"Settings that differ: {len(differ)}", ["setting", *(run.name for run in runs)], differ, True),
        (f"Settings that all have: {len(same)}", ["setting", "value"], same, False),
    ]
    return "".join(
        folded(title, table(columns, lines), opened=o) for title, columns, lines, o in shown if lines
    )

"""The report of a search: the best and how to use it, the way there, the landscape, the front, the trials."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.report.front_chart import front_chart
from ames_ray.report.parts import (
    card,
    change,
    few,
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
from ames_ray.report.plot import Line, line_chart
from ames_ray.report.shell import asset, escape, fill, page
from ames_ray.report.tuning_map import BUDGET, SIGNS, landscape, setting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ames_ray.report.tuning_run import TuningRun
    from ames_ray.tuning.grid import GridTable

_FACTS = ("trial", "state", "known", "reason", "run")
_COSTS = ("bytes_an_image", "seconds_a_query")
_MANY = 20
"""Trials from which on the worst tenth lies at the edge of a chart, so that the others are told apart."""
_LAST = ("state", "reason", "run")


def tuning_page(run: TuningRun, grid: GridTable | None = None, missing: Sequence[str] = ()) -> bytes:
    """The report as HTML; same input, same bytes.

    Args:
        run: What to report.
        grid: The figures over λ, γ and K, or none where they are not to be had.
        missing: What could not be shown and why, a sentence each.
    """
    readouts: list[dict[str, Any]] = []
    title = f"Tuning: {run.name}"
    body = fill(
        asset("tuning.html"),
        {
            "title": escape(title),
            "summary": escape(_summary(run)),
            "heroes": _heroes(run),
            "notes": notes([*missing, *_states(run)]),
            "use": _use(run),
            "front": _front(run),
            # In the order of the page, which that of the readouts follows.
            "convergence": _convergence(run, readouts),
            "landscape": landscape(run, grid, readouts) if grid is not None else "",
            "trials": _trials(run),
            "card": card(run.document["card"]),
        },
    )
    islands = {"page": {}, "readouts": readouts}
    script = asset("base.js") + asset("tables.js") + asset("readout.js")
    return page(title, body, islands, styles=asset("base.css") + asset("report.css"), script=script)


def _summary(run: TuningRun) -> str:
    parts = [f"{len(run.trials):,} trials"] if run.trials else []
    if run.exact is not None:
        parts.append(f"{run.exact['settings']:,} settings of a grid")
    return " · ".join([*parts, f"raising {run.figure}"])


def _heroes(run: TuningRun) -> str:
    value, exact = run.best["value"], run.exact
    below = escape(setting(run.best, run.parameters))
    if "global_ranking" in run.document:
        below = f"{change(run.document['global_ranking'], value)} of the global ranking; {below}"
    parts = [hero(f"best {run.figure.replace('_', ' ')}", percent(value), below)]
    if exact is not None and run.trials:
        gap = max(100 * (exact["value"] - value), 0)
        parts.append(hero("exact optimum", percent(exact["value"]), escape(setting(exact))))
        parts.append(hero("left to gain", f"{gap:.3f}", "points, from the search's best to the optimum"))
    elif exact is not None:
        cell = exact["best_of_grid"]
        parts.append(hero("best of the grid", percent(cell["value"]), escape(setting(cell))))
        wide = f"{exact['lamb_from']:.4g} – {exact['lamb_to']:.4g}"
        parts.append(hero("λ of the best", wide, "the same value all over"))
    return heroes("Best setting", parts)


def _states(run: TuningRun) -> list[str]:
    """Sentences about trials that did not end as usual."""
    failed = [row for row in run.trials if row["state"] == "failed"]
    reasons = sorted({row["reason"] for row in failed if row["reason"]})
    stopped = sum(row["state"] == "stopped" for row in run.trials)
    found = []
    if failed:
        found.append(f"{len(failed):,} of {len(run.trials):,} trials failed: {'; '.join(reasons[:3])}")
    if stopped:
        found.append(f"{stopped:,} of {len(run.trials):,} were stopped early, as others were better by then")
    return found


def _use(run: TuningRun) -> str:
    command = f'<pre class="command" tabindex="0"><code>{escape(run.command)}</code></pre>'
    return f"<section><h2>Use it</h2>{command}</section>"


def _convergence(run: TuningRun, readouts: list[dict[str, Any]]) -> str:
    """Every trial, the best so far, and the exact optimum as a broken line."""
    good = [(n, 100 * row[run.figure]) for n, row in enumerate(run.trials, 1) if run.reached(row)]
    if not good:
        return ""
    x, values = (np.array(column, np.float64) for column in zip(*good, strict=True))
    lines = [
        Line("trial", x, values, None, "dots"),
        Line("best so far", x, np.maximum.accumulate(values), 0, "steps"),
    ]
    if run.exact is not None:
        optimum = np.full(2, 100 * run.exact["value"])
        lines.append(Line("exact optimum", np.array([x[0], x[-1]]), optimum, 1, "dashed"))
    name = run.figure.replace("_", " ")
    lowest = float(np.quantile(values, 0.1)) if len(values) >= _MANY else float(values.min())
    chart = line_chart(f"{name} over trials", lines, "trial", f"{name}, %", form=".2f", lowest=lowest)
    readouts.append({"stops": chart.stops})
    below = int((values < lowest).sum())
    edge = f"Those below {lowest:.2f} %, {below:,} of {len(values):,}, lie at the lower edge."
    said = f'<p class="quiet">{edge}</p>' if below else ""
    drawn = figure(f"{name} over trials", chart.svg)
    return f'<section><h2>Convergence</h2>{keys(lines)}<div class="charts">{drawn}</div>{said}</section>'


def _front(run: TuningRun) -> str:
    """What nothing beats, drawn and as a table; nothing where a figure was raised alone."""
    if not run.front:
        return ""
    name = run.figure.replace("_", " ")
    columns = [name, "bytes an image", "s a query", "model", "query descriptors", "gallery descriptors"]
    rows = [
        [
            percent(row[run.figure]),
            f"{row['bytes_an_image']:,.0f}",
            f"{row['seconds_a_query']:.4g}",
            plain(row["model"]).rpartition("/")[2],
            f"{row['query_desc_num']:,.0f}",
            f"{row['db_desc_num']:,.0f}",
            *_numbers(row),
        ]
        for row in run.front
    ]
    kept = {row["trial"] for row in run.front}
    complete = [row for row in run.trials if run.reached(row)]
    drawn = front_chart(complete, run.figure, [row["trial"] in kept for row in complete])
    title = f"{len(run.front):,} of {len(complete):,} settings that nothing beats"
    return (
        f"<section><h2>{escape(name)} for bytes and time</h2>{drawn}"
        f"{folded(title, table([*columns, *SIGNS.values()], rows), opened=True)}</section>"
    )


def _trials(run: TuningRun) -> str:
    """Every trial; besides what was searched and raised, what is the same in all of them is left out."""
    if not run.trials:
        return ""
    figures = [name for name in run.trials[0] if name not in (*_FACTS, *BUDGET, *run.parameters, *_COSTS)]
    figures.sort(key=lambda name: name != run.figure)
    always = ("trial", *run.parameters, run.figure)
    names = list(dict.fromkeys(["trial", *run.parameters, *_COSTS, *figures, *_LAST]))
    cells = {name: [_cell(name, row.get(name)) for row in run.trials] for name in names}
    shown = {name: column for name, column in cells.items() if name in always or len(set(column)) > 1}
    values = [row[run.figure] if run.reached(row) else -math.inf for row in run.trials]
    titles = [SIGNS.get(name, name.replace("_", " ")) for name in shown]
    rows = list(zip(*shown.values(), strict=True))
    drawn = table(titles, rows, values.index(max(values)))
    return folded(f"Trials: {len(rows):,}", drawn, opened=few(rows))


def _numbers(row: Mapping[str, Any]) -> list[str]:
    return [_cell(name, row[name]) for name in SIGNS]


def _cell(name: str, value: Any) -> str:
    """Text of a table: figures in %, numbers short, of a path its end."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, str):
        return value.rpartition("/")[2]
    if "_mAP" in name or "_mP@" in name or name == "accuracy":
        return percent(value)
    return f"{value:,.0f}" if value == int(value) else f"{value:.4g}"

"""The report of an evaluation: figures, curves, sweep, and every query with the worst ones first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ames_ray.report.charts import curve_chart
from ames_ray.report.parts import card, change, dialog_head, few, folded, hero, heroes, notes, percent, table
from ames_ray.report.pictures import SHELF
from ames_ray.report.shell import asset, escape, fill, page
from ames_ray.report.sweep_maps import sweep_maps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ames_ray.report.evaluation import Curves, Evaluation
    from ames_ray.report.query_pictures import QueryPictures

_CHOSEN = ("lamb", "temp", "num_rerank")


def evaluation_page(
    evaluation: Evaluation,
    *,
    curves: Curves | None = None,
    names: Sequence[str] = (),
    pictures: QueryPictures | None = None,
    missing: Sequence[str] = (),
) -> bytes:
    """The report as HTML; same input, same bytes.

    Args:
        evaluation: What to report.
        curves: Precision over recall, or none where the rankings are gone.
        names: Names of the queries, or none.
        pictures: Of the worst queries and what they found, or none.
        missing: What could not be shown and why, a sentence each.
    """
    before, after = evaluation.before["per_query"], evaluation.best["per_query"]
    setups = {
        name: {"before": before[name], "after": after[name]}
        for name in evaluation.setups
        if any(value is not None for value in before[name])
    }
    data = {
        "setups": setups,
        "start": "medium" if "medium" in setups else next(iter(setups)),
        "reranked": "best" in evaluation.document,
        "names": list(names) or None,
        "shelf": SHELF,
        "pictures": pictures.queries if pictures else {},
        "results": pictures.results if pictures else {},
        "images": pictures.names if pictures else [],
    }
    readouts: list[dict[str, Any]] = []
    islands: dict[str, Any] = {"page": data, "readouts": readouts}
    shelves = pictures.shelves if pictures else []
    islands |= {f"pictures-{number}": shelf for number, shelf in enumerate(shelves)}
    title = f"Evaluation: {evaluation.before['protocol']}"
    body = fill(
        asset("evaluation.html"),
        {
            "title": escape(title),
            "summary": escape(_summary(evaluation)),
            "heroes": _heroes(evaluation),
            "notes": notes([*evaluation.best.get("notes", []), *missing]),
            "curves": _curves(curves, list(setups)),
            "heat": sweep_maps(evaluation, readouts),
            "settings": _settings(evaluation),
            "card": card(evaluation.document["card"]),
            "dialog_head": dialog_head("look"),
        },
    )
    styles = asset("base.css") + asset("report.css")
    script = asset("base.js") + asset("tables.js") + asset("readout.js") + asset("evaluation.js")
    return page(title, body, islands, styles=styles, script=script)


def _summary(evaluation: Evaluation) -> str:
    parts = [f"{evaluation.before['counts'].get('queries', 0):,} queries"]
    chosen = evaluation.best["settings"]
    if chosen:
        parts.append(", ".join(f"{name} {chosen[name]:g}" for name in _CHOSEN))
        if len(evaluation.rows) > 1:
            parts.append(f"best of {len(evaluation.rows):,} settings by {evaluation.document.get('figure')}")
    else:
        parts.append("global ranking alone")
    return " · ".join([*parts, evaluation.name])


def _heroes(evaluation: Evaluation) -> str:
    parts = []
    for name in evaluation.figures:
        before, after = evaluation.before["figures"][name], evaluation.best["figures"][name]
        if "_mAP" in name and after is not None and before is not None:
            below = change(before, after) if evaluation.best["settings"] else ""
            parts.append(hero(name.replace("_", " "), percent(after), below))
    return heroes("Mean average precision", parts)


def _curves(curves: Curves | None, setups: Sequence[str]) -> str:
    if curves is None:
        return ""
    names = ["global ranking", *(["re-ranked"] if curves.best else [])]
    figures = []
    for setup in setups:
        series = {names[0]: curves.before[setup], **({names[1]: curves.best[setup]} if curves.best else {})}
        chart = curve_chart(f"Precision over recall, {setup}", series, "recall", "precision")
        figures.append(f"<figure><figcaption>{escape(setup)}</figcaption>{chart}</figure>")
    keys = "".join(f'<li><i class="key-{n}"></i>{name}</li>' for n, name in enumerate(names))
    return (
        f'<section><h2>Precision over recall</h2><ul class="keys quiet">{keys}</ul>'
        f'<div class="charts">{"".join(figures)}</div></section>'
    )


def _settings(evaluation: Evaluation) -> str:
    """Every setting as a row of a table that sorts."""
    if not evaluation.rows:
        return ""
    columns = [*_CHOSEN, *evaluation.figures]
    rows = [
        [*(f"{row[name]:g}" for name in _CHOSEN), *(percent(row[name]) for name in evaluation.figures)]
        for row in evaluation.rows
    ]
    chosen = [evaluation.best["settings"][name] for name in _CHOSEN]
    best = next(n for n, row in enumerate(evaluation.rows) if [row[name] for name in _CHOSEN] == chosen)
    shown = table([name.replace("_", " ") for name in columns], rows, best)
    return folded(f"Settings: {len(rows):,}", shown, opened=few(rows))

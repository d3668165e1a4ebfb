"""The report of an evaluation: figures, curves, sweep, and every query with the worst ones first."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from ames_ray.report.charts import curve_chart, heat_map
from ames_ray.report.compare import flat
from ames_ray.report.pictures import SHELF, embed
from ames_ray.report.shell import asset, escape, fill, page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ames_ray.report.evaluation import Curves, Evaluation

_FEW = 12
_CHOSEN = ("lamb", "temp", "num_rerank")


def evaluation_page(
    evaluation: Evaluation,
    *,
    curves: Curves | None = None,
    names: Sequence[str] = (),
    uris: Sequence[str] = (),
    missing: Sequence[str] = (),
) -> bytes:
    """The report as HTML; same input, same bytes.

    Args:
        evaluation: What to report.
        curves: Precision over recall, or none where the rankings are gone.
        names: Names of the queries, or none.
        uris: Addresses of the query photos, or none for a page without pictures.
        missing: What could not be shown and why, a sentence each.
    """
    reranked = "best" in evaluation.document
    setups = {
        name: {"before": evaluation.before["per_query"][name], "after": evaluation.best["per_query"][name]}
        for name in evaluation.setups
    }
    data = {
        "setups": setups,
        "start": "medium" if "medium" in setups else next(iter(setups)),
        "reranked": reranked,
        "names": list(names) or None,
        "pictures": bool(uris),
        "shelf": SHELF,
    }
    islands: dict[str, Any] = {"page": data}
    islands |= {f"pictures-{number}": shelf for number, shelf in enumerate(embed(list(uris)))}
    title = f"Evaluation: {evaluation.before['protocol']}"
    body = fill(
        asset("report.html"),
        {
            "title": escape(title),
            "summary": escape(_summary(evaluation)),
            "heroes": _heroes(evaluation),
            "notes": _notes([*evaluation.best.get("notes", []), *missing]),
            "curves": _curves(curves),
            "heat": _heat(evaluation),
            "settings": _settings(evaluation),
            "card": _card(evaluation),
        },
    )
    styles = asset("base.css") + asset("report.css")
    return page(title, body, islands, styles=styles, script=asset("base.js") + asset("report.js"))


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


def _means(evaluation: Evaluation) -> list[str]:
    return [name for name in evaluation.figures if "_mAP" in name]


def _heroes(evaluation: Evaluation) -> str:
    parts = []
    for name in _means(evaluation):
        before, after = evaluation.before["figures"][name], evaluation.best["figures"][name]
        if after is None or before is None:
            continue
        change = ""
        if evaluation.best["settings"]:
            kind = "gain" if after > before else "loss" if after < before else "same"
            sign = "−" if after < before else "+"
            points = f"{sign}{100 * abs(after - before):.2f}"
            change = f'<span class="{kind}">{points}</span> from {100 * before:.2f}'
        label = escape(name.replace("_", " "))
        parts.append(
            f'<div class="hero"><span class="name">{label}</span><b>{100 * after:.2f}</b>'
            f'<span class="quiet">{change}</span></div>'
        )
    return "".join(parts)


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    return f'<div class="note"><ul>{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul></div>'


def _curves(curves: Curves | None) -> str:
    if curves is None:
        return ""
    names = ["global ranking", *(["re-ranked"] if curves.best else [])]
    figures = []
    for setup, before in curves.before.items():
        series = {names[0]: before, **({names[1]: curves.best[setup]} if curves.best else {})}
        chart = curve_chart(f"Precision over recall, {setup}", series, "recall", "precision")
        figures.append(f"<figure><figcaption>{escape(setup)}</figcaption>{chart}</figure>")
    keys = "".join(f'<li><i class="key-{n}"></i>{name}</li>' for n, name in enumerate(names))
    return (
        f'<section><h2>Precision over recall</h2><ul class="keys quiet">{keys}</ul>'
        f'<div class="charts">{"".join(figures)}</div></section>'
    )


def _heat(evaluation: Evaluation) -> str:
    """λ against γ for each K, where more than one of either was tried."""
    rows = evaluation.rows
    lambs, temps, lengths = (sorted({row[name] for row in rows}) for name in _CHOSEN)
    if len(lambs) < 2 and len(temps) < 2:
        return ""
    figure = evaluation.document["figure"]
    value = {tuple(row[name] for name in _CHOSEN): row[figure] for row in rows}
    maps = []
    for length in lengths:
        grid = [[_number(value.get((lamb, temp, length))) for temp in temps] for lamb in lambs]
        chart = heat_map(f"{figure} over λ and γ, K = {length:g}", lambs, temps, grid, ("λ", "γ"))
        maps.append(f"<figure><figcaption>K = {length:,.0f}</figcaption>{chart}</figure>")
    heading = f"{escape(figure.replace('_', ' '))} over λ and γ"
    return f'<section><h2>{heading}</h2><div class="charts">{"".join(maps)}</div></section>'


def _settings(evaluation: Evaluation) -> str:
    """Every setting as a row of a table that sorts."""
    if not evaluation.rows:
        return ""
    columns = [*_CHOSEN, *evaluation.figures]
    names = [escape(name.replace("_", " ")) for name in columns]
    head = "".join(f'<th scope="col"><button type="button">{name}</button></th>' for name in names)
    lines = []
    for row in evaluation.rows:
        best = all(row[name] == evaluation.best["settings"][name] for name in _CHOSEN)
        cells = [f"{row[name]:g}" for name in _CHOSEN]
        cells += [_percent(row[name]) for name in columns[len(_CHOSEN) :]]
        mark = ' class="best"' if best else ""
        lines.append(f"<tr{mark}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    opened = " open" if len(lines) <= _FEW else ""
    return (
        f"<details{opened}><summary>Settings: {len(lines):,}</summary>"
        f'<div class="scroll"><table class="sortable">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div></details>"
    )


def _card(evaluation: Evaluation) -> str:
    card = flat(dict(evaluation.document["card"]))
    return "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(_plain(value))}</dd>" for name, value in sorted(card.items())
    )


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=True)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"

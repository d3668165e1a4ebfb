"""The verbs that explain results: report, compare."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ames_ray.errors import AmesError
from ames_ray.files import Storage, to_json
from ames_ray.report.compare import compare as compare_evaluations
from ames_ray.report.evaluation import Evaluation, curves, protocol_of
from ames_ray.report.evaluation_page import evaluation_page

if TYPE_CHECKING:
    from ames_ray.config.report import CompareConfig, ReportConfig
    from ames_ray.report.compare import Difference
    from ames_ray.report.evaluation import Curves
    from ames_ray.types import ImageRecord

_LONG = 60


def report(config: ReportConfig) -> None:
    """Write the page of an evaluation; what cannot be shown any more is named on it."""
    evaluation = Evaluation.read(config.run)
    missing: list[str] = []
    found = _curves(evaluation, missing)
    records = _queries(evaluation, missing)
    written = evaluation_page(
        evaluation,
        curves=found,
        names=[record.image_id for record in records],
        uris=[record.uri for record in records] if config.pictures else [],
        missing=missing,
    )
    output = config.output or config.run.removesuffix(".json") + ".html"
    _publish(output, written)
    for sentence in missing:
        print(f"note: {sentence}")  # noqa: T201
    print(f"written: {output}")  # noqa: T201


def compare(config: CompareConfig) -> None:
    """Print which choices differ between two evaluations, and what they did."""
    found = compare_evaluations(Evaluation.read(config.first), Evaluation.read(config.second))
    _show(found, config.queries)
    if config.output is not None:
        _publish(config.output, to_json(found.as_json()))
        print(f"written: {config.output}")  # noqa: T201


def _curves(evaluation: Evaluation, missing: list[str]) -> Curves | None:
    try:
        return curves(evaluation, protocol_of(evaluation))
    except AmesError as error:
        missing.append(f"no precision over recall: {error.message}")
        return None


def _queries(evaluation: Evaluation, missing: list[str]) -> list[ImageRecord]:
    """The lines of the query list, as many as were evaluated."""
    from ames_ray.store.reader import Store

    try:
        manifest = Store.open(str(evaluation.config.get("query", ""))).manifest
        return manifest.records(0, min(len(manifest), int(evaluation.before["counts"]["queries"])))
    except AmesError as error:
        missing.append(f"no names and pictures of the queries: {error.message}")
        return []


def _publish(uri: str, data: bytes) -> None:
    folder, name = Storage.of_file(uri)
    folder.publish(name, data)


def _show(found: Difference, queries: int) -> None:
    console = Console(highlight=False)
    choices = _table("choices that differ", ("", "first", "second"))
    for name, sides in found.choices.items():
        choices.add_row(escape(name), *(escape(_short(side)) for side in sides))
    console.print(choices if found.choices else "no choice differs")
    figures = _table("figures in %", ("", "first", "second", "change"))
    for name, (one, other) in found.figures.items():
        figures.add_row(name, f"{100 * one:.2f}", f"{100 * other:.2f}", f"{100 * (other - one):+.2f}")
    console.print(figures)
    for setup, changes in found.queries.items():
        moved = [change for change in changes if change.change]
        up = sum(change.change > 0 for change in moved)
        title = (
            f"{setup}: {up:,} queries better, {len(moved) - up:,} worse, {len(changes) - len(moved):,} equal"
        )
        console.print(title, style="bold")
        if not moved or not queries:
            continue
        table = _table(None, ("query", "first", "second", "change"))
        for change in moved[:queries]:
            numbers = (
                f"{100 * change.first:.2f}",
                f"{100 * change.second:.2f}",
                f"{100 * change.change:+.2f}",
            )
            table.add_row(str(change.query), *numbers)
        console.print(table)


def _table(title: str | None, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None)
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    return table


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"

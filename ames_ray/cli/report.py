"""The verbs that explain results: report, compare."""

from __future__ import annotations

import json
import math
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ames_ray.config.inputs import keep_inputs
from ames_ray.errors import AmesError
from ames_ray.files import Storage, to_json
from ames_ray.report.compare import compare as compare_evaluations
from ames_ray.report.evaluation import Evaluation, curves
from ames_ray.report.evaluation_page import evaluation_page
from ames_ray.report.evaluation_sources import benchmark_of, gallery_of, query_list, rankings
from ames_ray.report.found import find_all, only_evaluation, page_address
from ames_ray.report.query_pictures import query_pictures
from ames_ray.report.training_page import training_page
from ames_ray.report.training_run import read_runs
from ames_ray.report.tuning_page import tuning_page
from ames_ray.report.tuning_run import TuningRun, grid_again

if TYPE_CHECKING:
    from collections.abc import Callable

    from ames_ray.config.report import CompareConfig, ReportConfig
    from ames_ray.report.compare import Difference

T = TypeVar("T")
_LONG = 60


def report(config: ReportConfig) -> None:
    """Write the page of what a folder or a file holds; what cannot be shown any more is named on it."""
    found = find_all([config.run, *config.also])
    missing: list[str] = []
    if found[0].kind == "training":
        written = training_page(read_runs([one.uri for one in found]))
    elif found[0].kind == "tuning":
        written = _tuning(found[0].uri, missing)
    else:
        written = _evaluation(found[0].uri, config, missing)
    output = config.output or page_address(found)
    _publish(config.model_copy(update={"run": found[0].uri}), output, written)
    for sentence in missing:
        print(f"note: {sentence}")  # noqa: T201
    print(f"written: {output}")  # noqa: T201


def compare(config: CompareConfig) -> None:
    """Print which choices differ between two evaluations, and what they did."""
    read = {side: only_evaluation(uri) for side, uri in (("first", config.first), ("second", config.second))}
    found = compare_evaluations(*map(Evaluation.read, read.values()))
    _show(found, config.queries)
    if config.output is not None:
        _publish(config.model_copy(update=read), config.output, to_json(found.as_json()))
        print(f"written: {config.output}")  # noqa: T201


def _tuning(uri: str, missing: list[str]) -> bytes:
    run = TuningRun.read(uri)
    grid = None
    if run.exact is not None:
        grid = _or_missing(missing, "no map over λ and γ", lambda: grid_again(run))
    return tuning_page(run, grid, missing)


def _evaluation(uri: str, config: ReportConfig, missing: list[str]) -> bytes:
    evaluation = Evaluation.read(uri)
    no_curves = "no precision over recall"
    found = _or_missing(missing, no_curves, lambda: rankings(evaluation, benchmark_of(evaluation)))
    drawn = _or_missing(missing, no_curves, partial(curves, found)) if found else None
    queries = _or_missing(missing, "no names and pictures of the queries", lambda: query_list(evaluation))
    pictures = None
    if config.pictures and queries is not None:
        gallery = (
            _or_missing(missing, "no pictures of results", lambda: gallery_of(evaluation)) if found else []
        )
        pictures = query_pictures(
            evaluation, queries, gallery or [], found, worst=config.worst, num_results=config.num_results
        )
        missing += pictures.notes
    return evaluation_page(
        evaluation,
        curves=drawn,
        names=[record.image_id for record in queries or []],
        pictures=pictures,
        missing=missing,
    )


def _or_missing(missing: list[str], what: str, get: Callable[[], T]) -> T | None:
    """What `get` finds; none, and a sentence more, where it is not there any more."""
    try:
        return get()
    except AmesError as error:
        missing.append(f"{what}: {error.message}")
        return None


def _publish(config: ReportConfig | CompareConfig, uri: str, data: bytes) -> None:
    """Write a file, unless the job reads it: its settings name results here, not folders that hold one."""
    folder, name = Storage.of_file(uri)
    keep_inputs(config, folder, [name])
    folder.publish(name, data)


def _show(found: Difference, queries: int) -> None:
    console = Console(highlight=False)
    choices = _table("choices that differ", ("", "first", "second"))
    for name, sides in found.choices.items():
        choices.add_row(escape(name), *(escape(_short(side)) for side in sides))
    console.print(choices if found.choices else "no choice differs")
    figures = _table("figures in %", ("", "first", "second", "change"))
    for name, (one, other) in found.figures.items():
        figures.add_row(name, *_percents(one, other))
    console.print(figures)
    for setup, changes in found.queries.items():
        if not changes:
            continue
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
            table.add_row(str(change.query), *_percents(change.first, change.second))
        console.print(table)


def _table(title: str | None, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None)
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    return table


def _percents(first: float, second: float) -> list[str]:
    """Both and their difference in percent; a dash where one is undefined."""
    values = {"": [first, second], "+": [second - first]}
    return ["–" if math.isnan(v) else f"{100 * v:{sign}.2f}" for sign, vs in values.items() for v in vs]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"

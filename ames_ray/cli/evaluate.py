"""The verb that evaluates: from stores and a ground truth to one table."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from ames_ray.card import make_card
from ames_ray.cli.crews import Scoring, first_ranking
from ames_ray.evaluation.candidates import candidates
from ames_ray.evaluation.evaluate import evaluate as evaluate_ranking
from ames_ray.evaluation.sweep import check_figure, sweep
from ames_ray.files import Storage, to_json
from ames_ray.retrieval.benchmark import Benchmark
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.kept import kept_scores
from ames_ray.store.meta import AUTHORS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ames_ray.config.retrieval import EvaluateConfig
    from ames_ray.evaluation.result import EvaluationResult
    from ames_ray.evaluation.sweep import Sweep


def evaluate(config: EvaluateConfig) -> str:
    """Print one table of mean average precisions, write it with its card, and return the address of that."""
    benchmark = Benchmark.read(config.ground_truth, config.protocol)
    figure = config.figure or benchmark.figure
    check_figure(benchmark.protocol, figure)
    query, gallery = Gallery.open([config.query]), Gallery.open(config.gallery)
    benchmark.check(query, gallery)
    stores = (*query.stores, *gallery.stores)
    lists = list(dict.fromkeys(note for store in stores for note in store.manifest.notes))
    for note in lists:
        print(note, file=sys.stderr)  # noqa: T201
    benchmark = _remarked(benchmark, [*lists, *_failed(benchmark, query, gallery)])
    output = Storage.at(config.output)
    with output.own("ames-ray evaluate"):
        shortlist = first_ranking(config, output, benchmark, query, gallery, max(config.num_rerank))
        base = evaluate_ranking(benchmark.protocol, shortlist)
        table = None
        if config.model is not None:
            pairs = candidates(benchmark.protocol, shortlist, max(config.num_rerank))
            scoring = Scoring(config, config.model, pairs, query, gallery)
            scores = kept_scores(output, scoring.digest, scoring)
            table = sweep(
                benchmark.protocol,
                shortlist,
                scores,
                config.lamb,
                config.temp,
                config.num_rerank,
                figure,
            )
        name = _publish(output, config, benchmark, {"query": query, "gallery": gallery}, base, table)
    _show(base, table, figure, said=lists)
    written = output.address(name)
    print(f"written: {written}")  # noqa: T201
    return written


def _failed(benchmark: Benchmark, query: Gallery, gallery: Gallery) -> list[str]:
    """Sentences about images that failed: fewer queries find, fewer distractors distract."""
    asked = benchmark.protocol.queries
    # Of the authors' files it is not known without reading all of them.
    known = [store for store in gallery.stores if store.meta.format != AUTHORS]
    counts = {
        "queries": (int(query.failed[:asked].sum()), asked),
        "gallery images": (sum(store.meta.rows - store.searchable for store in known), len(gallery)),
    }
    return [
        f"{failed:,} of {rows:,} {what} have no descriptors: they failed, or were removed"
        for what, (failed, rows) in counts.items()
        if failed
    ]


def _remarked(benchmark: Benchmark, remarks: Sequence[str]) -> Benchmark:
    """The benchmark, so that every result of it carries the sentences."""
    protocol = benchmark.protocol
    return replace(benchmark, protocol=replace(protocol, remarks=(*protocol.remarks, *remarks)))


def _publish(
    output: Storage,
    config: EvaluateConfig,
    benchmark: Benchmark,
    stores: Mapping[str, Gallery],
    base: EvaluationResult,
    table: Sweep | None,
) -> str:
    """Write a result under a name made from its content, so that none replaces another."""
    best = table.best if table else base
    extracted = {name: [store.meta.settings for store in part.stores] for name, part in stores.items()}
    settings = {**best.card["settings"], "stores": extracted, "ground_truth": benchmark.digest}
    card = make_card("evaluate", config.model_dump(), dict(best.counts), settings)
    document: dict[str, Any] = {"card": card, "global": _plain(base)}
    if table:
        document |= {"figure": table.figure, "best": _plain(table.best), "rows": table.rows()}
    data = to_json(document)
    name = f"evaluation-{hashlib.sha256(data).hexdigest()[:8]}.json"
    output.publish(name, data)
    return name


def _plain(result: EvaluationResult) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(result.to_json())
    del values["card"]
    return values


def _show(base: EvaluationResult, table: Sweep | None, figure: str, said: Sequence[str]) -> None:
    """Print the table, the global ranking first and the best setting marked, and the notes not yet said."""
    means = [name for name in base.figures if "_mAP" in name]
    measure = means[0].partition("_")[2]
    title = f"{base.protocol}, {measure} in %"
    shown = Table(title=title, title_justify="left", title_style="bold", box=None)
    for name in ("", "lamb", "temp", "num_rerank", *(name.partition("_")[0] for name in means)):
        shown.add_column(name, justify="right" if name else "left", no_wrap=True)
    shown.add_row("global", "", "", "", *(_percent(base.figures[name]) for name in means))
    results = table.results if table else ()
    for result in results:
        mark = "best" if table and len(results) > 1 and result is table.best else "re-ranked"
        setting = result.settings
        asked, used = setting["num_rerank"], setting["num_rerank_used"]
        count = f"{asked:,}" if asked == used else f"{asked:,} ({used:,} used)"
        numbers = (f"{setting['lamb']:g}", f"{setting['temp']:g}", count)
        cells = [mark, *numbers, *(_percent(result.figures[name]) for name in means)]
        shown.add_row(*cells, style="bold" if mark == "best" else None)
    if len(results) > 1:
        shown.caption, shown.caption_justify = f"best: highest {figure}", "left"
    Console(highlight=False).print(shown)
    for note in sorted({note for result in (base, *results) for note in result.notes}.difference(said)):
        print(f"note: {note}")  # noqa: T201


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.2f}"

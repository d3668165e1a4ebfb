"""The verbs that search: neighbors, score, evaluate."""

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
from ames_ray.cli.pairs import PairDisplay
from ames_ray.cli.tables import facts
from ames_ray.errors import ResourceError
from ames_ray.evaluation.candidates import candidates
from ames_ray.evaluation.evaluate import evaluate as evaluate_ranking
from ames_ray.evaluation.score_files import save_scores
from ames_ray.evaluation.sweep import check_figure, sweep
from ames_ray.files import Storage, to_json
from ames_ray.retrieval.benchmark import Benchmark
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.kept import (
    forget_pieces,
    kept_scores,
    kept_shortlist,
    read_shortlist,
    write_shortlist,
)
from ames_ray.retrieval.neighbors import find_neighbors
from ames_ray.retrieval.scoring import ScoreOptions, check_belongs, score_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ames_ray.config.retrieval import EvaluateConfig, NeighborsConfig, ScoreConfig
    from ames_ray.evaluation.result import EvaluationResult
    from ames_ray.evaluation.scores import Shortlist
    from ames_ray.evaluation.sweep import Sweep
    from ames_ray.model.reranker import Reranker


def neighbors(config: NeighborsConfig) -> None:
    """Find the nearest images of every query and write them to one file."""
    query, gallery = Gallery.open([config.query]), Gallery.open(config.gallery)
    found = find_neighbors(
        query.stores[0], gallery, config.pooled, config.shortlist_size, exclude_self=config.exclude_self
    )
    write_shortlist(found, config.output)
    lengths = (found.rows >= 0).sum(axis=1)
    facts(
        "neighbors",
        {
            "queries": f"{len(found):,}, {int((lengths == 0).sum()):,} of them failed",
            "gallery": f"{len(gallery):,} images, {int((~gallery.ok).sum()):,} of them failed",
            "neighbors": f"{int(lengths.min()):,} to {int(lengths.max()):,} a query",
            "written": config.output,
        },
    )


def score(config: ScoreConfig) -> None:
    """Score the head of every list of a shortlist and write the logits to one file."""
    query, gallery = Gallery.open([config.query]), Gallery.open(config.gallery)
    shortlist = read_shortlist(config.nn_file)
    check_belongs(shortlist, query.stores[0], gallery)
    if config.ground_truth is None:
        pairs = _head(shortlist, config.num_rerank)
    else:
        benchmark = Benchmark.read(config.ground_truth, config.protocol)
        benchmark.check(query, gallery)
        pairs = candidates(benchmark.protocol, benchmark.queries_of(shortlist), config.num_rerank)
    pieces = Storage.at(f"{config.output}.pieces")
    model = _load(config, config.model)
    with PairDisplay() as display:
        found = score_pairs(
            pairs, query.stores[0], gallery, model, _options(config), pieces=pieces, report=display
        )
    save_scores(found, config.output)
    forget_pieces(pieces)
    facts(
        "score",
        {
            "pairs": f"{int((found.rows >= 0).sum()):,} of {len(found):,} queries",
            "descriptors": f"{found.query_desc_num:,} a query, {found.db_desc_num:,} a gallery image",
            "written": config.output,
        },
    )


def evaluate(config: EvaluateConfig) -> None:
    """Print one table of mean average precisions, and write it with its card."""
    benchmark = Benchmark.read(config.ground_truth, config.protocol)
    figure = config.figure or benchmark.figure
    check_figure(benchmark.protocol, figure)
    query, gallery = Gallery.open([config.query]), Gallery.open(config.gallery)
    benchmark.check(query, gallery)
    for note in (*query.stores[0].manifest.notes, *gallery.stores[0].manifest.notes):
        print(note, file=sys.stderr)  # noqa: T201
    output = Storage.at(config.output)
    with output.own("ames-ray evaluate"):
        shortlist = benchmark.queries_of(_first_ranking(config, output, benchmark, query, gallery))
        base = evaluate_ranking(benchmark.protocol, shortlist)
        table = None
        if config.model is not None:
            pairs = candidates(benchmark.protocol, shortlist, max(config.num_rerank))
            model = _load(config, config.model)
            with PairDisplay() as display:
                scores = kept_scores(
                    output, pairs, query.stores[0], gallery, model, _options(config), display
                )
            table = sweep(
                benchmark.protocol,
                shortlist,
                scores,
                config.lamb,
                config.temp,
                config.num_rerank,
                figure,
            )
        name = _publish(output, config, {"query": query, "gallery": gallery}, base, table)
    _show(base, table, figure)
    print(f"written: {output.uri}/{name}")  # noqa: T201


def _first_ranking(
    config: EvaluateConfig, output: Storage, benchmark: Benchmark, query: Gallery, gallery: Gallery
) -> Shortlist:
    if config.nn_file is None:
        size = benchmark.list_length(max(config.num_rerank))
        return kept_shortlist(output, query.stores[0], gallery, config.pooled, size)
    shortlist = read_shortlist(config.nn_file)
    check_belongs(shortlist, query.stores[0], gallery)
    return shortlist


def _publish(
    output: Storage,
    config: EvaluateConfig,
    stores: Mapping[str, Gallery],
    base: EvaluationResult,
    table: Sweep | None,
) -> str:
    """Write a result under a name made from its content, so that none replaces another."""
    best = table.best if table else base
    extracted = {name: [store.meta.settings for store in part.stores] for name, part in stores.items()}
    settings = {**best.card["settings"], "stores": extracted}
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


def _show(base: EvaluationResult, table: Sweep | None, figure: str) -> None:
    """Print the table: the global ranking, then every setting, the best one marked."""
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
    for note in sorted({note for result in (base, *results) for note in result.notes}):
        print(f"note: {note}")  # noqa: T201


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.2f}"


def _head(shortlist: Shortlist, num_rerank: int) -> Shortlist:
    head = slice(None, num_rerank)
    return replace(
        shortlist,
        rows=shortlist.rows[:, head],
        similarities=shortlist.similarities[:, head],
        settings={**shortlist.settings, "num_rerank": num_rerank},
    )


def _options(config: EvaluateConfig | ScoreConfig) -> ScoreOptions:
    return ScoreOptions(config.query_desc_num, config.db_desc_num, config.batch_size, config.precision)


def _load(config: EvaluateConfig | ScoreConfig, weights: str) -> Reranker:
    import torch

    from ames_ray.model.reranker import load_reranker

    has_gpu = torch.cuda.is_available()
    if config.device == "cuda" and not has_gpu:
        raise ResourceError(
            f"device=cuda, but torch {torch.__version__} sees no CUDA device", "pass device=cpu"
        )
    device = "cuda" if config.device != "cpu" and has_gpu else "cpu"
    return load_reranker(config.reranker, weights, device=device, precision=config.precision)

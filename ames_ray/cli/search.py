"""The verb that searches with photos: search."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ames_ray.cli.device import local_device
from ames_ray.config.photo_search import open_search
from ames_ray.errors import FailedRowsError
from ames_ray.files import Storage
from ames_ray.images.reasons import EXPLANATIONS
from ames_ray.report.page import PageText, search_page
from ames_ray.retrieval.benchmark import Benchmark
from ames_ray.retrieval.gallery import Gallery
from ames_ray.search.queries import find_queries
from ames_ray.search.results import printable
from ames_ray.search.truth import judged
from ames_ray.store.reader import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ames_ray.config.search import SearchConfig
    from ames_ray.search.comparison import Comparison
    from ames_ray.search.results import Hit, SearchResult

PAGE, LINES = "index.html", "results.jsonl"
_SHOWN_QUERIES, _SHOWN_HITS = 20, 10


def search(config: SearchConfig) -> None:
    """Search with one photo or a folder of them; exit code 3 where a photo could not be used."""
    store = Store.open(config.store)
    photos = find_queries(config.query, config.bbox)
    benchmark = _benchmark(config, store)
    found = open_search(config, store, local_device(config.device))
    results, comparison = found(photos), found.searcher.comparison
    if benchmark is not None:
        results = judged(results, benchmark)
        _say_unjudged(results, benchmark)
    text = _text(config, store, comparison)
    output = Storage.at(config.output)
    lines = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for r in results for line in r.lines())
    output.publish(LINES, lines.encode())
    output.publish(PAGE, search_page(results, text))
    _show(results, comparison)
    print(f"written: {output.address(PAGE)} and {LINES}")  # noqa: T201
    _refuse_failed(results)


def _benchmark(config: SearchConfig, store: Store) -> Benchmark | None:
    if config.ground_truth is None:
        return None
    benchmark = Benchmark.read(config.ground_truth)
    benchmark.check_gallery(Gallery((store,)))
    return benchmark


def _say_unjudged(results: Sequence[SearchResult], benchmark: Benchmark) -> None:
    found = [result for result in results if result.hits]
    unjudged = [result for result in found if result.hits[0].verdict is None]
    if unjudged:
        first = printable(unjudged[0].query.record.image_id)
        print(  # noqa: T201
            f"{len(unjudged):,} of {len(found):,} photos are no queries of {benchmark.uri}, or may be "
            f"several of them: their results are not judged; the first is {first}",
            file=sys.stderr,
        )


def _text(config: SearchConfig, store: Store, comparison: Comparison) -> PageText:
    settings = store.meta.settings
    facts = {
        "images searched": f"{store.searchable:,}",
        "backbone": str(settings.get("backbone", "unknown")),
        "first ranking": f"inner product of the {config.pooled} descriptors, exact",
        "re-ranked": f"the first {config.num_rerank:,} by {comparison.name}" if config.num_rerank else "no",
    }
    return PageText("Search results", comparison.name, comparison.unit, comparison.reason, facts)


def _show(results: Sequence[SearchResult], comparison: Comparison) -> None:
    console = Console(highlight=False)
    good = [result for result in results if result.query.ok]
    if len(good) == 1:
        console.print(_hits(good[0], comparison))
        return
    if good:
        console.print(_first_hits(good[:_SHOWN_QUERIES], comparison))
    more = len(good) - _SHOWN_QUERIES
    if more > 0:
        console.print(f"… and {more:,} more queries")


def _hits(result: SearchResult, comparison: Comparison) -> Table:
    """The first hits of a query."""
    table = _table(printable(result.query.record.image_id), "rank", comparison)
    table.add_column("similarity", justify="right")
    table.add_column("moved", justify="right")
    for hit in result.top[:_SHOWN_HITS]:
        moved = hit.before - hit.rank
        arrow = "=" if not moved else f"{'↑' if moved > 0 else '↓'}{abs(moved):,}"
        table.add_row(str(hit.rank), *_name_and_score(hit), f"{hit.similarity:.4f}", arrow)
    return table


def _first_hits(results: Sequence[SearchResult], comparison: Comparison) -> Table:
    """A line for each query: its first hit, and where known the place of its first right one."""
    table = _table("the first result of each query", "query", comparison)
    known = any(hit.verdict for result in results for hit in result.hits)
    if known:
        table.add_column("first right", no_wrap=True)
    for result in results:
        right = [_right(result)] if known else []
        for hit in [hit for hit in result.top if hit.verdict != "junk"][:1]:
            table.add_row(escape(printable(result.query.record.image_id)), *_name_and_score(hit), *right)
    return table


def _right(result: SearchResult) -> str:
    places = (result.first_right(before=True), result.first_right())
    return " → ".join("–" if place is None else f"{place:,}" for place in places)


def _table(title: str, first: str, comparison: Comparison) -> Table:
    table = Table(title=escape(title), title_justify="left", title_style="bold", box=None)
    table.add_column(first, justify="right" if first == "rank" else "left", overflow="fold")
    table.add_column("image", overflow="fold")
    table.add_column(comparison.unit or "score", justify="right")
    return table


def _name_and_score(hit: Hit) -> tuple[str, str]:
    return escape(printable(hit.record.image_id)), "" if hit.score is None else f"{hit.score:.4g}"


def _refuse_failed(results: Sequence[SearchResult]) -> None:
    failed = [result.query for result in results if not result.query.ok]
    if not failed:
        return
    for query in failed:
        explained = EXPLANATIONS.get(query.reason or "", "")
        print(f"{printable(query.record.image_id)}: {query.reason}: {explained}", file=sys.stderr)  # noqa: T201
    raise FailedRowsError(
        f"{len(failed):,} of {len(results):,} query photos could not be used; they are named above",
        "the others were searched" if len(failed) < len(results) else None,
    )

"""The verb that shows all of it on photos that come with packages: demo."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ames_ray.cli.tables import facts
from ames_ray.cli.verbs import VERBS
from ames_ray.config.compose import compose
from ames_ray.files import Storage, to_json
from ames_ray.report.contact_sheet import SheetItem, contact_sheet
from ames_ray.samples.demo_queries import demo_truth, write_queries
from ames_ray.search.match import RATIO
from ames_ray.store.reader import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ames_ray.config.demo import DemoConfig
    from ames_ray.types import ImageFeatures

_SHEET_COLUMNS = 4
_SHEET_PICTURES = 12
_NETWORK = ["model=sift_ames", "query_desc_num=100", "db_desc_num=100"]
"""The network of the package, and as many descriptors as in its training."""
_MATCHES = ["reranker=mutual", f"model={RATIO}"]
"""What `search` does without a model, as `evaluate` names it."""


def demo(config: DemoConfig) -> None:
    """Photos, their store, searches, an evaluation and its report, by commands that anyone can give again."""
    folder = _as_typed(Path(config.output))
    photos, store, queries, query_store = _inside(folder, "photos", "store", "queries", "query_store")
    page, network_page, results, tuning = _inside(folder, "page", "page_sift_ames", "results", "tuning")
    sheet, truth, report = _inside(folder, "contact_sheet.png", "ground_truth.json", "report.html")

    _run("samples", f"source={config.source}", f"output={photos}")
    _run("extract", f"images={photos}", "backbone=sift", f"output={store}")
    items = [SheetItem.of(features) for features in _spread(store)]
    contact_sheet(items, Path(sheet), columns=_SHEET_COLUMNS, title="The strongest RootSIFT descriptors")

    write_queries(Path(photos), Path(queries))
    _run("extract", f"images={queries}", "backbone=sift", f"output={query_store}")
    known = demo_truth(_names(query_store), _names(store))
    Storage.at(folder).publish(Path(truth).name, to_json(known))

    searched = [queries, f"store={store}", f"ground_truth={truth}"]
    _run("search", *searched, f"output={page}")
    _run("search", *searched, *_NETWORK, f"output={network_page}")
    benchmark = [f"query={query_store}", f"gallery={store}", f"ground_truth={truth}"]
    by_matches, by_network = (
        _run("evaluate", *benchmark, *model, "num_rerank=100", f"output={results}")
        for model in (_MATCHES, _NETWORK)
    )
    _run("compare", by_matches, by_network)
    _run("report", by_network, f"output={report}")
    _run("tune", "sweep=exact", *benchmark, *_NETWORK, f"output={tuning}")
    facts(
        "demo",
        {
            "contact sheet": sheet,
            "page, matches": f"{page}/index.html",
            "page, sift_ames": f"{network_page}/index.html",
            "report": report,
            "report, tuning": f"{tuning}/exact/report.html",
        },
    )
    print("\n".join(["try next:", *(f"  {_shown(words)}" for words in _next(folder))]))  # noqa: T201


def _as_typed(folder: Path) -> Path:
    """A folder below the current one is shown without it."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _inside(folder: Path, *names: str) -> list[str]:
    return [str(folder / name) for name in names]


def _run(verb: str, *words: str) -> Any:
    """Show a command, do what it does, and return what that returns."""
    print(f"$ {_shown([verb, *words])}", flush=True)  # noqa: T201
    found = VERBS[verb]
    return found.load_function()(compose(found.load_config(words), words))


def _shown(words: Sequence[str]) -> str:
    return shlex.join(["ames-ray", *words])


def _next(folder: Path) -> list[list[str]]:
    """Commands to try on what the demo left in its folder."""
    store = f"store={folder / 'store'}"
    photo = min((folder / "queries").iterdir())
    bits = [f"in={folder / 'store'}", "model=sift_ames_dist", f"out={folder / 'store_bits'}"]
    return [
        ["search", str(photo), store, "num_results=200", f"output={folder / 'one_photo'}"],
        ["store", "project", *bits],
        ["serve", store],
    ]


def _names(store: str) -> list[str]:
    return [record.image_id for record in Store.open(store).manifest]


def _spread(store: str) -> Iterator[ImageFeatures]:
    """Some pictures of a store, evenly spread over it."""
    opened = Store.open(store)
    good = opened.ok.nonzero()[0]
    step = max(1, len(good) // _SHEET_PICTURES)
    wanted = set(good[::step][:_SHEET_PICTURES].tolist())
    for shard in range(opened.meta.shards):
        yield from (features for features in opened.features(shard) if features.record.row in wanted)

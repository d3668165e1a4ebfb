"""The verbs that show ames-ray on photos that come with packages: samples, demo."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from ames_ray.cli.images import run, show
from ames_ray.cli.tables import facts
from ames_ray.config.compose import compose
from ames_ray.config.extract import ExtractConfig
from ames_ray.config.options import dataset_options
from ames_ray.datasets.registry import build_manifest
from ames_ray.samples.build import build_samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ames_ray.config.demo import DemoConfig, SamplesConfig
    from ames_ray.samples.build import SampleReport
    from ames_ray.types import ImageFeatures

_SHEET_COLUMNS = 4
_SHEET_PICTURES = 12


def samples(config: SamplesConfig) -> None:
    """Put real photos, or a benchmark made of them, into a folder and say where they come from."""
    if config.set == "landmarks_mini":
        _landmarks_mini(config)
    else:
        _show_samples(build_samples(Path(config.output), config.source))


def _landmarks_mini(config: SamplesConfig) -> None:
    from rich.console import Console

    from ames_ray.samples.landmarks_mini import build_landmarks_mini

    with Console(stderr=True).status("photos from Debian packages") as status:
        index, _ = build_landmarks_mini(
            Path(config.output),
            seeds=config.seeds,
            train_views=config.train_views,
            report=lambda done: status.update(f"{done:,} pictures"),
        )
    pictures = {name: f"{count:,} pictures" for name, count in index["pictures"].items()}
    facts("landmarks_mini", {"from": index["source"], **pictures, "card": f"{config.output}/README.md"})


def demo(config: DemoConfig) -> None:
    """Photos, extraction, a contact sheet, searches with a few of the photos, and what to try next."""
    from ames_ray.cli.demo_search import best_positives, rerankings, search_samples
    from ames_ray.report.contact_sheet import SheetItem, contact_sheet

    folder = Path(config.output)
    photos, store, sheet = folder / "photos", folder / "store", folder / "contact_sheet.png"
    _show_samples(build_samples(photos, config.source))
    job = compose(ExtractConfig, [f"images={photos}", "backbone=sift", f"output={store}"])
    show(run(job, build_manifest(dataset_options(job))))
    items = [SheetItem.of(features) for features in _spread(str(store))]
    contact_sheet(items, sheet, columns=_SHEET_COLUMNS, title="The strongest RootSIFT descriptors")
    pages = {}
    for reranking in rerankings():
        page = folder / reranking.folder / "index.html"
        found = search_samples(photos, str(store), page, reranking)
        facts(f"right photo: rank before → after re-ranking by {reranking.name}", best_positives(found))
        pages[f"page, {reranking.name}"] = str(page)
    facts("demo", {"contact sheet": str(sheet), **pages})
    print("\n".join(["try next:", *(f"  {line}" for line in next_commands(folder))]))  # noqa: T201


def next_commands(folder: Path) -> list[str]:
    """Commands to try on what the demo left in its folder."""
    from ames_ray.cli.demo_search import present_queries

    store = str(folder / "store")
    photo = folder / "photos" / present_queries(folder / "photos")[0].photo
    neighbors = [f"query={store}", f"gallery={store}", "exclude_self=true"]
    commands = (
        ["search", str(photo), f"store={store}", f"output={folder / 'one_photo'}"],
        ["neighbors", *neighbors, f"output={folder / 'neighbors.parquet'}"],
        ["store", "info", store],
    )
    return [shlex.join(["ames-ray", *words]) for words in commands]


def _spread(store: str) -> Iterator[ImageFeatures]:
    """Some pictures of a store, evenly spread over it."""
    from ames_ray.store.reader import Store

    opened = Store.open(store)
    good = opened.ok.nonzero()[0]
    step = max(1, len(good) // _SHEET_PICTURES)
    wanted = set(good[::step][:_SHEET_PICTURES].tolist())
    for shard in range(opened.meta.shards):
        yield from (features for features in opened.features(shard) if features.record.row in wanted)


def _show_samples(report: SampleReport) -> None:
    rows = {"photos": f"{report.photos:,}", "from": report.source, "folder": report.folder}
    if report.fallback:
        rows["instead of more"] = report.fallback
    facts("samples", {**rows, "credits": f"{report.folder}/CREDITS.md"})

"""The verbs that work on stores: info, verify, export, import, merge, project."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from ames_ray.cli.bar import Bar
from ames_ray.cli.tables import counts, facts
from ames_ray.config.options import list_of
from ames_ray.datasets.registry import build_manifest
from ames_ray.errors import StoreError
from ames_ray.extraction.plan import size
from ames_ray.store.info import describe_store
from ames_ray.store.reader import Store

if TYPE_CHECKING:
    from rich.console import Console

    from ames_ray.config.store import (
        ExportConfig,
        ImportConfig,
        InfoConfig,
        MergeConfig,
        ProjectJob,
        VerifyConfig,
    )


class ProjectDisplay(Bar):
    """Shows how many rows are projected; called with rows done and rows in all.

    Args:
        console: Where to show it; stderr by default, so that results alone go to stdout.
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(
            console, TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        )
        self._task = self._bar.add_task("rows")

    def __call__(self, done: int, total: int) -> None:
        """Show what is done."""
        self._bar.update(self._task, completed=done, total=total)


def info(config: InfoConfig) -> None:
    """Print what a store is and how far it is."""
    _show(Store.open(config.store, allow_partial=True))


def verify(config: VerifyConfig) -> None:
    """Compare every shard with its hash and the list; an error names each one that differs."""
    from ames_ray.store.verify import verify as verify_store

    report = verify_store(Store.open(config.store, allow_partial=True))
    facts("store verify", {"sound shards": f"{report.sound:,} of {report.shards:,}"})
    if not report.ok:
        raise StoreError(
            "\n".join((f"{config.store} is not as it was written:", *report.problems)),
            "delete the shards that are named; the command that made the store then redoes only those",
        )


def export(config: ExportConfig) -> None:
    """Write the authors' files, or one packed file, and print their names."""
    from ames_ray.store.convert import export_hdf5

    for path in export_hdf5(Store.open(config.store), config.output, config.layout):
        print(path)  # noqa: T201


def import_(config: ImportConfig) -> None:
    """Make a store of the authors' files."""
    from ames_ray.store.convert import import_hdf5

    manifest = build_manifest(list_of(config))
    _show(
        import_hdf5(
            config.inputs, manifest, config.output, pooled=config.globals, shard_rows=config.shard_rows
        )
    )


def merge(config: MergeConfig) -> None:
    """Join stores, rows one after the other."""
    from ames_ray.store.merge import merge as merge_stores

    _show(merge_stores([Store.open(uri) for uri in config.stores], config.output))


def project(config: ProjectJob) -> None:
    """Make a store of projected descriptors."""
    from ames_ray.retrieval.project import LoadReranker, project_store

    load = LoadReranker(config.reranker, config.model)
    hire = None
    if not config.here:
        from ames_ray.distributed.crew import cluster

        hire = cluster(config.address, config.workers, 1)
    with ProjectDisplay() as display:
        made = project_store(Store.open(config.source), load, config.out, hire=hire, report=display)
    _show(made)


def _show(store: Store) -> None:
    about = describe_store(store)
    state = "finished" if about.finished else f"unfinished: {about.shards_done:,} of {about.shards:,} shards"
    pooled = ", ".join(f"{name} ({width})" for name, width in sorted(about.pooled.items()))
    an_image = size(about.stored_bytes / max(1, about.rows_done))
    facts(
        "store",
        {
            "store": about.uri,
            "state": state,
            "rows": f"{about.rows_done:,} of {about.rows:,}, {about.rows_ok:,} with descriptors",
            **counts(about.failed),
            **counts(about.flagged, "kept, but"),
            **({"  removed": f"{about.removed:,}, not found any more"} if about.removed else {}),
            "bytes": f"{size(about.stored_bytes)}, {an_image} an image",
            "shards": f"{about.shards:,} of {about.shard_rows:,} rows, {about.format}",
            "local": f"at most {about.topk:,} × {about.dim:,}, {about.codec}",
            "global": pooled or "none",
            "packed": "yes" if about.packed else "no",
            "images in": about.root,
            "settings": json.dumps(about.settings, sort_keys=True),
            **{f"note {number}": note for number, note in enumerate(about.notes, 1)},
        },
    )

"""Stores that are filled from other files: a killed copy goes on, but never with other sources."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ames_ray.card import make_card
from ames_ray.errors import StoreError
from ames_ray.files import to_json
from ames_ray.store.guard import publish
from ames_ray.store.meta import CARD, SOURCES
from ames_ray.store.removed import REMOVED, write_removed
from ames_ray.store.shards import is_finished, read_marks
from ames_ray.store.writer import ShardWriter, StoreWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ames_ray.datasets.manifest import Manifest
    from ames_ray.files import Storage
    from ames_ray.store.meta import ShardSummary, StoreMeta
    from ames_ray.store.writer import ShardTask
    from ames_ray.types import ImageFeatures


def fill(
    storage: Storage,
    meta: StoreMeta,
    manifest: Manifest,
    features: Callable[[int, int], Iterable[ImageFeatures]],
    *,
    job: str,
    sources: Sequence[Mapping[str, Any]],
    removed: Sequence[int] = (),
) -> None:
    """Write a whole store, or what is missing of it.

    Args:
        storage: Folder of the new store.
        meta: What it will hold.
        manifest: Its image list.
        features: Rows start … stop - 1.
        job: Verb, for the card and for a second run.
        sources: What identifies the files that the rows come from.
        removed: Rows of photos that are gone.

    Raises:
        StoreError: The folder holds something else, a finished store, or a copy of other files.
    """
    with filling(storage, meta, manifest, job=job, sources=sources, removed=removed) as tasks:
        for task in tasks:
            write_shard(storage, meta, task, features(task.start, task.stop))


@contextmanager
def filling(
    storage: Storage,
    meta: StoreMeta,
    manifest: Manifest,
    *,
    job: str,
    sources: Sequence[Mapping[str, Any]],
    removed: Sequence[int] = (),
) -> Iterator[list[ShardTask]]:
    """The shards that are missing; after the block, in which they are written, the store is finished.

    Arguments and errors are those of `fill`.
    """
    with storage.own(f"ames-ray {job}"):
        _require_same_sources(storage, sources)
        writer = StoreWriter.open(storage, meta, manifest)
        tasks = writer.pending()
        if not tasks and is_finished(storage):
            raise _finished(storage)
        publish(storage, SOURCES, to_json(sources))
        yield tasks
        if removed or storage.exists(REMOVED):
            write_removed(storage, removed)
        result = {"rows": meta.rows, "failed": sum(s.rows - s.ok for s in writer.summaries())}
        names = [{key: source[key] for key in ("name", "rows")} for source in sources]
        writer.finish(make_card(job, {"sources": names}, result, meta.settings))


def write_shard(
    storage: Storage, meta: StoreMeta, task: ShardTask, features: Iterable[ImageFeatures]
) -> ShardSummary:
    """Write and publish one shard, row by row."""
    with ShardWriter(storage, meta, task.shard, task.start, task.stop) as shard:
        for item in features:
            shard.write([item])
        return shard.publish()


def _require_same_sources(storage: Storage, sources: Sequence[Mapping[str, Any]]) -> None:
    if storage.exists(SOURCES) and storage.read(SOURCES) == to_json(sources):
        return
    if storage.exists(CARD):
        raise _finished(storage)
    if read_marks(storage):
        raise StoreError(
            f"{storage.uri} holds a part of a store made from other files", "choose another output="
        )


def _finished(storage: Storage) -> StoreError:
    return StoreError(f"{storage.uri} holds a finished store already", "choose another output=")

"""A store of raw descriptors to what a database keeps of them: shard by shard, by any number of workers."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from ames_ray.errors import WeightsError
from ames_ray.files import Storage
from ames_ray.model.projection import PROJECTION, project_image, projected_kind
from ames_ray.retrieval.crew import as_finished, threads
from ames_ray.store.copying import filling, write_shard
from ames_ray.store.reader import Store
from ames_ray.store.shards import content_digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ames_ray.model.reranker import Reranker
    from ames_ray.retrieval.crew import Hire
    from ames_ray.store.meta import StoreMeta
    from ames_ray.store.writer import ShardTask


@dataclass(frozen=True, slots=True)
class LoadReranker:
    """Loads a re-ranker when called, on the CPU of the process that calls: the same bytes anywhere.

    Attributes:
        name: Kind of re-ranker.
        weights: File, or name of published weights.
    """

    name: str
    weights: str

    def __call__(self) -> Reranker:
        """The re-ranker.

        Raises:
            WeightsError: The weights are missing here, or do not fit.
        """
        from ames_ray.model.reranker import load_reranker

        return load_reranker(self.name, self.weights)


class ShardProjector:
    """What a worker does with a shard.

    Args:
        store: The store of raw descriptors.
        storage: Folder of the projected one.
        meta: What that one holds.
        load: Makes the re-ranker.

    Raises:
        WeightsError: It is another one than that of the process that gives out the tasks.
    """

    def __init__(self, store: Store, storage: Storage, meta: StoreMeta, load: Callable[[], Reranker]) -> None:
        self._store = store
        self._storage = storage
        self._meta = meta
        self._reranker = load()
        if self._reranker.spec.projection_digest != meta.settings[PROJECTION]:
            raise WeightsError(
                "a worker has other weights than the process that started it",
                "the same file must lie under the same path on every node",
            )

    def __call__(self, task: ShardTask) -> int:
        """Project and publish one shard; returns its number of rows."""
        rows = (project_image(item, self._reranker) for item in self._store.features(task.shard))
        return write_shard(self._storage, self._meta, task, rows).rows


def project_store(
    store: Store,
    load: Callable[[], Reranker],
    output: str,
    *,
    hire: Hire | None = None,
    report: Callable[[int, int], None] = lambda *_: None,
) -> Store:
    """Write a store with payloads in place of descriptors; the same call goes on where a killed one stopped.

    Everything else stays: rows, reasons, locations, weights, global descriptors, shards.

    Args:
        store: A whole store of raw descriptors.
        load: Makes the re-ranker, also in the workers: it must be picklable where `hire` needs that.
        output: Folder or address of the new store.
        hire: Workers; none for threads of this process.
        report: Told how many rows are done, of how many.

    Returns:
        The new store, open.

    Raises:
        StoreError: The store is projected already, or of another backbone or width than the model's; or the
            output holds something else.
        WeightsError: A worker loaded other weights.
        ResourceError: There are no workers; nothing is begun then.
    """
    store.require_all()
    reranker = load()
    raw = store.meta
    kind = projected_kind(raw.settings, raw.dim, raw.codec, reranker.spec, store.storage.uri)
    meta = replace(raw, format=raw.own_format, codec=kind.codec, dim=kind.dim, settings=kind.settings)
    storage = Storage.at(output)
    source = {
        "name": Storage.of_file(store.storage.uri)[1],
        "rows": store.meta.rows,
        "content": content_digest(store.summaries),
    }
    removed = store.removed.tolist()
    with ExitStack() as hired:
        # Workers first: where there are none, no store is begun. They end before it is let go.
        crew = hired.enter_context((hire or threads())(partial(ShardProjector, store, storage, meta, load)))
        with (
            filling(
                storage, meta, store.manifest, job="store project", sources=[source], removed=removed
            ) as tasks,
            hired.pop_all(),
        ):
            done = meta.rows - sum(task.stop - task.start for task in tasks)
            report(done, meta.rows)
            for _, rows in as_finished(crew, tasks):
                done += rows
                report(done, meta.rows)
    return Store.open(output)

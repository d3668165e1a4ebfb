"""Extraction on Ray Data: shard tasks through a pool of workers that write their own shards.

Pixels and descriptors never pass through Ray's object store: a task is a few numbers, its result a summary.
A retried task writes the same bytes under the same name, so retries are harmless.
"""

from __future__ import annotations

import json
import math
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import chain
from typing import TYPE_CHECKING, Protocol

import ray
import ray.data

from ames_ray.backbones.registry import uses_network
from ames_ray.card import make_card
from ames_ray.config.inputs import keep_inputs
from ames_ray.config.options import store_meta
from ames_ray.distributed.board import Board, BoardState
from ames_ray.distributed.runtime import (
    PATIENCE_SECONDS,
    START_SECONDS,
    WorkerPool,
    beside_driver,
    connected,
    has_room,
    local_cpus,
    say_if_crowded,
    size_pool,
)
from ames_ray.distributed.stream import ticking
from ames_ray.distributed.worker import ExtractWorker, probe
from ames_ray.errors import AmesError, FailedRowsError, RunError
from ames_ray.extraction.attempts import forget_all
from ames_ray.extraction.plan import make_plan, require_room
from ames_ray.files import Storage, to_json
from ames_ray.store.clear import clear, store_files, stored_bytes
from ames_ray.store.meta import FAILED, JOB, add_counts
from ames_ray.store.removed import write_removed
from ames_ray.store.shards import is_finished
from ames_ray.store.writer import ShardTask, StoreWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ray.actor import ActorHandle

    from ames_ray.config.extract import ExtractConfig
    from ames_ray.datasets.manifest import Manifest
    from ames_ray.descriptors.extractor import ExtractorSpec
    from ames_ray.store.meta import StoreMeta
    from ames_ray.types import ImageRecord

_PROBE_ROWS = 16
_DEATHS = (
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.OutOfMemoryError,
    ray.exceptions.NodeDiedError,
)
"""What Ray raises where a task's process died, or its node."""


class Watcher(Protocol):
    """Whoever shows a run to people."""

    def begin(self, rows: int, done: int) -> None:
        """The run starts: `rows` in all, `done` of them are there already."""

    def update(self, state: BoardState) -> None:
        """Called about twice a second."""


@dataclass(frozen=True, slots=True)
class ExtractReport:
    """What a run did.

    Attributes:
        output: Folder or address of the store.
        rows: Rows of the store.
        computed: Rows that this run computed.
        failed: Failed rows of the whole store by reason.
        flagged: Rows that are usable but suspicious, by reason.
        stored_bytes: Size of the shards.
        seconds: From the first to the last image, start-up aside.
        limit: What limited the rate, as a sentence; empty where nothing was computed.
        workers: Description of each worker.
    """

    output: str
    rows: int
    computed: int
    failed: dict[str, int]
    flagged: dict[str, int]
    stored_bytes: int
    seconds: float
    limit: str
    workers: tuple[str, ...]


def run(
    config: ExtractConfig,
    manifest: Manifest,
    watcher: Watcher,
    *,
    retry: bool = False,
    removed: Sequence[int] | None = None,
) -> ExtractReport:
    """Extract what is missing in the store, or with `retry` the rows that failed.

    Args:
        config: The job.
        manifest: The image list.
        watcher: Shown the progress.
        retry: Compute failed rows again; the others are kept.
        removed: Rows whose photos are gone, in place of those that the store names; none to leave these.

    Raises:
        ConfigError: A setting names a file of the store that `overwrite` would delete.
        DatasetError: `overwrite` is set and none of the first images can be read.
        StoreError: The output is owned by another run, or was made with other settings.
        ResourceError: The workers or the bytes do not fit.
        WeightsError: A weights file is missing or foreign.
        RunError: The run stalled or a worker could not go on; the same command resumes.
        FailedRowsError: `strict` is set and rows failed.
    """
    storage = Storage.at(config.output)
    if config.overwrite:
        keep_inputs(config, storage, store_files(storage))
    need = (config.workers or local_cpus()) * config.cpus_per_worker
    with storage.own("ames-ray extract"), connected(config.address, int(need + 0.999)):
        pool = size_pool(
            config.workers,
            config.cpus_per_worker,
            config.gpus_per_worker,
            wait=config.wait,
            wants_gpu=config.device != "cpu" and uses_network(config.backbone, config.weights),
        )
        meta = store_meta(config, manifest, _probe(config, manifest, pool))
        if config.overwrite:
            _clear(config, storage, meta)
        writer = StoreWriter.open(storage, meta, manifest)
        storage.publish(JOB, to_json(config.model_dump()))
        forget_all(storage)
        tasks = writer.retry_failed() if retry else writer.pending()
        todo = sum(task.todo for task in tasks)
        require_room(make_plan(meta, storage, todo), meta, config.output)
        state, seconds = _run_tasks(config, pool, storage, meta, tasks, watcher)
        report = _report(config, writer, state, seconds, todo)
        if removed is not None:
            write_removed(storage, removed)
        if tasks or not is_finished(storage):
            writer.finish(make_card("extract", config.model_dump(), asdict(report), meta.settings))
    if config.strict and report.failed:
        failed = sum(report.failed.values())
        raise FailedRowsError(
            f"{failed} of {report.rows} rows failed, and strict=true",
            f"they are listed in {storage.address(FAILED)}; `ames-ray store retry` redoes them alone",
        )
    return report


def _clear(config: ExtractConfig, storage: Storage, meta: StoreMeta) -> None:
    """Delete the store that lies there, once the new one is sure to fit."""
    plan = make_plan(meta, storage, meta.rows, freed_bytes=stored_bytes(storage))
    require_room(plan, meta, config.output)
    clear(storage)


def _run_tasks(
    config: ExtractConfig,
    pool: WorkerPool,
    storage: Storage,
    meta: StoreMeta,
    tasks: Sequence[ShardTask],
    watcher: Watcher,
) -> tuple[BoardState, float]:
    """Drive the tasks to their end; returns what the board saw and the seconds of work."""
    todo = sum(task.todo for task in tasks)
    watcher.begin(meta.rows, meta.rows - todo)
    # On the driver's node: the loss of any other node must not end the run.
    board = ray.remote(num_cpus=0, scheduling_strategy=beside_driver())(Board).remote()
    state: BoardState = ray.get(board.state.remote())
    if not tasks:
        return state, 0.0
    dataset = ray.data.from_items(
        [{"task": json.dumps(asdict(task))} for task in tasks], override_num_blocks=len(tasks)
    ).map_batches(
        ExtractWorker,
        fn_constructor_args=(config, storage, meta, board),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(pool.workers, len(tasks))),
        num_cpus=pool.cpus,
        num_gpus=pool.gpus,
    )
    try:
        return _watch(config, pool, dataset, board, watcher)
    finally:
        _dismiss(board)


def _watch(
    config: ExtractConfig, pool: WorkerPool, dataset: ray.data.Dataset, board: ActorHandle, watcher: Watcher
) -> tuple[BoardState, float]:
    """Run the dataset to its end; returns what the board saw last and the seconds of work."""
    began = None
    patience = time.monotonic() + PATIENCE_SECONDS
    for _ in chain(ticking(dataset), (None,)):
        state: BoardState = ray.get(board.state.remote())
        watcher.update(state)
        if state.error is not None:
            raise state.error
        if state.workers and began is None:
            began = time.monotonic()
        if began is None and time.monotonic() > patience:
            patience = math.inf
            say_if_crowded(pool)
        if state.workers and state.quiet > config.stall_timeout:
            raise _stalled(config, state)
        limit = config.stall_timeout + START_SECONDS
        if not state.workers and state.quiet > limit and has_room(pool):
            raise RunError(
                f"no worker began within {limit:g} s, and there is room for {pool.workers}",
                "look at weights= and the disk that it is on, or raise stall_timeout= on a slow machine",
            )
    return state, time.monotonic() - (began or time.monotonic())


def _dismiss(board: ActorHandle) -> None:
    """End the workers: one that hangs would keep its CPUs and GPUs as long as the driver lives."""
    with suppress(ray.exceptions.RayError):
        for actor in ray.get(board.members.remote(), timeout=10):
            ray.kill(actor)
        ray.kill(board)


def _stalled(config: ExtractConfig, state: BoardState) -> RunError:
    shards = "; ".join(f"shard {s}: rows {r[0]}–{r[-1]}" for s, r in sorted(state.in_hand.items())[:8])
    return RunError(
        f"no image was finished for {config.stall_timeout:g} s; in hand: {shards or 'nothing'}",
        "finished shards are safe; look at these rows in manifest.parquet, or raise stall_timeout=",
    )


def _probe(config: ExtractConfig, manifest: Manifest, pool: WorkerPool) -> ExtractorSpec:
    """Send one image through one worker before the fan-out, so that a wrong path costs seconds.

    An image that kills its process is for the shards to find: later ones are tried, if the model lives alone.
    """
    records = manifest.records(0, min(_PROBE_ROWS, len(manifest)))
    try:
        return _ask(config, records, pool)
    except _DEATHS:
        alone = _ask(config, [], pool)
    for first in range(1, len(records)):
        with suppress(*_DEATHS):
            return _ask(config, records[first:], pool)
    return alone


def _ask(config: ExtractConfig, records: Sequence[ImageRecord], pool: WorkerPool) -> ExtractorSpec:
    """What the first readable image yields, in a process of its own, or the model where there is none."""
    remote = ray.remote(num_cpus=pool.cpus, num_gpus=pool.gpus, max_retries=0)(probe)
    asked = remote.remote(config, records)
    limit = config.stall_timeout + START_SECONDS
    deadline = time.monotonic() + limit
    if not ray.wait([asked], timeout=min(PATIENCE_SECONDS, limit))[0]:
        say_if_crowded(pool)
    try:
        found: ExtractorSpec | AmesError = ray.get(asked, timeout=max(0.0, deadline - time.monotonic()))
    except ray.exceptions.GetTimeoutError:
        raise RunError(
            f"the first image was not finished within {limit:g} s: it hangs, or other jobs leave it no room",
            f"look at the first {_PROBE_ROWS} rows, at weights= and at other jobs, or raise stall_timeout=",
        ) from None
    if isinstance(found, AmesError):
        raise found
    return found


def _report(
    config: ExtractConfig, writer: StoreWriter, state: BoardState, seconds: float, computed: int
) -> ExtractReport:
    summaries = writer.summaries()
    return ExtractReport(
        output=config.output,
        rows=sum(s.rows for s in summaries),
        computed=computed,
        failed=add_counts(s.failed for s in summaries),
        flagged=add_counts(s.flagged for s in summaries),
        stored_bytes=sum(s.bytes for s in summaries),
        seconds=seconds,
        limit=state.progress.limit() if computed else "",
        workers=tuple(sorted(state.workers.values())),
    )

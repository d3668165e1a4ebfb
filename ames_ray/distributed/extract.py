"""Extraction on Ray Data: shard tasks through a pool of workers that write their own shards.

Pixels and descriptors never pass through Ray's object store: a task is a few numbers, its result a summary.
A retried task writes the same bytes under the same name, so retries are harmless.
"""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import ray
import ray.data

from ames_ray.card import make_card
from ames_ray.datasets.manifest import Manifest
from ames_ray.descriptors.extractor import ExtractorOptions, Prepared, build_extractor
from ames_ray.distributed.board import Board, BoardState
from ames_ray.distributed.runtime import WorkerPool, connected, local_cpus, size_pool
from ames_ray.errors import AmesError, FailedRowsError, ResourceError, RunError
from ames_ray.extraction.attempts import forget_all
from ames_ray.extraction.device import choose_device
from ames_ray.extraction.plan import make_plan, require_room
from ames_ray.extraction.shard import ReadOptions, ShardExtractor, prepare
from ames_ray.files import Storage, to_json
from ames_ray.store.meta import ShardSummary, StoreMeta
from ames_ray.store.writer import ShardTask, StoreWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ray.actor import ActorHandle

    from ames_ray.config.extract import ExtractConfig
    from ames_ray.descriptors.extractor import ExtractorSpec
    from ames_ray.types import ImageRecord

JOB_FILE = "job.json"
_PROBE_ROWS = 16
_TICK_SECONDS = 0.5


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


class ExtractWorker:
    """A `ShardExtractor` in a process of its own; Ray Data calls it with one task at a time."""

    def __init__(self, config: ExtractConfig, storage: Storage, meta: StoreMeta, board: ActorHandle) -> None:
        device, description = _settle(config)
        name = f"{os.uname().nodename}-{os.getpid()}"
        self._manifest = Manifest.read(storage, "manifest.parquet")
        self._extract = ShardExtractor(
            storage,
            meta,
            build_extractor(_extractor_options(config), device),
            _read_options(config),
            batch_size=config.batch_size,
            decode_threads=config.decode_threads,
            report=lambda shard, rows, step: board.post.remote(shard, rows, step),
        )
        board.enter.remote(name, f"{name}: {description}")

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Compute the shard of the one task in the batch."""
        task = ShardTask(**json.loads(batch["task"][0]))
        summary = self._extract(task, self._manifest.records(task.start, task.stop))
        return {"summary": [json.dumps(asdict(summary))]}


def run(
    config: ExtractConfig, manifest: Manifest, watcher: Watcher, *, retry: bool = False
) -> ExtractReport:
    """Extract what is missing in the store, or with `retry` the rows that failed.

    Args:
        config: The job.
        manifest: The image list.
        watcher: Shown the progress.
        retry: Compute failed rows again; the others are kept.

    Raises:
        StoreError: The output is owned by another run, or was made with other settings.
        ResourceError: The workers or the bytes do not fit.
        WeightsError: A weights file is missing or foreign.
        RunError: The run stalled or a worker could not go on; the same command resumes.
        FailedRowsError: `strict` is set and rows failed.
    """
    storage = Storage.at(config.output)
    need = (config.workers or local_cpus()) * config.cpus_per_worker
    with storage.own("ames-ray extract"), connected(config.address, int(need + 0.999)):
        pool = size_pool(
            config.workers,
            config.cpus_per_worker,
            config.gpus_per_worker,
            wants_gpu=config.device != "cpu" and config.backbone not in {"sift", "blank"},
        )
        meta = _meta(config, manifest, _probe(config, manifest, pool))
        writer = StoreWriter.open(storage, meta, manifest)
        storage.publish(JOB_FILE, to_json(config.model_dump()))
        forget_all(storage)
        tasks = writer.retry_failed() if retry else writer.pending()
        todo = sum(task.stop - task.start - len(task.keep) for task in tasks)
        require_room(make_plan(meta, storage, todo), meta, config.output)
        state, seconds = _run_tasks(config, pool, storage, meta, tasks, watcher)
        report = _report(config, writer, state, seconds, todo)
        if tasks or not storage.exists("card.json"):
            writer.finish(make_card("extract", config.model_dump(), asdict(report), meta.settings))
    if config.strict and report.failed:
        failed = sum(report.failed.values())
        raise FailedRowsError(
            f"{failed} of {report.rows} rows failed, and strict=true",
            f"they are listed in {config.output}/failed.csv; `ames-ray store retry` redoes them alone",
        )
    return report


def _run_tasks(
    config: ExtractConfig,
    pool: WorkerPool,
    storage: Storage,
    meta: StoreMeta,
    tasks: Sequence[ShardTask],
    watcher: Watcher,
) -> tuple[BoardState, float]:
    """Drive the tasks to their end; returns what the board saw and the seconds of work."""
    todo = sum(task.stop - task.start - len(task.keep) for task in tasks)
    watcher.begin(meta.rows, meta.rows - todo)
    board = ray.remote(num_cpus=0)(Board).remote()
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
    began = None
    for _ in _ticking(dataset):
        state = ray.get(board.state.remote())
        watcher.update(state)
        if state.workers and began is None:
            began = time.monotonic()
        if state.workers and state.quiet > config.stall_timeout:
            raise _stalled(config, state)
    return ray.get(board.state.remote()), time.monotonic() - (began or time.monotonic())


def _ticking(dataset: ray.data.Dataset) -> Iterator[None]:
    """Consume the dataset in a thread, and tick until it ends; its error is raised here."""
    ended: queue.Queue[BaseException | None] = queue.Queue()

    def consume() -> None:
        try:
            for _ in dataset.iter_rows():
                pass
            ended.put(None)
        except BaseException as error:  # noqa: BLE001 - carried over to the driver's thread
            ended.put(error)

    threading.Thread(target=consume, daemon=True).start()
    while True:
        try:
            error = ended.get(timeout=_TICK_SECONDS)
        except queue.Empty:
            yield
            continue
        if error is not None:
            raise _readable(error) from None
        return


def _readable(error: BaseException) -> BaseException:
    """The AmesError inside what Ray raised; anything else with its last line first."""
    found: BaseException | None = error
    while found is not None:
        cause = getattr(found, "cause", None)
        if isinstance(cause, AmesError):
            return cause
        found = cause or found.__cause__
    last = str(error).strip().splitlines()
    return RunError(
        f"a worker could not go on: {last[-1] if last else type(error).__name__}",
        "finished shards are safe; the same command goes on with the rest",
    )


def _stalled(config: ExtractConfig, state: BoardState) -> RunError:
    shards = "; ".join(f"shard {s}: rows {r[0]}–{r[-1]}" for s, r in sorted(state.in_hand.items())[:8])
    return RunError(
        f"no image was finished for {config.stall_timeout:g} s; in hand: {shards or 'nothing'}",
        "finished shards are safe; look at these rows in manifest.parquet, or raise stall_timeout=",
    )


def _probe(config: ExtractConfig, manifest: Manifest, pool: WorkerPool) -> ExtractorSpec:
    """Send one image through one worker before the fan-out, so that a wrong path costs seconds."""
    probe = ray.remote(num_cpus=pool.cpus, num_gpus=pool.gpus, max_retries=0)(_probe_here)
    records = manifest.records(0, min(_PROBE_ROWS, len(manifest)))
    try:
        found: ExtractorSpec | AmesError = ray.get(probe.remote(config, records))
    except ray.exceptions.RayError as error:
        raise _readable(error) from None
    if isinstance(found, AmesError):
        raise found
    return found


def _probe_here(config: ExtractConfig, records: Sequence[ImageRecord]) -> ExtractorSpec | AmesError:
    try:
        device, _ = _settle(config)
        extractor = build_extractor(_extractor_options(config), device)
    except AmesError as error:
        return error
    for record in records:
        ready = prepare(record, extractor, _read_options(config))
        if isinstance(ready, Prepared):
            extractor.extract([ready])
            break
    return extractor.spec


def _settle(config: ExtractConfig) -> tuple[str, str]:
    """Choose the device and the thread counts of this worker process; returns it and a description."""
    import cv2

    # Pictures are decoded by our own threads; more inside OpenCV would only compete with them.
    cv2.setNumThreads(1)
    assigned = ray.get_gpu_ids()
    device = "cpu" if config.backbone in {"sift", "blank"} else choose_device(config.device, assigned)
    if config.backbone not in {"sift", "blank"}:
        import torch

        torch.set_num_threads(max(1, int(config.cpus_per_worker)))
    reserved = f", GPU {', '.join(map(str, assigned))} reserved" if assigned else ""
    return device, f"{device}{reserved}"


def _extractor_options(config: ExtractConfig) -> ExtractorOptions:
    return ExtractorOptions(
        backbone=config.backbone,
        weights=config.weights,
        detector=config.detector,
        topk=config.topk,
        imsize=config.imsize,
        min_side=config.min_side,
        precision=config.precision,
    )


def _read_options(config: ExtractConfig) -> ReadOptions:
    return ReadOptions(truncated=config.truncated, max_pixels=config.max_pixels)


def _meta(config: ExtractConfig, manifest: Manifest, spec: ExtractorSpec) -> StoreMeta:
    return StoreMeta(
        rows=len(manifest),
        shard_rows=config.shard_rows,
        format=config.format,
        codec=config.codec,
        topk=config.topk,
        dim=spec.dim,
        pooled=spec.pooled,
        manifest_digest=manifest.digest,
        settings={**spec.settings, "read": asdict(_read_options(config)), "crop": config.crop},
    )


def _report(
    config: ExtractConfig, writer: StoreWriter, state: BoardState, seconds: float, computed: int
) -> ExtractReport:
    summaries = writer.summaries()
    return ExtractReport(
        output=config.output,
        rows=sum(s.rows for s in summaries),
        computed=computed,
        failed=_total(s.failed for s in summaries),
        flagged=_total(s.flagged for s in summaries),
        stored_bytes=sum(s.bytes for s in summaries),
        seconds=seconds,
        limit=state.progress.limit() if computed else "",
        workers=tuple(sorted(state.workers.values())),
    )


def _total(counts: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for count in counts:
        for reason, number in count.items():
            total[reason] = total.get(reason, 0) + number
    return dict(sorted(total.items()))

"""What a worker really does: some shards of the list through the whole pipeline, for about half a minute.

The rate is taken between two moments at which all workers are at work, so that neither their start nor the
last shards, when some have nothing left to do, count.
"""

from __future__ import annotations

import math
import re
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.backbones.registry import uses_network
from ames_ray.datasets.manifest import Manifest
from ames_ray.distributed.extract import run
from ames_ray.distributed.runtime import connected, size_pool
from ames_ray.errors import StoreError
from ames_ray.extraction.shard import WINDOW_BATCHES
from ames_ray.files import TEMPORARY, Storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ames_ray.config.extract import ExtractConfig
    from ames_ray.distributed.board import BoardState
    from ames_ray.distributed.extract import ExtractReport, Watcher
    from ames_ray.types import ImageRecord

_SECONDS = 30.0
_SHORTEST = 5.0
"""Less of full swing than this says nothing [s]."""
_LONGEST = 180.0
"""For images that take so long that `_WINDOWS` of them would take much longer [s]."""
_WINDOWS = 8
"""Windows of rows that each worker finishes in that time; it reports whole ones, so one may be missing."""
_ROWS = 16_384
"""Images of the sample, where shards are shorter; only the quickest backbones come to its end."""
_TOKEN_BYTES = 4
"""Of the random end of a sample's name."""


@dataclass(frozen=True, slots=True)
class Measured:
    """An extraction that was tried.

    Attributes:
        rate: Images/s of one worker.
        workers: Workers that were at work at once.
        gpus: GPUs that each of them had.
        images: Images that were counted.
        seconds: In this time.
    """

    rate: float
    workers: int
    gpus: float
    images: int
    seconds: float


def measure(config: ExtractConfig, manifest: Manifest, shards: int, shown: Watcher) -> Measured:
    """Extract some shards, spread over the list, into a folder beside the output, which is deleted again.

    So are those that killed runs left. As many workers are started as this machine or the cluster has room
    for, and at most `config.workers`.

    Args:
        config: The job.
        manifest: Its image list.
        shards: How many shards it makes.
        shown: Shown the progress.

    Raises:
        StoreError: The output cannot be written to.
        ResourceError: Not even one worker fits.
        WeightsError: A weights file is missing or foreign.
        RunError: The run stalled or a worker could not go on.
    """
    folder, name = Storage.of_file(config.output)
    _remove_abandoned(folder, name)
    storage = folder.child(f"{name}{TEMPORARY}{secrets.token_hex(_TOKEN_BYTES)}")
    try:
        with connected(config.address, math.ceil(config.cpus_per_worker)):
            pool = size_pool(
                None,
                config.cpus_per_worker,
                config.gpus_per_worker,
                wait=config.wait,
                wants_gpu=config.device != "cpu" and uses_network(config.backbone, config.weights),
            )
            workers = min(config.workers or pool.workers, pool.workers, shards)
            watcher = _Stopwatch(shown, workers, workers * _WINDOWS * WINDOW_BATCHES * config.batch_size)
            sample = _sample(manifest, config.shard_rows, shards, workers)
            changed = {"output": storage.uri, "workers": workers, "overwrite": False, "strict": False}
            watcher.see_end(run(config.model_copy(update=changed), sample, watcher))
    except _EnoughError:
        pass
    finally:
        _remove(storage)
    rate = watcher.images / watcher.seconds / workers
    return Measured(rate, workers, pool.gpus, watcher.images, watcher.seconds)


def _sample(manifest: Manifest, shard_rows: int, shards: int, workers: int) -> Manifest:
    """Whole shards, evenly spread: pictures that lie together in a list are alike in size."""
    wanted = min(shards, max(2 * workers, -(-_ROWS // shard_rows)))

    def records() -> Iterator[ImageRecord]:
        for shard in np.linspace(0, shards - 1, wanted).round().astype(int).tolist():
            start = shard * shard_rows
            yield from manifest.records(start, min(start + shard_rows, len(manifest)))

    return Manifest.from_records(records(), manifest.root, allow_outside=manifest.allow_outside)


class _EnoughError(Exception):
    """Ends a run that has been watched for long enough."""


class _Stopwatch:
    """A `Watcher` that takes the time of a run in full swing.

    Args:
        shown: Shown the same.
        workers: Workers that have to be there first.
        least: Images that are counted at least.

    Attributes:
        images: Images that were finished between its first and its last look.
        seconds: The time between them.
    """

    def __init__(self, shown: Watcher, workers: int, least: int) -> None:
        self._shown = shown
        self._workers = workers
        self._least = least
        self._began: float | None = None
        self._before = self._last = 0
        self.images = 0
        self.seconds = 0.0

    def begin(self, rows: int, done: int) -> None:
        """See `Watcher.begin`."""
        self._shown.begin(rows, done)

    def update(self, state: BoardState) -> None:
        """See `Watcher.update`; time is taken only when a window has just been finished."""
        self._shown.update(state)
        now, rows = time.monotonic(), state.progress.rows
        if len(state.workers) < self._workers or rows == self._last:
            return
        self._last = rows
        if self._began is None:
            self._began, self._before = now, rows
            return
        self.images, self.seconds = rows - self._before, now - self._began
        if self.seconds >= (_SECONDS if self.images >= self._least else _LONGEST):
            raise _EnoughError

    def see_end(self, report: ExtractReport) -> None:
        """A run came to its end before; where little of it was seen in full swing, all of it counts."""
        if 2 * self.images < report.computed or self.seconds < _SHORTEST:
            # The driver looks twice a second.
            self.images, self.seconds = report.computed, max(report.seconds, 0.5)


def _remove_abandoned(folder: Storage, name: str) -> None:
    """Delete the samples of runs that were killed; one that still goes on owns its own."""
    sample = re.compile(re.escape(f"{name}{TEMPORARY}") + f"[0-9a-f]{{{2 * _TOKEN_BYTES}}}")
    for found in filter(sample.fullmatch, _folders(folder)):
        storage = folder.child(found)
        with suppress(StoreError), storage.own("ames-ray plan"):
            _remove(storage)


def _folders(storage: Storage) -> list[str]:
    """Names of the folders in a folder; none where they cannot be listed."""
    with suppress(OSError):
        if storage.filesystem is None:
            return [path.name for path in Path(storage.root).iterdir() if path.is_dir()]
        from pyarrow.fs import FileSelector

        infos = storage.filesystem.get_file_info(FileSelector(storage.root, allow_not_found=True))
        return [info.base_name for info in infos if not info.is_file]
    return []


def _remove(storage: Storage) -> None:
    if storage.filesystem is None:
        shutil.rmtree(storage.root, ignore_errors=True)
        return
    with suppress(OSError):
        storage.filesystem.delete_dir(storage.root)

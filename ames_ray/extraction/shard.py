"""One shard, from list rows to a published file: the loop that every worker runs.

Rows go in windows of fixed length. The pictures of the next window are decoded by threads while the network
works on this one; inside a window, pictures of equal shape are batched. Windows depend on the shard alone,
so the bytes do not depend on who works or when.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, TypeAlias

from ames_ray.descriptors.extractor import Prepared
from ames_ray.descriptors.reading import describe, prepare
from ames_ray.extraction.attempts import Diary
from ames_ray.extraction.progress import Progress
from ames_ray.images import reasons
from ames_ray.store.reader import Store
from ames_ray.store.shards import read_mark
from ames_ray.store.writer import ShardWriter
from ames_ray.types import ImageFeatures, ImageRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Iterator, Sequence

    from ames_ray.descriptors.extractor import Extractor
    from ames_ray.descriptors.reading import ReadOptions
    from ames_ray.files import Storage
    from ames_ray.store.meta import ShardSummary, StoreMeta
    from ames_ray.store.writer import ShardTask

WINDOW_BATCHES = 4
Ready: TypeAlias = Prepared | ImageFeatures
Report: TypeAlias = "Callable[[int, Sequence[int], Progress], None]"
"""Called with the shard, the rows that are being worked on, and what was done since the last call."""


class ShardExtractor:
    """Turns shard tasks into published shards.

    Args:
        storage: Folder of the store.
        meta: What the store holds.
        extractor: The backbone with its detector.
        reading: How pictures are read.
        batch_size: Pictures of equal shape that the network sees at once.
        decode_threads: Threads that read and decode ahead.
        report: Told about progress, window by window.
    """

    def __init__(
        self,
        storage: Storage,
        meta: StoreMeta,
        extractor: Extractor,
        reading: ReadOptions,
        *,
        batch_size: int,
        decode_threads: int,
        report: Report,
    ) -> None:
        self._storage = storage
        self._meta = meta
        self._extractor = extractor
        self._reading = reading
        self._batch_size = batch_size
        self._threads = ThreadPoolExecutor(decode_threads, thread_name_prefix="decode")
        self._report = report

    def __call__(self, task: ShardTask, records: Sequence[ImageRecord]) -> ShardSummary:
        """Compute and publish one shard.

        Args:
            task: Range of rows, and those whose stored results are kept.
            records: The lines of the range, ascending.

        Raises:
            StoreError: The shard could not be written.
            RunError: The shard keeps killing its worker outside of any picture.
        """
        diary = Diary(self._storage, task.shard)
        stored = read_mark(self._storage, task.shard) if task.keep else None
        # A try that was killed while it published left a shard that does not count: all rows are made anew.
        keep = frozenset(task.keep if stored else ())
        size = self._batch_size * WINDOW_BATCHES
        windows = [records[first : first + size] for first in range(0, len(records), size)]
        wanted = [[r for r in window if r.row not in keep] for window in windows]
        ready = self._careful(wanted, diary) if diary.careful else self._ahead(wanted)
        with (
            closing(self._kept(stored, keep)) as kept,
            ShardWriter(self._storage, self._meta, task.shard, task.start, task.stop) as writer,
        ):
            for window in windows:
                rows = [record.row for record in window]
                self._report(task.shard, rows, Progress())
                mark = time.perf_counter()
                prepared = next(ready)
                waited, mark = _lap(mark)
                done = self._features(prepared)
                computed, mark = _lap(mark)
                diary.touch(())
                features = [next(kept) if row in keep else done[row] for row in rows]
                writer.write(features)
                failed = sum(not item.ok for item in done.values())
                step = Progress(len(done), failed, waited, computed, _lap(mark)[0])
                self._report(task.shard, rows, step)
            mark = time.perf_counter()
            summary = writer.publish()
        diary.close()
        self._report(task.shard, (), Progress(writing=_lap(mark)[0]))
        return summary

    def _kept(self, stored: ShardSummary | None, keep: frozenset[int]) -> Generator[ImageFeatures]:
        """Stored results to take over, in order, read as they are needed."""
        if stored:
            store = Store(self._storage, self._meta, {stored.shard: stored})
            yield from (item for item in store.features(stored.shard) if item.record.row in keep)

    def _prepare(self, record: ImageRecord) -> Ready:
        return prepare(record, self._extractor, self._reading)

    def _ahead(self, windows: Sequence[Sequence[ImageRecord]]) -> Iterator[Sequence[Ready]]:
        """The pictures of each window, decoded while the network works on the window before."""
        ahead: deque[list[Future[Ready]]] = deque()
        for window in windows:
            ahead.append([self._threads.submit(self._prepare, record) for record in window])
            if len(ahead) > 1:
                yield [future.result() for future in ahead.popleft()]
        while ahead:
            yield [future.result() for future in ahead.popleft()]

    def _careful(self, windows: Sequence[Sequence[ImageRecord]], diary: Diary) -> Iterator[Sequence[Ready]]:
        """The same after a death: nothing is touched before the diary says so, suspects run alone."""
        for window in windows:
            ready: list[Ready] = []
            for record in window:
                if record.row in diary.dead:
                    ready.append(ImageFeatures(record, reason=reasons.WORKER_DIED))
                elif record.row in diary.alone:
                    diary.touch([record.row])
                    ready += self._features([self._prepare(record)]).values()
            rest = [record for record in window if record.row not in diary.alone]
            diary.touch([record.row for record in rest])
            yield ready + list(self._threads.map(self._prepare, rest))

    def _features(self, ready: Sequence[Ready]) -> dict[int, ImageFeatures]:
        """Features by row: pictures of one shape in batches, failed ones as they are."""
        done = {item.record.row: item for item in ready if isinstance(item, ImageFeatures)}
        shapes: defaultdict[Hashable, list[Prepared]] = defaultdict(list)
        for item in ready:
            if isinstance(item, Prepared):
                shapes[item.key].append(item)
        for items in shapes.values():
            for first in range(0, len(items), self._batch_size):
                for features in describe(items[first : first + self._batch_size], self._extractor):
                    done[features.record.row] = features
        return done


def _lap(mark: float) -> tuple[float, float]:
    now = time.perf_counter()
    return now - mark, now

"""Writing a store: which shards are to be made, one shard at a time, and the end.

A kill at any moment leaves either a shard that counts or one that is made again; see `shards.py`.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pyarrow.lib import ArrowException

from ames_ray.datasets.manifest import Manifest
from ames_ray.datasets.paths import relative
from ames_ray.errors import AmesError, StoreError
from ames_ray.files import Storage, sha256_file, to_json
from ames_ray.ownership import sweep
from ames_ray.store.admission import admit
from ames_ray.store.codec import named
from ames_ray.store.failed import write_failed
from ames_ray.store.guard import publish, publishing, writing
from ames_ray.store.meta import CARD, FAILED, JOINED, MANIFEST, META, ShardSummary, StoreMeta
from ames_ray.store.parquet import group_rows
from ames_ray.store.shards import (
    ShardSink,
    create_shard,
    is_whole,
    open_shard,
    read_marks,
    shard_sizes,
    unfinish,
    withdraw,
    write_mark,
    write_shard_list,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Any

    from ames_ray.types import ImageFeatures


@dataclass(frozen=True, slots=True)
class ShardTask:
    """A shard that is to be made.

    Attributes:
        shard: Its number.
        start: Its first row.
        stop: The row after its last.
        keep: Rows whose stored results are to be taken over as they are.
    """

    shard: int
    start: int
    stop: int
    keep: tuple[int, ...] = ()

    @property
    def todo(self) -> int:
        """Rows that are to be computed."""
        return self.stop - self.start - len(self.keep)


class StoreWriter:
    """The side of a store that its one owner sees; workers write through `ShardWriter`."""

    def __init__(self, storage: Storage, meta: StoreMeta) -> None:
        self._storage = storage
        self._meta = meta

    @classmethod
    def open(cls, storage: Storage, meta: StoreMeta, manifest: Manifest) -> Self:
        """Start a store, or go on with one that was made with the same settings; a longer list is welcome.

        Raises:
            StoreError: The folder holds something else, is damaged, or was made with other settings.
        """
        if (meta.rows, meta.manifest_digest) != (len(manifest), manifest.digest):
            raise StoreError("the settings of the store are those of another image list")
        old = admit(storage, meta, manifest)
        if old is not None and old.rows != meta.rows:
            unfinish(storage)
            # After a kill the next run goes on from the list that it finds, so that must not lag behind.
            manifest.write(storage, MANIFEST)
        if old is None or old.rows != meta.rows:
            publish(storage, META, meta.to_json())
        if not _holds_list(storage, manifest):
            manifest.write(storage, MANIFEST)
        return cls(storage, meta)

    def pending(self) -> list[ShardTask]:
        """Shards that do not count yet; rows that were there before the list grew are kept."""
        return self._pending(read_marks(self._storage))

    def _pending(self, marks: Mapping[int, ShardSummary]) -> list[ShardTask]:
        tasks, sizes = [], shard_sizes(self._storage)
        for shard in range(self._meta.shards):
            start, stop = self._meta.shard_range(shard)
            mark = marks.get(shard)
            if mark is None or mark.rows > stop - start or not is_whole(sizes, self._meta, mark):
                tasks.append(ShardTask(shard, start, stop))
            elif mark.rows < stop - start:
                tasks.append(ShardTask(shard, start, stop, tuple(range(start, start + mark.rows))))
        return tasks

    def retry_failed(self) -> list[ShardTask]:
        """Shards with failed rows, their good rows kept, and those that are pending."""
        marks = read_marks(self._storage)
        pending = {task.shard: task for task in self._pending(marks)}
        tasks = []
        for shard in range(self._meta.shards):
            task = pending.get(shard)
            if (task is None or task.keep) and marks[shard].failed:
                start, stop = self._meta.shard_range(shard)
                with open_shard(self._storage, self._meta, shard) as file:
                    status = file.texts("status")
                good = tuple(start + row for row, found in enumerate(status) if found == "ok")
                task = ShardTask(shard, start, stop, good)
            if task is not None:
                tasks.append(task)
        return tasks

    def summaries(self) -> list[ShardSummary]:
        """What is known of the shards that count, in order."""
        marks = read_marks(self._storage)
        return [marks[shard] for shard in sorted(marks) if shard < self._meta.shards]

    def finish(self, card: Mapping[str, Any]) -> None:
        """Publish the list of shards, of failed rows, and last the card, which makes the store finished.

        Args:
            card: What made the store, as a JSON object.

        Raises:
            StoreError: Shards are missing.
        """
        marks = read_marks(self._storage)
        if tasks := self._pending(marks):
            raise StoreError(
                f"{self._storage.uri} lacks {len(tasks)} of {self._meta.shards} shards, "
                f"the first is {tasks[0].shard}",
                "the same command goes on with them",
            )
        # Workers that were killed in this run left halves behind.
        sweep(self._storage)
        summaries = [marks[shard] for shard in range(self._meta.shards)]
        with publishing(self._storage, FAILED) as path:
            write_failed(path, self._storage, self._meta, summaries)
        if self._meta.format == "hdf5" and self._storage.local is not None:
            from ames_ray.store.hdf5 import write_joined

            with publishing(self._storage, JOINED) as path:
                write_joined(path, self._meta, summaries)
        write_shard_list(self._storage, summaries)
        publish(self._storage, CARD, to_json(card))


class ShardWriter:
    """Writes one shard in bounded memory; it appears with `publish`, or not at all.

    Args:
        storage: Folder of the store.
        meta: What the store holds.
        shard: Number of the shard.
        start: Its first row.
        stop: The row after its last.
    """

    def __init__(self, storage: Storage, meta: StoreMeta, shard: int, start: int, stop: int) -> None:
        self._storage = storage
        self._meta = meta
        self._shard = shard
        self._start, self._stop = start, stop
        self._name = meta.shard_name(shard)
        self._next = start
        self._waiting: list[ImageFeatures] = []
        self._failed: Counter[str] = Counter()
        self._flagged: Counter[str] = Counter()
        self._file: ShardSink | None = None
        self._root = _root(storage)

    def __enter__(self) -> Self:
        self._temporary = ExitStack()
        with self._guard():
            self._path = self._temporary.enter_context(self._storage.publishing(self._name))
            try:
                self._file = create_shard(self._path, self._meta, self._shard, self._start, self._stop)
            except BaseException:
                self._discard()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._discard()

    def write(self, features: Sequence[ImageFeatures]) -> None:
        """Add the next rows, in the order of the list.

        Raises:
            StoreError: A row is out of order, does not fit the store, or holds values that are not finite;
                or the disk is full.
        """
        for item in features:
            if item.record.row != self._next or self._next >= self._stop:
                raise StoreError(
                    f"{named(item.record)} was given to shard {self._shard} where row {self._next} is next; "
                    f"the shard holds rows {self._start} to {self._stop - 1}"
                )
            self._next += 1
            self._waiting.append(item)
            if item.reason is not None:
                self._failed[item.reason] += 1
            if item.flag is not None:
                self._flagged[item.flag] += 1
            if len(self._waiting) == group_rows(self._meta):
                self._flush()

    def publish(self) -> ShardSummary:
        """Make the shard appear and count.

        Raises:
            StoreError: Rows are missing, or the disk is full.
        """
        if self._next != self._stop:
            raise StoreError(f"shard {self._shard} ends at row {self._next} and not at {self._stop}")
        self._flush()
        with self._guard():
            self._close()
            summary = self._summary()
            withdraw(self._storage, self._shard)
            self._temporary.close()
            write_mark(self._storage, summary)
        return summary

    def _flush(self) -> None:
        if self._waiting and self._file is not None:
            uris = [
                relative(self._root, item.record.uri) if self._root else item.record.uri
                for item in self._waiting
            ]
            with self._guard():
                self._file.append(self._waiting, uris)
            self._waiting = []

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _discard(self) -> None:
        """Remove the temporary file, if it was not published."""
        # After a failed write the libraries may raise again at the close; the file is thrown away anyhow.
        with suppress(OSError, ArrowException, RuntimeError):
            self._close()
        with suppress(_DiscardedError):
            self._temporary.__exit__(_DiscardedError, _DiscardedError(), None)

    def _summary(self) -> ShardSummary:
        rows = self._stop - self._start
        return ShardSummary(
            shard=self._shard,
            rows=rows,
            ok=rows - self._failed.total(),
            failed=dict(sorted(self._failed.items())),
            flagged=dict(sorted(self._flagged.items())),
            bytes=self._path.stat().st_size,
            sha256=sha256_file(self._path),
        )

    def _guard(self) -> AbstractContextManager[None]:
        return writing(self._storage, self._name, (self._stop - self._start) * self._meta.row_bytes)


class _DiscardedError(Exception):
    """Leaves `Storage.publishing` without publishing."""


def _holds_list(storage: Storage, manifest: Manifest) -> bool:
    """Whether the store holds this very list; one that a killed run left behind is no obstacle."""
    if not storage.exists(MANIFEST):
        return False
    try:
        held = Manifest.read(storage, MANIFEST)
    except AmesError:
        return False
    return (held.digest, held.root) == (manifest.digest, manifest.root)


def _root(storage: Storage) -> str:
    """The folder that the list's paths start from; shards name files relative to it."""
    return Manifest.read(storage, MANIFEST).root if storage.exists(MANIFEST) else ""

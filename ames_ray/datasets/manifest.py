"""The image list that a store, a ground truth and a shortlist refer to by row."""

from __future__ import annotations

import json
import re
from array import array
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ames_ray.datasets.manifest_table import (
    GROUP_ROWS,
    SCHEMA,
    ParquetTable,
    Table,
    collect,
    columns,
    rows_digest,
)
from ames_ray.datasets.paths import Guard, absolute, leads_out, resolve
from ames_ray.errors import DatasetError, UnsafeFileError
from ames_ray.types import ImageRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from ames_ray.files import Storage

_KEY = b"ames_ray.manifest"
_VERSION = 1
_FACTS = {"root", "notes", "allow_outside", "digest"}
_TWICE = re.compile("[0-9]+ duplicate paths?")


@dataclass(frozen=True, slots=True, eq=False)
class Manifest:
    """An image list; make one with `from_records`, `read` or `registry.build_manifest`.

    Attributes:
        root: Folder or address that relative paths start from.
        notes: What a reader of the list should know: duplicates, crops.
        allow_outside: Whether paths may leave the root.
        digest: SHA-256 over the content of all rows; neither root, notes nor file encoding matter.
    """

    root: str
    notes: tuple[str, ...]
    allow_outside: bool
    digest: str
    _table: Table

    @classmethod
    def from_records(
        cls,
        records: Iterable[ImageRecord],
        root: str | Path,
        *,
        notes: Sequence[str] = (),
        allow_outside: bool = False,
    ) -> Self:
        """A list in memory; rows are numbered in the order in which they come.

        Args:
            records: Images, with paths relative to `root` or absolute.
            root: Folder or `scheme://` address.
            notes: Remarks to keep with the list; one about its duplicate paths is put in place of older ones.
            allow_outside: Take paths that leave the root, also through symbolic links.

        Raises:
            UnsafeFileError: A path leaves the root.
            DatasetError: There is no image at all.
        """
        folder = absolute(root)
        seen = array("q")
        table = collect(_batches(records, Guard(folder, allow_outside=allow_outside), seen))
        if not len(table):
            raise DatasetError(
                f"no images are listed for {folder}", "check images=, list_file=, split= and data_root="
            )
        twice = _repeats(seen)
        noted = [note for note in notes if not _TWICE.fullmatch(note)]
        noted += [f"{twice} duplicate path{'s' if twice > 1 else ''}"] if twice else []
        return cls(folder, tuple(noted), allow_outside, rows_digest(table, len(table)), table)

    @classmethod
    def read(cls, storage: Storage, name: str) -> Self:
        """A list in a file; only the rows that are asked for are ever read.

        Raises:
            DatasetError: The file is no manifest, or one of a newer version.
        """
        where = storage.address(name)
        try:
            with storage.open(name) as handle:
                metadata = pq.read_metadata(handle)
                schema = pq.read_schema(handle)
            found = json.loads((schema.metadata or {}).get(_KEY, b"{}"))
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DatasetError(
                f"{where} cannot be read as a manifest: {error}", "pass a file that ames-ray wrote"
            ) from None
        is_ours = isinstance(found, dict) and found.get("version") == _VERSION and found.keys() >= _FACTS
        if not is_ours or not schema.equals(SCHEMA):
            raise DatasetError(
                f"{where} is not a manifest of version {_VERSION}; its columns are {', '.join(schema.names)}",
                "pass a file that ames-ray wrote, or a text list",
            )
        table = ParquetTable(storage, name, metadata)
        return cls(found["root"], tuple(found["notes"]), found["allow_outside"], found["digest"], table)

    def write(self, storage: Storage, name: str) -> None:
        """Publish the list as a Parquet file; equal lists give equal bytes."""
        facts = {
            "version": _VERSION,
            "root": self.root,
            "notes": self.notes,
            "allow_outside": self.allow_outside,
            "digest": self.digest,
        }
        schema = SCHEMA.with_metadata({_KEY: json.dumps(facts, sort_keys=True)})
        with storage.publishing(name) as path, pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for start in range(0, len(self), GROUP_ROWS):
                rows = self._table.slice(start, GROUP_ROWS).replace_schema_metadata(schema.metadata)
                writer.write_table(rows, row_group_size=GROUP_ROWS)

    def at(self, root: str | Path) -> Manifest:
        """The same list with its images below another root."""
        return replace(self, root=absolute(root))

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[ImageRecord]:
        for start in range(0, len(self), GROUP_ROWS):
            yield from self.records(start, min(start + GROUP_ROWS, len(self)))

    def record(self, row: int) -> ImageRecord:
        """One image.

        Raises:
            DatasetError: There is no such row.
        """
        return self.records(row, row + 1)[0]

    def records(self, start: int, stop: int) -> list[ImageRecord]:
        """The images of rows start … stop - 1, their paths resolved.

        Raises:
            DatasetError: The range is not within the list.
            UnsafeFileError: A path of a foreign file leaves its root.
        """
        if not 0 <= start <= stop <= len(self):
            raise DatasetError(f"rows {start} to {stop} were asked of a list of {len(self)} images")
        rows = zip(*columns(self._table.slice(start, stop - start)), strict=True)
        return [self._record(start + offset, *row) for offset, row in enumerate(rows)]

    def digest_of_first(self, count: int) -> str:
        """What `digest` would be if the list ended after `count` rows, computed anew.

        Raises:
            DatasetError: The list is shorter.
        """
        if not 0 <= count <= len(self):
            raise DatasetError(f"{count} rows were asked of a list of {len(self)} images")
        return rows_digest(self._table, count)

    def _record(self, row: int, image_id: str, uri: str, split: str | None, *rest: Any) -> ImageRecord:
        left, top, right, bottom, label, width, height = rest
        if not self.allow_outside and leads_out(uri):
            raise UnsafeFileError(f"row {row}: {uri} leaves {self.root}", "allow_outside=true permits it")
        bbox = None if left is None else (left, top, right, bottom)
        return ImageRecord(row, image_id, resolve(self.root, uri), split, bbox, label, width, height)


def _batches(records: Iterable[ImageRecord], guard: Guard, seen: array[int]) -> Iterator[pa.RecordBatch]:
    """The records as row groups; 8 bytes of each path go to `seen`, since all paths may not fit in memory."""
    source = iter(records)
    while chunk := list(islice(source, GROUP_ROWS)):
        batch = _batch(chunk, guard)
        seen.extend(map(hash, batch["uri"].to_pylist()))
        yield batch


def _repeats(hashes: array[int]) -> int:
    """How many of the values were there before; they are sorted in place."""
    values = np.frombuffer(hashes, np.int64)
    values.sort()
    return int((values[1:] == values[:-1]).sum())


def _batch(records: Sequence[ImageRecord], guard: Guard) -> pa.RecordBatch:
    boxes = [record.bbox or (None, None, None, None) for record in records]
    columns = [
        [_text(record.image_id) for record in records],
        [_text(guard.relative(record.uri)) for record in records],
        [record.split for record in records],
        *([box[side] for box in boxes] for side in range(4)),
        [record.label for record in records],
        [record.width for record in records],
        [record.height for record in records],
    ]
    return pa.RecordBatch.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )


def _text(name: str) -> str:
    """The name, with bytes that are not UTF-8 spelled out; such a row is kept, and its file is not found."""
    return name.encode("utf-8", "backslashreplace").decode()

"""The failed rows of a store as a table."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from ames_ray.store.shards import open_shard

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ames_ray.files import Storage
    from ames_ray.store.meta import ShardSummary, StoreMeta


def write_failed(path: Path, storage: Storage, meta: StoreMeta, summaries: Sequence[ShardSummary]) -> None:
    """Write row, image id, uri and reason of each failed row as CSV.

    Args:
        path: Local file to make.
        storage: Folder of the store.
        meta: What it holds.
        summaries: Its shards.
    """
    with path.open("w", newline="", encoding="utf-8") as handle:
        table = csv.writer(handle, lineterminator="\n")
        table.writerow(("row", "image_id", "uri", "reason"))
        for summary in summaries:
            if summary.failed:
                table.writerows(_failed(storage, meta, summary.shard))


def _failed(storage: Storage, meta: StoreMeta, shard: int) -> Iterator[tuple[object, ...]]:
    with open_shard(storage, meta, shard) as file:
        columns = [file.texts(name) for name in ("status", "image_id", "uri", "reason")]
    start, _ = meta.shard_range(shard)
    for offset, (status, *rest) in enumerate(zip(*columns, strict=True)):
        if status != "ok":
            yield start + offset, *rest

"""Writing a store once: what is written is what is read, whole or not at all."""

from __future__ import annotations

import csv
import json
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ames_ray.errors import StoreError
from ames_ray.files import Storage
from ames_ray.store.reader import Store
from ames_ray.store.writer import ShardTask, ShardWriter, StoreWriter
from ames_ray.types import ImageFeatures
from tests.store.builders import (
    all_features,
    hashes,
    make_features,
    make_manifest,
    make_meta,
    make_store,
    same,
    write_task,
)

FORMATS = pytest.mark.parametrize("kind", ["parquet", "hdf5"])


@FORMATS
@pytest.mark.parametrize("codec", ["float32", "float16", "binary"])
def test_what_is_written_is_read(kind: str, codec: str, tmp_path: Path) -> None:
    manifest = make_manifest(23)
    store = make_store(tmp_path, manifest=manifest, format=kind, codec=codec)
    expected = [make_features(record, store.meta) for record in manifest]
    assert all(same(a, b) for a, b in zip(expected, all_features(store), strict=True))
    assert [summary.rows for summary in store.summaries.values()] == [5, 5, 5, 5, 3]
    reasons = Counter(item.reason for item in expected if item.reason)
    counted: Counter[str] = Counter()
    for summary in store.summaries.values():
        counted.update(summary.failed)
    assert counted == reasons
    assert sum(summary.ok for summary in store.summaries.values()) == 23 - reasons.total()
    assert sum(summary.flagged.get("truncated", 0) for summary in store.summaries.values()) == 4


@FORMATS
def test_same_bytes_however_it_is_written(kind: str, tmp_path: Path) -> None:
    """In one piece, in reverse order of shards, and row groups cut by calls of other lengths."""
    make_store(tmp_path / "one", format=kind)
    time.sleep(1.1)  # a time of writing in a file would show
    manifest = make_manifest(23)
    meta = make_meta(manifest, format=kind)
    storage = Storage.at(tmp_path / "two")
    writer = StoreWriter.open(storage, meta, manifest)
    for task in reversed(writer.pending()):
        items = [make_features(record, meta) for record in manifest.records(task.start, task.stop)]
        with ShardWriter(storage, meta, task.shard, task.start, task.stop) as shard:
            shard.write(items[:1])
            shard.write(items[1:])
            shard.publish()
    writer.finish({"job": "test"})
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


def test_bytes_do_not_depend_on_where_the_images_lie(tmp_path: Path) -> None:
    make_store(tmp_path / "one", manifest=make_manifest(12, "/photos"))
    make_store(tmp_path / "two", manifest=make_manifest(12, "/elsewhere/p"))
    one, two = hashes(tmp_path / "one"), hashes(tmp_path / "two")
    assert {name for name in one if one[name] != two[name]} == {"manifest.parquet"}


def test_an_open_shard_is_invisible_until_it_is_published(tmp_path: Path) -> None:
    manifest = make_manifest(5)
    meta = make_meta(manifest)
    storage = Storage.at(tmp_path)
    writer = StoreWriter.open(storage, meta, manifest)
    with ShardWriter(storage, meta, 0, 0, 5) as shard:
        shard.write([make_features(record, meta) for record in manifest.records(0, 5)])
        assert storage.names("shards") == []
    assert list((tmp_path / "shards").iterdir()) == []
    assert writer.pending() == [ShardTask(0, 0, 5)]
    with pytest.raises(RuntimeError, match="boom"), ShardWriter(storage, meta, 0, 0, 5):
        raise RuntimeError("boom")
    assert list((tmp_path / "shards").iterdir()) == []


def test_rows_must_come_in_the_order_of_the_list(tmp_path: Path) -> None:
    manifest = make_manifest(10)
    meta = make_meta(manifest)
    items = [make_features(record, meta) for record in manifest]
    with ShardWriter(Storage.at(tmp_path), meta, 0, 0, 5) as shard:
        shard.write(items[:2])
        with pytest.raises(StoreError, match=r"row 3 \(img3\) was given to shard 0 where row 2 is next"):
            shard.write(items[3:4])
        with pytest.raises(StoreError, match="ends at row 2 and not at 5"):
            shard.publish()
        shard.write(items[2:5])
        with pytest.raises(StoreError, match="the shard holds rows 0 to 4"):
            shard.write(items[5:6])


@FORMATS
def test_a_row_that_is_not_finite_publishes_nothing(kind: str, tmp_path: Path) -> None:
    manifest = make_manifest(5)
    meta = make_meta(manifest, format=kind)
    items = [make_features(record, meta) for record in manifest]
    assert items[2].local is not None
    items[2].local.weight[:] = np.nan

    def write() -> None:
        with ShardWriter(Storage.at(tmp_path), meta, 0, 0, 5) as shard:
            shard.write(items)
            shard.publish()

    with pytest.raises(StoreError, match=r"row 2 \(img2\): weights hold values that are not finite"):
        write()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_failed_rows_are_a_table(tmp_path: Path) -> None:
    make_store(tmp_path, 23)
    with (tmp_path / "failed.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert rows == [
        {"row": "3", "image_id": "img3", "uri": "a/img3.jpg", "reason": "truncated"},
        {"row": "10", "image_id": "img10", "uri": "a/img10.jpg", "reason": "empty"},
        {"row": "17", "image_id": "img17", "uri": "a/img17.jpg", "reason": "truncated"},
    ]


def test_the_shard_list_holds_the_marks(tmp_path: Path) -> None:
    make_store(tmp_path, 23)
    listed = json.loads((tmp_path / "shards.json").read_bytes())
    marks = [json.loads(path.read_bytes()) for path in sorted((tmp_path / "progress").iterdir())]
    assert listed == marks


def test_another_file_system(tmp_path: Path) -> None:
    """The path that object stores take, on a file system that pyarrow opens."""
    from pyarrow.fs import LocalFileSystem

    manifest = make_manifest(7)
    for kind in ("parquet", "hdf5"):
        meta = make_meta(manifest, format=kind)
        root = str(tmp_path / kind)
        storage = Storage(root, LocalFileSystem(), root)
        writer = StoreWriter.open(storage, meta, manifest)
        for task in writer.pending():
            write_task(storage, meta, manifest, task)
        writer.finish({"job": "test"})
        store = Store(storage, meta, {summary.shard: summary for summary in writer.summaries()})
        expected = [make_features(record, meta) for record in manifest]
        assert all(same(a, b) for a, b in zip(expected, all_features(store), strict=True))
        assert store.read([6, 0], 2).descriptors.shape == (2, 2, 16)
        (tmp_path / "foreign").mkdir(exist_ok=True)
        (tmp_path / "foreign" / "thesis.tex").touch()
        foreign = Storage(str(tmp_path / "foreign"), LocalFileSystem(), "foreign")
        with pytest.raises(StoreError, match=r"holds thesis\.tex"):
            StoreWriter.open(foreign, meta, manifest)


def test_all_rows_may_fail(tmp_path: Path) -> None:
    manifest = make_manifest(5)
    meta = make_meta(manifest)
    storage = Storage.at(tmp_path)
    writer = StoreWriter.open(storage, meta, manifest)
    with ShardWriter(storage, meta, 0, 0, 5) as shard:
        shard.write([ImageFeatures(record, reason="missing") for record in manifest])
        assert shard.publish().failed == {"missing": 5}
    writer.finish({})
    batch = Store.open(str(tmp_path)).read([4, 0])
    assert not batch.valid.any()
    assert not batch.descriptors.any()

from __future__ import annotations

import csv
import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ames_ray.datasets.manifest import Manifest
from ames_ray.errors import StoreError
from ames_ray.files import Storage
from ames_ray.store.clear import clear
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


def test_changed_settings_are_refused_line_by_line(tmp_path: Path) -> None:
    make_store(tmp_path)
    manifest = make_manifest(23)
    before = hashes(tmp_path)
    other = make_meta(manifest, topk=600, settings={"backbone": "other"})
    with pytest.raises(
        StoreError, match=r"made with other settings:\n  backbone: test in the store, other"
    ) as e:
        StoreWriter.open(Storage.at(tmp_path), other, manifest)
    assert "\n  topk: 6 in the store, 600 now" in e.value.message
    assert e.value.hint
    assert hashes(tmp_path) == before


def test_another_list_is_refused(tmp_path: Path) -> None:
    make_store(tmp_path, 10)
    for rows in (10, 12):
        other = make_manifest(rows, first=100)
        with pytest.raises(StoreError, match="image list"):
            StoreWriter.open(Storage.at(tmp_path), make_meta(other), other)
    shorter = make_manifest(9)
    with pytest.raises(StoreError, match="rows: 10 in the store, 9 now"):
        StoreWriter.open(Storage.at(tmp_path), make_meta(shorter), shorter)


@FORMATS
def test_a_longer_list_keeps_what_is_there(kind: str, tmp_path: Path) -> None:
    make_store(tmp_path / "grown", 13, format=kind)
    manifest = make_manifest(23)
    storage = Storage.at(tmp_path / "grown")
    writer = StoreWriter.open(storage, make_meta(manifest, format=kind), manifest)
    assert writer.pending() == [
        ShardTask(2, 10, 15, (10, 11, 12)),
        ShardTask(3, 15, 20),
        ShardTask(4, 20, 23),
    ]
    with pytest.raises(StoreError, match="is not finished: 3 of 5 shards"):
        Store.open(str(tmp_path / "grown"))
    make_store(tmp_path / "grown", 23, format=kind)
    make_store(tmp_path / "fresh", 23, format=kind)
    assert hashes(tmp_path / "grown") == hashes(tmp_path / "fresh")


def test_a_folder_that_is_no_store_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    (tmp_path / "notes.txt.tmp-1-ab").write_text("mine")
    manifest = make_manifest(3)
    with pytest.raises(StoreError, match=r"not empty and is no store, it has no meta\.json; it holds photos"):
        StoreWriter.open(Storage.at(tmp_path), make_meta(manifest), manifest)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt.tmp-1-ab", "photos"]
    with pytest.raises(StoreError, match="is a file"):
        StoreWriter.open(Storage.at(tmp_path / "notes.txt.tmp-1-ab"), make_meta(manifest), manifest)


def test_clearing_a_store_leaves_only_what_is_not_its_own(tmp_path: Path) -> None:
    store = make_store(tmp_path, 23, format="hdf5")
    store.make_pack()
    for name in ("job.json", "sources.json", "attempts/00001.json", "shards/00009.hdf5.tmp-1-ab"):
        store.storage.publish(name, b"{}")
    clear(store.storage)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    make_store(tmp_path, 7, topk=7)
    (tmp_path / "thesis.tex").touch()
    clear(store.storage)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["thesis.tex"]
    with pytest.raises(StoreError, match=r"it holds thesis\.tex"):
        clear(store.storage)


def test_settings_of_another_list_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="another image list"):
        StoreWriter.open(Storage.at(tmp_path), make_meta(make_manifest(3)), make_manifest(4))


def test_a_damaged_meta_is_not_overwritten(tmp_path: Path) -> None:
    make_store(tmp_path, 4)
    (tmp_path / "meta.json").write_bytes(b"{")
    manifest = make_manifest(4)
    with pytest.raises(StoreError, match=r"meta\.json is damaged"):
        StoreWriter.open(Storage.at(tmp_path), make_meta(manifest), manifest)


def test_what_killed_runs_left_is_swept_and_made_again(tmp_path: Path) -> None:
    make_store(tmp_path, 23)
    whole = hashes(tmp_path)
    (tmp_path / "progress" / "00001.json").unlink()
    shard = tmp_path / "shards" / "00003.parquet"
    shard.write_bytes(shard.read_bytes()[:-10])
    (tmp_path / "shards" / "00002.parquet.tmp-9-abc").write_bytes(b"half")
    (tmp_path / "manifest.parquet").write_bytes(b"PAR1")
    manifest = make_manifest(23)
    writer = StoreWriter.open(Storage.at(tmp_path), make_meta(manifest), manifest)
    assert [task.shard for task in writer.pending()] == [1, 3]
    with pytest.raises(StoreError, match="lacks 2 of 5 shards, the first is 1"):
        writer.finish({})
    make_store(tmp_path, 23)
    assert hashes(tmp_path) == whole


def test_moved_images_are_found_under_their_new_root(tmp_path: Path) -> None:
    make_store(tmp_path, manifest=make_manifest(4, "/old"))
    manifest = make_manifest(4, "/new")
    StoreWriter.open(Storage.at(tmp_path), make_meta(manifest), manifest)
    assert Manifest.read(Storage.at(tmp_path), "manifest.parquet").record(2).uri == "/new/a/img2.jpg"


@FORMATS
def test_only_failed_rows_are_retried(kind: str, tmp_path: Path) -> None:
    store = make_store(tmp_path, 23, format=kind)
    manifest, meta, storage = store.manifest, store.meta, store.storage
    writer = StoreWriter.open(storage, meta, manifest)
    tasks = writer.retry_failed()
    failed = [row for task in tasks for row in range(task.start, task.stop) if row not in task.keep]
    assert failed == [3, 10, 17]
    assert [task.shard for task in tasks] == [0, 2, 3]
    before = {item.record.row: item for item in all_features(store)}
    repaired = make_features(replace(manifest.record(4), row=4), meta)
    for task in tasks:
        kept = {f.record.row: f for f in store.features(task.shard) if f.record.row in task.keep}
        with ShardWriter(storage, meta, task.shard, task.start, task.stop) as shard:
            for record in manifest.records(task.start, task.stop):
                shard.write([kept.get(record.row) or replace(repaired, record=record, flag=None)])
            shard.publish()
    assert not storage.exists("card.json")
    writer.finish({"job": "retry"})
    after = Store.open(str(tmp_path))
    assert all(not summary.failed for summary in after.summaries.values())
    for item in all_features(after):
        row = item.record.row
        assert same(item, replace(repaired, record=item.record, flag=None) if row in failed else before[row])
    assert writer.retry_failed() == []


def test_a_retry_also_makes_what_is_missing(tmp_path: Path) -> None:
    make_store(tmp_path, 23)
    (tmp_path / "progress" / "00001.json").unlink()
    manifest = make_manifest(23)
    tasks = StoreWriter.open(Storage.at(tmp_path), make_meta(manifest), manifest).retry_failed()
    assert [(task.shard, task.keep) for task in tasks] == [
        (0, (0, 1, 2, 4)),
        (1, ()),
        (2, (11, 12, 13, 14)),
        (3, (15, 16, 18, 19)),
    ]


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


def test_rewriting_a_shard_unfinishes_the_store(tmp_path: Path) -> None:
    store = make_store(tmp_path, 23)
    store.make_pack()
    write_task(store.storage, store.meta, store.manifest, ShardTask(1, 5, 10))
    assert not {"card.json", "shards.json", "packed.hdf5"} & set(store.storage.names())
    with pytest.raises(StoreError, match="is not finished"):
        Store.open(str(tmp_path))


def test_a_damaged_mark_is_named(tmp_path: Path) -> None:
    make_store(tmp_path, 4)
    (tmp_path / "progress" / "00000.json").write_bytes(b"{}")
    manifest = make_manifest(4)
    writer = StoreWriter.open(Storage.at(tmp_path), make_meta(manifest), manifest)
    with pytest.raises(StoreError, match=r"progress/00000\.json is damaged"):
        writer.pending()


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

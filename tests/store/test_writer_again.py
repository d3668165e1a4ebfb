"""Going on with a store: the same settings, a longer list, failed rows, what killed runs left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ames_ray.datasets.manifest import Manifest
from ames_ray.errors import StoreError
from ames_ray.files import Storage
from ames_ray.store.clear import clear, stored_bytes
from ames_ray.store.meta import PACK
from ames_ray.store.reader import Store
from ames_ray.store.shards import is_finished
from ames_ray.store.writer import ShardTask, ShardWriter, StoreWriter
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
    said = r"not empty and is no store, it has no meta\.json; it holds notes\.txt\.tmp-1-ab, photos"
    with pytest.raises(StoreError, match=said):
        StoreWriter.open(Storage.at(tmp_path), make_meta(manifest), manifest)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt.tmp-1-ab", "photos"]
    with pytest.raises(StoreError, match="is a file"):
        StoreWriter.open(Storage.at(tmp_path / "notes.txt.tmp-1-ab"), make_meta(manifest), manifest)


def test_a_users_own_temporary_files_stay(tmp_path: Path) -> None:
    make_store(tmp_path, 7)
    mine = ("draft.tmp-2024.txt", "shards/x.tmp-old", "notes/2024/thesis.tex.tmp-12-0123abcd")
    for name in mine:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    make_store(tmp_path, 9)
    clear(Storage.at(tmp_path))
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()} == set(mine)
    manifest = make_manifest(3)
    with pytest.raises(StoreError, match=r"it holds draft\.tmp-2024\.txt, notes, shards"):
        StoreWriter.open(Storage.at(tmp_path), make_meta(manifest), manifest)


def test_what_a_killed_run_left_does_not_keep_a_new_store_out(tmp_path: Path) -> None:
    (tmp_path / "meta.json.tmp-7-89abcdef").touch()
    make_store(tmp_path, 3)
    assert not list(tmp_path.rglob("*.tmp-*"))


def test_clearing_a_store_leaves_only_what_is_not_its_own(tmp_path: Path) -> None:
    store = make_store(tmp_path, 23, format="hdf5")
    store.make_pack()
    for name in ("job.json", "sources.json", "attempts/00001.json", "shards/00009.hdf5.tmp-1-0123abcd"):
        store.storage.publish(name, b"{}")
    shards = sum(path.stat().st_size for path in (tmp_path / "shards").iterdir())
    # Files in the making are swept as well, and counted by nobody.
    assert stored_bytes(store.storage) == shards - 2 + (tmp_path / PACK).stat().st_size
    clear(store.storage)
    assert stored_bytes(store.storage) == 0
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
    (tmp_path / "shards" / "00002.parquet.tmp-9-0123abcd").write_bytes(b"half")
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


def test_rewriting_a_shard_unfinishes_the_store(tmp_path: Path) -> None:
    store = make_store(tmp_path, 23)
    store.make_pack()
    write_task(store.storage, store.meta, store.manifest, ShardTask(1, 5, 10))
    assert not {"card.json", "shards.json", "packed.hdf5"} & set(store.storage.names())
    with pytest.raises(StoreError, match="is not finished"):
        Store.open(str(tmp_path))


def test_a_store_is_finished_where_its_list_is_that_of_its_marks(tmp_path: Path) -> None:
    store = make_store(tmp_path / "one", 7)
    manifest = store.manifest
    writer = StoreWriter.open(store.storage, store.meta, manifest)
    make_store(tmp_path / "other", manifest=make_manifest(7, first=50))
    for name, data in (
        ("shards.json", (tmp_path / "other" / "shards.json").read_bytes()),
        ("shards.json", b"{}"),
        ("card.json", b"{"),
    ):
        assert is_finished(store.storage)
        (tmp_path / "one" / name).write_bytes(data)
        assert not is_finished(store.storage)
        writer.finish({})


def test_a_damaged_mark_is_named(tmp_path: Path) -> None:
    make_store(tmp_path, 4)
    (tmp_path / "progress" / "00000.json").write_bytes(b"{}")
    manifest = make_manifest(4)
    writer = StoreWriter.open(Storage.at(tmp_path), make_meta(manifest), manifest)
    with pytest.raises(StoreError, match=r"progress/00000\.json is damaged"):
        writer.pending()

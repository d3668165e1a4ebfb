from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ames_ray.errors import StoreError
from ames_ray.files import Storage
from ames_ray.store.meta import StoreMeta
from ames_ray.store.pack import Pack
from ames_ray.store.reader import Store
from ames_ray.types import AnyArray, BoolArray
from tests.store.builders import TOPK, make_features, make_manifest, make_store

CASES = [
    (kind, codec, packed)
    for kind in ("parquet", "hdf5")
    for codec in ("float32", "float16", "binary")
    for packed in (False, True)
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(map(str, case)))
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    kind, codec, packed = request.param
    store = make_store(tmp_path_factory.mktemp("store"), 23, format=kind, codec=codec)
    if packed:
        store.make_pack()
    assert (store.pack is not None) == packed
    return store


def expected(meta: StoreMeta, rows: list[int], count: int) -> tuple[AnyArray, BoolArray]:
    """Brute force: one row after the other, from the features themselves."""
    manifest = make_manifest(meta.rows)
    values = np.zeros((len(rows), count, meta.dim), np.float32)
    valid = np.zeros((len(rows), count), np.bool_)
    for index, row in enumerate(rows):
        local = make_features(manifest.record(row), meta).local
        if local is not None:
            top = local.top(count)
            values[index, : len(top)] = top.descriptors
            valid[index, : len(top)] = True
    return values, valid


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.integers(0, 22), max_size=30), count=st.integers(1, TOPK))
def test_rows_come_in_any_order_and_twice(store: Store, rows: list[int], count: int) -> None:
    batch = store.read(rows, count)
    values, valid = expected(store.meta, rows, count)
    found = batch.descriptors
    if store.meta.codec == "binary":
        assert found.shape == (len(rows), count, store.meta.dim // 8)
        found = np.unpackbits(found, axis=-1) * 2.0 - 1
        found = found * valid[..., None]
    assert np.array_equal(found, values)
    assert np.array_equal(batch.valid, valid)
    assert batch.rows.tolist() == rows
    assert batch.descriptors.dtype == {"float32": "f4", "float16": "f2", "binary": "u1"}[store.meta.codec]
    assert batch.descriptors.flags.writeable


def test_all_descriptors_without_a_count(store: Store) -> None:
    assert store.read(np.array([22, 1])).descriptors.shape[1] == TOPK


def test_what_is_outside_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match=r"there is no row 23 in .*; it has rows 0 to 22"):
        store.read([0, 23])
    with pytest.raises(StoreError, match="there is no row -1"):
        store.read([-1])
    with pytest.raises(StoreError, match=f"7 descriptors per row are asked for; .* holds topk={TOPK}"):
        store.read([0], 7)
    with pytest.raises(StoreError, match="0 descriptors"):
        store.read([0], 0)


def test_pooled_and_ok(store: Store) -> None:
    items = [make_features(record, store.meta) for record in make_manifest(23)]
    vectors = np.stack([item.pooled.get("cls", np.zeros(3, np.float32)) for item in items])
    assert np.array_equal(store.pooled("cls"), vectors)
    assert store.pooled("cls").dtype == np.float32
    assert store.ok.tolist() == [item.ok for item in items]
    with pytest.raises(StoreError, match="no global descriptor 'vlad'; it has cls, global"):
        store.pooled("vlad")


def test_a_store_can_be_sent_to_another_process(store: Store) -> None:
    store.read([1], 2)
    assert len(store.manifest) == 23
    again: Store = pickle.loads(pickle.dumps(store))
    assert np.array_equal(again.read([5, 1]).descriptors, store.read([5, 1]).descriptors)
    assert len(list(again.features(4))) == 3


def test_no_store_and_no_folder(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(StoreError, match=r"is no store: it has no meta\.json"):
            Store.open(str(path))


def test_a_part_of_a_store_on_request(tmp_path: Path) -> None:
    make_store(tmp_path, 23)
    for name in ("card.json", "progress/00002.json"):
        (tmp_path / name).unlink()
    with pytest.raises(StoreError, match="is not finished: 4 of 5 shards are there"):
        Store.open(str(tmp_path))
    store = Store.open(str(tmp_path), allow_partial=True)
    assert store.card == {}
    assert len(list(store.features(4))) == 3
    assert store.read([22, 0], 2).valid.shape == (2, 2)
    assert store.ok[10:15].tolist() == [False] * 5
    for read in (lambda: store.read([12]), lambda: store.pooled("cls"), lambda: list(store.features(2))):
        with pytest.raises(StoreError, match=r"rows 10 to 14 are not in .* yet: it lacks shard 2"):
            read()
    with pytest.raises(StoreError, match="lacks shard 2"):
        store.make_pack()


def test_every_damaged_shard_is_named_at_the_opening(tmp_path: Path) -> None:
    make_store(tmp_path, 23)
    (tmp_path / "shards" / "00001.parquet").unlink()
    (tmp_path / "shards" / "00004.parquet").write_bytes(b"PAR1")
    said = r"00001\.parquet is missing; shards/00004\.parquet has 4 bytes"
    with pytest.raises(StoreError, match=said):
        Store.open(str(tmp_path))
    assert sorted(Store.open(str(tmp_path), allow_partial=True).summaries) == [0, 2, 3]


def test_another_list_is_noticed(tmp_path: Path) -> None:
    store = make_store(tmp_path, 23)
    make_manifest(23, first=50).write(Storage.at(tmp_path), "manifest.parquet")
    with pytest.raises(StoreError, match=r"manifest\.parquet is not the list that meta\.json names"):
        list(store.features(0))


def test_damaged_json_is_named(tmp_path: Path) -> None:
    make_store(tmp_path, 4)
    (tmp_path / "card.json").write_bytes(b"{")
    with pytest.raises(StoreError, match=r"card\.json cannot be read"):
        _ = Store.open(str(tmp_path)).card
    (tmp_path / "shards.json").write_bytes(b"{")
    with pytest.raises(StoreError, match=r"shards\.json is damaged"):
        Store.open(str(tmp_path))


def test_a_shard_of_another_store_is_refused(tmp_path: Path) -> None:
    make_store(tmp_path / "one", 5)
    make_store(tmp_path / "two", 5, topk=7)
    data = (tmp_path / "two" / "shards" / "00000.parquet").read_bytes()
    (tmp_path / "one" / "shards" / "00000.parquet").write_bytes(data)
    (tmp_path / "one" / "shards.json").write_bytes((tmp_path / "two" / "shards.json").read_bytes())
    with pytest.raises(StoreError, match=r"its arrays are not those that meta\.json names"):
        list(Store.open(str(tmp_path / "one")).features(0))


def test_a_pack_is_one_plain_mapped_dataset(tmp_path: Path) -> None:
    store = make_store(tmp_path, 23)
    store.make_pack()
    with h5py.File(tmp_path / "packed.hdf5") as file:
        assert file["descriptors"].chunks is None
        assert np.array_equal(file["descriptors"][:], store.read(range(23)).descriptors)
        assert np.array_equal(file["global"][:], store.pooled("global"))
    pack = Pack.open(tmp_path / "packed.hdf5")
    assert np.array_equal(pack.read(np.array([3, 9, 3]), 2).valid, store.read([3, 9, 3], 2).valid)


def test_a_cut_pack_is_named(tmp_path: Path) -> None:
    make_store(tmp_path, 23).make_pack()
    path = tmp_path / "packed.hdf5"
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(StoreError, match=r"packed\.hdf5 cannot be read, it is damaged"):
        Store.open(str(tmp_path)).read([1])


def test_a_pack_of_other_content_is_not_used(tmp_path: Path) -> None:
    make_store(tmp_path / "one", 23).make_pack()
    make_store(tmp_path / "two", 23, manifest=make_manifest(23, first=100), settings={"backbone": "other"})
    (tmp_path / "two" / "packed.hdf5").write_bytes((tmp_path / "one" / "packed.hdf5").read_bytes())
    assert Store.open(str(tmp_path / "two")).pack is None

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from ames_ray.errors import StoreError
from ames_ray.store.reader import Store
from tests.store.builders import TOPK, make_features, make_manifest, make_store

COLUMNS = [
    "row",
    "image_id",
    "uri",
    "status",
    "reason",
    "flag",
    "width",
    "height",
    "count",
    "locations",
    "scales",
    "weights",
    "descriptors",
    "cls",
    "global",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("parquet"), 23)


def test_pyarrow_alone_reads_everything(store: Store) -> None:
    manifest = make_manifest(23)
    for shard in range(5):
        table = pq.read_table(store.storage.path(f"shards/{shard:05d}.parquet"))
        assert sorted(table.column_names) == sorted(COLUMNS)
        about = json.loads(table.schema.metadata[b"ames_ray"])
        assert (about["shard"], about["rows"]) == (shard, list(store.meta.shard_range(shard)))
        assert about["settings"] == store.meta.settings
        for line in table.to_pylist():
            expected = make_features(manifest.record(line["row"]), store.meta)
            assert line["status"] == ("ok" if expected.ok else "error")
            assert (line["reason"], line["flag"]) == (expected.reason, expected.flag)
            assert (line["image_id"], line["uri"]) == (f"img{line['row']}", f"a/img{line['row']}.jpg")
            arrays = {
                name: np.frombuffer(line[name], kind["dtype"]).reshape(kind["shape"])
                for name, kind in about["arrays"].items()
            }
            if expected.local is None:
                assert not any(array.any() for array in arrays.values())
                continue
            count = line["count"]
            assert count == len(expected.local)
            assert np.array_equal(arrays["descriptors"][:count], expected.local.descriptors)
            assert np.array_equal(arrays["locations"][:count], expected.local.xy)
            assert np.array_equal(arrays["scales"][:count], expected.local.scale)
            assert np.array_equal(arrays["weights"][:count], expected.local.weight)
            assert np.array_equal(arrays["cls"], expected.pooled["cls"])
            assert not arrays["descriptors"][count:].any()
            assert arrays["descriptors"].shape == (TOPK, 16)


def test_pandas_reads_a_folder(store: Store) -> None:
    frame = pd.read_parquet(store.storage.path("shards"))
    assert frame["row"].tolist() == list(range(23))
    assert frame["reason"].dropna().tolist() == ["truncated", "empty", "truncated"]
    vectors = np.stack([np.frombuffer(value, "<f4") for value in frame["global"]])
    assert np.array_equal(vectors, store.pooled("global"))


def test_duckdb_counts_reasons(store: Store) -> None:
    shards = store.storage.path("shards/*.parquet")
    found = duckdb.sql(
        f"select reason, count(*), min(octet_length(descriptors)) from '{shards}' "
        "where status = 'error' group by reason order by reason"
    ).fetchall()
    assert found == [("empty", 1, TOPK * 16 * 2), ("truncated", 2, TOPK * 16 * 2)]


def test_reading_needs_neither_ray_nor_torch(store: Store) -> None:
    code = (
        "import sys; from ames_ray.store.reader import Store; "
        f"assert len(list(Store.open({store.storage.uri!r}).features(0))) == 5; "
        "assert not {'ray', 'torch', 'h5py'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_flipped_bit_is_noticed_at_the_read(tmp_path: Path) -> None:
    store = make_store(tmp_path, 20, topk=50, shard_rows=10)
    path = tmp_path / "shards" / "00001.parquet"
    data = bytearray(path.read_bytes())
    features = make_features(make_manifest(20).record(12), store.meta)
    assert features.local is not None
    needle = features.local.descriptors[0].astype("<f2").tobytes()
    data[data.index(needle) + 4] ^= 1
    path.write_bytes(data)
    store = Store.open(str(tmp_path))
    for read in (lambda: list(store.features(1)), lambda: store.read([12])):
        with pytest.raises(StoreError, match=r"00001\.parquet cannot be read, it is damaged") as caught:
            read()
        assert "delete shards/00001.parquet" in str(caught.value.hint)
    assert len(list(store.features(0))) == 10


@pytest.mark.parametrize("keep", [0, 3, 200, -7])
def test_a_cut_file_is_named(keep: int, tmp_path: Path) -> None:
    make_store(tmp_path, 20)
    path = tmp_path / "shards" / "00002.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StoreError, match=r"00002\.parquet has .* bytes, not"):
        Store.open(str(tmp_path))


def test_row_groups_are_bounded_and_shards_have_exact_rows(tmp_path: Path) -> None:
    store = make_store(tmp_path, 100, topk=700, dim=768, shard_rows=50)
    for shard in range(2):
        metadata = pq.read_metadata(tmp_path / "shards" / f"{shard:05d}.parquet")
        assert metadata.num_rows == 50
        groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
        assert max(group.total_byte_size for group in groups) <= 2_200_000
    assert store.read([99, 0, 51], 5).descriptors.shape == (3, 5, 768)

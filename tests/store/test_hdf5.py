from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from ames_ray.errors import StoreError
from ames_ray.store.features_file import open_features
from ames_ray.store.reader import Store
from tests.store.builders import TOPK, all_features, make_features, make_manifest, make_store


@pytest.mark.parametrize("codec", ["float32", "float16", "binary"])
def test_plain_h5py_reads_a_shard_as_the_authors_do(codec: str, tmp_path: Path) -> None:
    store = make_store(tmp_path, 12, format="hdf5", codec=codec)
    manifest = make_manifest(12)
    with h5py.File(tmp_path / "shards" / "00001.hdf5") as file:
        features = file["features"][:]
        assert len(features) == 5
        assert file["image_id"].asstr()[:].tolist() == [f"img{row}" for row in range(5, 10)]
        for line, row in zip(features, range(5, 10), strict=True):
            expected = make_features(manifest.record(row), store.meta)
            columns = line[:, :5] if codec == "float32" else line["metadata"]
            descriptors = line[:, 5:] if codec == "float32" else line["descriptor"]
            count = 0 if expected.local is None else len(expected.local)
            assert (columns[:count, 3] == 0).all()
            assert (columns[count:, 3] == 1).all()
            assert not descriptors[count:].any()
            if expected.local is None:
                continue
            assert np.array_equal(columns[:count, 2], expected.local.scale)
            assert np.array_equal(columns[:count, 4], expected.local.weight)
            values = descriptors[:count]
            if codec == "binary":
                values = np.unpackbits(values, axis=1) * 2.0 - 1
            assert np.array_equal(values, expected.local.descriptors)


@pytest.mark.parametrize("codec", ["float32", "float16", "binary"])
def test_the_joined_file_shows_all_shards(codec: str, tmp_path: Path) -> None:
    store = make_store(tmp_path, 23, format="hdf5", codec=codec)
    parts = []
    for shard in range(5):
        with h5py.File(tmp_path / "shards" / f"{shard:05d}.hdf5") as file:
            parts.append(file["features"][:])
    with h5py.File(tmp_path / "features.hdf5") as file:
        assert np.array_equal(file["features"][:], np.concatenate(parts))
        assert np.array_equal(file["global"][:], store.pooled("global"))
    with open_features(str(tmp_path / "features.hdf5")) as ours:
        assert (ours.rows, ours.topk, ours.dim, ours.codec) == (23, TOPK, 16, codec)
        columns, _ = ours.read(0, 23)
        assert ((columns[..., 3] == 0).sum(axis=1) == [len(f.local or ()) for f in all_features(store)]).all()


@pytest.fixture
def joined(tmp_path: Path) -> Path:
    make_store(tmp_path / "store", 23, format="hdf5")
    return tmp_path / "store" / "features.hdf5"


def _open(path: Path) -> None:
    with open_features(str(path)) as file:
        file.read(0, file.rows)


def test_a_missing_part_is_named(joined: Path) -> None:
    (joined.parent / "shards" / "00003.hdf5").unlink()
    with pytest.raises(StoreError, match=r"its part .*00003\.hdf5 is missing"):
        _open(joined)
    with h5py.File(joined) as file:
        assert np.isnan(file["features"][15]["descriptor"]).all()
    with pytest.raises(StoreError, match=r"shards/00003\.hdf5 is missing"):
        Store.open(str(joined.parent))


def test_a_moved_file_is_named(joined: Path) -> None:
    moved = joined.parents[1] / "moved.hdf5"
    shutil.move(joined, moved)
    with pytest.raises(StoreError, match=r"its part .*00000\.hdf5 is missing"):
        _open(moved)


def test_a_short_part_is_named(joined: Path) -> None:
    part = joined.parent / "shards" / "00001.hdf5"
    shutil.copy(joined.parent / "shards" / "00004.hdf5", part)
    with pytest.raises(StoreError, match=r"its part .*00001\.hdf5 has .* bytes, not"):
        _open(joined)


def test_a_changed_part_is_named(joined: Path) -> None:
    part = joined.parent / "shards" / "00001.hdf5"
    with h5py.File(part, "r+") as file:
        row = file["features"][2]
        row["descriptor"][0, 0] += 1
        file["features"][2] = row
    with pytest.raises(StoreError, match=r"its part .*00001\.hdf5 has changed"):
        _open(joined)
    store = Store.open(str(joined.parent))
    for read in (lambda: list(store.features(1)), lambda: store.read([7])):
        with pytest.raises(StoreError, match=r"00001\.hdf5 cannot be read.*checksum of its row 2 is wrong"):
            read()


def test_a_cut_part_is_named(joined: Path) -> None:
    part = joined.parent / "shards" / "00002.hdf5"
    size = part.stat().st_size
    part.write_bytes(part.read_bytes()[: size // 2] + bytes(size - size // 2))
    assert part.stat().st_size == size
    with pytest.raises(StoreError, match="00002"):
        _open(joined)
    part.write_bytes(bytes(size))
    store = Store.open(str(joined.parent))
    with pytest.raises(StoreError, match=r"00002\.hdf5 cannot be read, it is damaged"):
        store.read([11])

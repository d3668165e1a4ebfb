"""Exports against the authors' layout as a textbook writes it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from ames_ray.errors import StoreError
from ames_ray.store.convert import export_hdf5, import_hdf5
from ames_ray.store.pack import Pack
from ames_ray.store.reader import Store
from ames_ray.types import AnyArray, ImageFeatures
from tests.store.builders import DIM, TOPK, all_features, make_manifest, make_store
from tests.store.features_files import write

ROWS = 23


def textbook(item: ImageFeatures) -> AnyArray:
    """One image in the authors' layout, one value after the other, from the page on their extraction."""
    rows = np.zeros((TOPK, 5 + DIM))
    rows[:, 3] = 1
    if item.local is None:
        return rows
    box = item.record.bbox
    for index in range(TOPK):
        real = index < len(item.local)
        x, y = item.local.xy[index] if real else (0, 0)
        if box is None:
            first, second = (y / item.height, x / item.width) if real else (0, 0)
        else:
            x1, y1, x2, y2 = box
            row_fraction = (y - int(y1)) / (int(y2) - int(y1)) if real else 0
            column_fraction = (x - int(x1)) / (int(x2) - int(x1)) if real else 0
            first = (row_fraction * (x2 - x1) + x1) / item.width
            second = (column_fraction * (y2 - y1) + y1) / item.height
        rows[index, :2] = first, second
        if real:
            rows[index, 2:5] = item.local.scale[index], 0, item.local.weight[index]
            rows[index, 5:] = item.local.descriptors[index]
    return rows


@pytest.mark.parametrize("kind", ["parquet", "hdf5"])
@pytest.mark.parametrize("codec", ["float32", "float16", "binary"])
def test_a_plain_export_is_the_authors_file(kind: str, codec: str, tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ROWS, format=kind, codec=codec)
    written = export_hdf5(store, str(tmp_path / "dinov2_gallery_local.hdf5"))
    assert sorted(Path(name).name for name in written) == [
        "dinov2_cls_gallery_global.pt",
        "dinov2_gallery_cls.hdf5",
        "dinov2_gallery_global.hdf5",
        "dinov2_gallery_global.pt",
        "dinov2_gallery_local.hdf5",
    ]
    with h5py.File(tmp_path / "dinov2_gallery_local.hdf5") as file:
        assert list(file) == ["features"]
        features = file["features"]
        assert (features.dtype, features.shape) == (np.float32, (ROWS, TOPK, 5 + DIM))
        expected = np.stack([textbook(item) for item in all_features(store)])
        assert np.allclose(features[:], expected, atol=1e-6)
        assert np.array_equal(features[:, :, 2:], expected[:, :, 2:].astype(np.float32))
    for name, file_name in (("global", "dinov2_gallery_global.pt"), ("cls", "dinov2_cls_gallery_global.pt")):
        raw = np.fromfile(tmp_path / file_name, "<f4").reshape(ROWS, -1)
        assert np.array_equal(raw, store.pooled(name))
        with h5py.File(tmp_path / f"dinov2_gallery_{name}.hdf5") as file:
            assert np.array_equal(file["features"][:], raw)


@pytest.mark.parametrize("codec", ["float32", "float16", "binary"])
def test_a_compound_export_has_both_fields(codec: str, tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ROWS, codec=codec)
    export_hdf5(store, str(tmp_path / "out.hdf5"), "compound")
    with h5py.File(tmp_path / "out.hdf5") as file:
        rows = file["features"][:]
    expected = np.stack([textbook(item) for item in all_features(store)])
    assert np.allclose(rows["metadata"], expected[..., :5], atol=1e-6)
    if codec == "binary":
        assert rows["descriptor"].dtype == np.uint8
        assert np.array_equal(rows["descriptor"], np.packbits(expected[..., 5:] > 0, axis=-1))
    else:
        assert rows["descriptor"].dtype == np.float16
        assert np.array_equal(rows["descriptor"], expected[..., 5:].astype(np.float16))


def test_a_packed_export_is_mapped(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ROWS)
    assert export_hdf5(store, str(tmp_path / "packed.hdf5"), "packed") == [str(tmp_path / "packed.hdf5")]
    rows = [5, 0, 22, 5]
    ours, theirs = Pack.open(tmp_path / "packed.hdf5").read(np.array(rows), 3), store.read(rows, 3)
    assert np.array_equal(ours.descriptors, theirs.descriptors)
    assert np.array_equal(ours.valid, theirs.valid)


def test_no_export_over_a_file(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", 4)
    (tmp_path / "dinov2_query_cls.hdf5").write_text("mine")
    with pytest.raises(StoreError, match=r"dinov2_query_cls\.hdf5 exists"):
        export_hdf5(store, str(tmp_path / "dinov2_query_local.hdf5"))
    assert (tmp_path / "dinov2_query_cls.hdf5").read_text() == "mine"
    assert not (tmp_path / "dinov2_query_local.hdf5").exists()


def test_an_export_of_values_too_large_for_float16_leaves_nothing(tmp_path: Path) -> None:
    features = np.zeros((2, 3, 9), np.float32)
    features[1, 0, 5] = 1e6
    write(tmp_path / "in.hdf5", features)
    store = import_hdf5([str(tmp_path / "in.hdf5")], make_manifest(2), str(tmp_path / "store"))
    with pytest.raises(StoreError, match=r"row 1 \(img1\): descriptors reach 1e\+06, too large for float16"):
        export_hdf5(store, str(tmp_path / "out.hdf5"), "compound")
    assert not list(tmp_path.glob("out*"))


def test_an_unfinished_store_is_not_exported(tmp_path: Path) -> None:
    make_store(tmp_path / "store", ROWS)
    (tmp_path / "store" / "progress" / "00002.json").unlink()
    store = Store.open(str(tmp_path / "store"), allow_partial=True)
    with pytest.raises(StoreError, match="lacks shard 2"):
        export_hdf5(store, str(tmp_path / "out.hdf5"))
    assert not list(tmp_path.glob("out*"))

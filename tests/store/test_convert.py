from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ames_ray.datasets.manifest import Manifest
from ames_ray.errors import StoreError
from ames_ray.store.convert import export_hdf5, import_hdf5
from ames_ray.store.pack import Pack
from ames_ray.store.reader import Store
from ames_ray.store.writer import ShardWriter
from ames_ray.types import AnyArray, ImageFeatures, ImageRecord
from tests.store.builders import DIM, TOPK, all_features, hashes, make_features, make_manifest, make_store

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


def write(path: Path, features: Any) -> None:
    with h5py.File(path, "w") as file:
        file["features"] = features


def compound(plain: AnyArray, form: str, binary: bool) -> AnyArray:
    images, topk = plain.shape[:2]
    descriptor = np.packbits(plain[..., 5:] > 0, axis=-1) if binary else plain[..., 5:].astype(np.float16)
    kind = (descriptor.dtype, (descriptor.shape[2],))
    shape = (topk, descriptor.shape[2])
    if form == "records":
        fields = [("descriptor", *kind), ("metadata", "f4", (5,))]
        rows: AnyArray = np.zeros((images, topk), np.dtype(fields))
    else:
        rows = np.zeros(images, [("metadata", "f4", (topk, 5)), ("descriptor", kind[0], shape)])
    rows["descriptor"], rows["metadata"] = descriptor, plain[..., :5]
    return rows


FORMS = [
    (form, codec)
    for form in ("plain", "records", "arrays")
    for codec in ("float32", "float16", "binary")
    if (form, codec) != ("plain", "binary")
]


@pytest.mark.parametrize(("form", "codec"), FORMS)
def test_every_form_of_their_files_is_read(form: str, codec: str, tmp_path: Path) -> None:
    """From a store to their file and back; rows without any descriptor but with globals stay good."""
    first = make_store(tmp_path / "first", ROWS, codec=codec)
    export_hdf5(first, str(tmp_path / "a_local.hdf5"))
    with h5py.File(tmp_path / "a_local.hdf5") as file:
        plain = file["features"][:]
    kind = np.float32 if codec == "float32" else np.float16
    if (form, codec) == ("plain", "float16"):
        write(tmp_path / "b_local.hdf5", plain.astype(kind))
    else:
        write(
            tmp_path / "b_local.hdf5", plain if form == "plain" else compound(plain, form, codec == "binary")
        )
    store = import_hdf5(
        [str(tmp_path / "b_local.hdf5")],
        make_manifest(ROWS),
        str(tmp_path / "second"),
        pooled={"cls": str(tmp_path / "a_cls.hdf5"), "global": str(tmp_path / "a_global.pt")},
        shard_rows=4,
    )
    stored = "float16" if (form, codec) != ("plain", "float32") and codec != "binary" else codec
    assert (store.meta.codec, store.meta.topk, store.meta.dim, store.meta.shards) == (stored, TOPK, DIM, 6)
    assert store.meta.settings["location_convention"] == "fraction"
    rough = 1e-2 if stored == "float16" and form == "plain" else 1e-4
    for old, new in zip(all_features(first), all_features(store), strict=True):
        assert old.record == new.record
        assert new.reason == (None if old.ok else "no_features")
        if old.local is None or new.local is None:
            continue
        assert np.allclose(new.local.xy, old.local.xy, atol=120 * rough)
        assert np.array_equal(new.local.scale, old.local.scale)
        assert np.allclose(new.local.weight, old.local.weight, atol=rough)
        wanted = old.local.descriptors
        assert np.array_equal(
            new.local.descriptors, wanted.astype(np.float16) if stored == "float16" else wanted
        )
        assert all(np.array_equal(new.pooled[name], old.pooled[name]) for name in ("cls", "global"))


def test_pixels_are_told_from_fractions(tmp_path: Path) -> None:
    first = make_store(tmp_path / "first", ROWS, codec="float32", settings={"location_convention": "pixels"})
    export_hdf5(first, str(tmp_path / "cvnet_local.hdf5"))
    with h5py.File(tmp_path / "cvnet_local.hdf5") as file:
        item = make_features(make_manifest(ROWS).record(5), first.meta)
        assert item.local is not None
        crop = item.local.xy[:, ::-1] - (20, 10)
        assert np.array_equal(file["features"][5, : len(item.local), :2], crop)
    store = import_hdf5([str(tmp_path / "cvnet_local.hdf5")], make_manifest(ROWS), str(tmp_path / "second"))
    assert store.meta.settings["location_convention"] == "pixels"
    for old, new in zip(all_features(first), all_features(store), strict=True):
        if old.local is not None and new.local is not None:
            assert np.allclose(new.local.xy, old.local.xy, atol=1e-4)


def test_a_list_without_sizes_keeps_the_columns(tmp_path: Path) -> None:
    g = np.random.default_rng(0)
    features = g.random((4, 3, 9)).astype(np.float32)
    features[..., 2], features[..., 3] = 1, 0
    write(tmp_path / "in_local.hdf5", features)
    manifest = Manifest.from_records([ImageRecord(row, f"i{row}", f"i{row}.jpg") for row in range(4)], "/p")
    store = import_hdf5([str(tmp_path / "in_local.hdf5")], manifest, str(tmp_path / "store"))
    export_hdf5(store, str(tmp_path / "out_local.hdf5"))
    with h5py.File(tmp_path / "out_local.hdf5") as file:
        assert np.array_equal(file["features"][:], features)


def chunks(folder: Path, names: list[str]) -> AnyArray:
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for number, name in enumerate(names):
        part = np.full((2, 3, 9), number, np.float32)
        part[..., 2:4] = 0
        write(folder / f"dinov2_{name}_local.hdf5", part)
        parts.append(part)
    return np.concatenate(parts)


def test_more_than_26_chunks_in_a_folder_with_a_dot(tmp_path: Path) -> None:
    names = [*[f"x{a}{b}" for a in "ab" for b in "abcdefghijklmnopqrstuvwxyz"][:30], "xzaaa"]
    whole = chunks(tmp_path / "v1.0", names)
    (tmp_path / "v1.0" / "dinov2_xaa_global.hdf5").touch()
    store = import_hdf5(
        [str(tmp_path / "v1.0" / "dinov2_local.hdf5")],
        make_manifest(62),
        str(tmp_path / "store"),
        shard_rows=7,
    )
    assert np.array_equal(store.read(range(62)).descriptors, whole[..., 5:])


def test_a_virtual_file_of_theirs_is_followed_and_checked(tmp_path: Path) -> None:
    whole = chunks(tmp_path, ["xaa", "xab"])
    layout = h5py.VirtualLayout((4, 3, 9), "f4")
    for number, name in enumerate(("xaa", "xab")):
        source = h5py.VirtualSource(f"dinov2_{name}_local.hdf5", "features", (2, 3, 9))
        layout[2 * number : 2 * number + 2] = source
    with h5py.File(tmp_path / "dinov2_local.hdf5", "w") as file:
        file.create_virtual_dataset("features", layout)
    inputs = [str(tmp_path / "dinov2_local.hdf5")]
    store = import_hdf5(inputs, make_manifest(4), str(tmp_path / "store"))
    assert np.array_equal(store.read(range(4)).descriptors, whole[..., 5:])
    write_short = tmp_path / "dinov2_xab_local.hdf5"
    write_short.unlink()
    with pytest.raises(StoreError, match=r"its part .*dinov2_xab_local\.hdf5 is missing"):
        import_hdf5(inputs, make_manifest(4), str(tmp_path / "again"))
    write(write_short, whole[:1])
    with pytest.raises(StoreError, match=r"dinov2_xab_local\.hdf5 has features \(1, 3, 9\)"):
        import_hdf5(inputs, make_manifest(4), str(tmp_path / "again"))
    assert not (tmp_path / "again").exists()


GOOD = np.zeros((4, 3, 9), np.float32)


def _with(place: tuple[int, int, int], value: float) -> AnyArray:
    features = GOOD.copy()
    features[place] = value
    return features


BAD = {
    "nan": _with((2, 1, 7), np.nan),
    "inf location": _with((1, 0, 0), np.inf),
    "mask": _with((3, 1, 3), 0.5),
    "scale": _with((1, 2, 2), 0.7071),
    "flat": GOOD.reshape(4, -1),
    "narrow": GOOD[..., :5],
    "integers": GOOD.astype(np.int32),
    "fields": np.zeros((4, 3), [("descriptor", "f2", (4,)), ("meta", "f4", (5,))]),
    "metadata": np.zeros((4, 3), [("descriptor", "f2", (4,)), ("metadata", "f4", (4,))]),
    "signs": np.zeros((4, 3), [("descriptor", "i1", (4,)), ("metadata", "f4", (5,))]),
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("nan", "descriptors of image 2 hold values that are not finite"),
        ("inf location", "metadata of image 1 hold values that are not finite"),
        ("mask", "the mask of image 3 holds other values than 0 and 1"),
        ("scale", r"row 1 \(img1\) has scale indices that are no small whole numbers"),
        ("flat", r"features are float32 \(4, 27\); needed are float32 or float16 \(images, K, 5 \+ D\)"),
        ("narrow", r"features are float32 \(4, 3, 5\)"),
        ("integers", r"features are int32"),
        ("fields", "have the fields descriptor, meta; needed are descriptor and metadata"),
        ("metadata", r"metadata \(3, 4\); needed are \(K, D\) and \(K, 5\)"),
        ("signs", "the types are descriptor int8, metadata float32"),
    ],
)
def test_bad_files_are_refused_by_name(change: str, said: str, tmp_path: Path) -> None:
    write(tmp_path / "bad.hdf5", BAD[change])
    with pytest.raises(StoreError, match=rf"bad\.hdf5.*{said}"):
        import_hdf5([str(tmp_path / "bad.hdf5")], make_manifest(4), str(tmp_path / "store"))


def test_what_is_no_features_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "bad.hdf5"

    def read() -> None:
        import_hdf5([str(path)], make_manifest(4), str(tmp_path / "store"))

    with pytest.raises(StoreError, match=r"bad\.hdf5 is missing"):
        read()
    path.write_bytes(b"<html>")
    with pytest.raises(StoreError, match=r"bad\.hdf5 cannot be read, it is damaged"):
        read()
    with h5py.File(path, "w") as file:
        file["other"] = [1]
    with pytest.raises(StoreError, match="has no dataset 'features'; it holds other"):
        read()
    write(path, GOOD)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(StoreError, match=r"bad\.hdf5 cannot be read, it is damaged"):
        read()


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.hdf5", GOOD)
    write(tmp_path / "b.hdf5", np.zeros((4, 3, 10), np.float32))
    names = [str(tmp_path / "a.hdf5"), str(tmp_path / "b.hdf5")]
    with pytest.raises(
        StoreError, match=r"b\.hdf5 holds 3 descriptors of 5 float32 an image, .*a\.hdf5 .* 4"
    ):
        import_hdf5(names, make_manifest(8), str(tmp_path / "store"))
    with pytest.raises(StoreError, match="hold 4 images, the list has 5"):
        import_hdf5(names[:1], make_manifest(5), str(tmp_path / "store"))
    write(tmp_path / "cls.hdf5", np.zeros((3, 7), np.float32))
    pooled = {"cls": str(tmp_path / "cls.hdf5")}
    with pytest.raises(
        StoreError, match=r"cls\.hdf5: features are float32 \(3, 7\); needed are floats \(4, D\)"
    ):
        import_hdf5(names[:1], make_manifest(4), str(tmp_path / "store"), pooled=pooled)
    (tmp_path / "cls.hdf5").write_bytes(bytes(4 * 4 * 7 + 1))
    with pytest.raises(StoreError, match="113 bytes are not raw float32 of 4 images"):
        import_hdf5(names[:1], make_manifest(4), str(tmp_path / "store"), pooled=pooled)


def test_globals_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.hdf5", GOOD)
    np.array([[0, 1], [2, 3], [np.nan, 0], [1, 1]], "<f4").tofile(tmp_path / "a_global.pt")
    pooled = {"global": str(tmp_path / "a_global.pt")}
    with pytest.raises(StoreError, match=r"a_global\.pt: image 2 holds values that are not finite"):
        import_hdf5([str(tmp_path / "a.hdf5")], make_manifest(4), str(tmp_path / "store"), pooled=pooled)


def test_a_stopped_import_goes_on_and_never_with_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = np.random.default_rng(0).random((9, 3, 9)).astype(np.float32)
    good[..., 2:4] = 0
    bad = good.copy()
    bad[7, 0, 2] = 0.7
    write(tmp_path / "a.hdf5", bad)
    words: Any = ([str(tmp_path / "a.hdf5")], make_manifest(9), str(tmp_path / "store"))
    with pytest.raises(StoreError, match="scale indices"):
        import_hdf5(*words, shard_rows=2)
    made = sorted(path.name for path in (tmp_path / "store" / "progress").iterdir())
    assert made == ["00000.json", "00001.json", "00002.json"]
    write(tmp_path / "a.hdf5", good)
    with pytest.raises(StoreError, match="holds a part of a store made from other files"):
        import_hdf5(*words, shard_rows=2)

    write(tmp_path / "b.hdf5", good)
    words = ([str(tmp_path / "b.hdf5")], make_manifest(9), str(tmp_path / "other"))
    monkeypatch.setattr(ShardWriter, "publish", _third_time_lost(ShardWriter.publish))
    with pytest.raises(KeyboardInterrupt):
        import_hdf5(*words, shard_rows=2)
    monkeypatch.undo()
    kept = (tmp_path / "other" / "shards" / "00000.parquet").stat().st_mtime_ns
    store = import_hdf5(*words, shard_rows=2)
    assert (tmp_path / "other" / "shards" / "00000.parquet").stat().st_mtime_ns == kept
    assert np.array_equal(store.read(range(9)).descriptors, good[..., 5:])
    import_hdf5(words[0], words[1], str(tmp_path / "fresh"), shard_rows=2)
    assert hashes(tmp_path / "other") == hashes(tmp_path / "fresh")
    with pytest.raises(StoreError, match="holds a finished store already"):
        import_hdf5(*words, shard_rows=2)


def _third_time_lost(publish: Any) -> Any:
    """As if the user pressed Ctrl-C at the third shard."""
    calls = []

    def wrapped(self: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return publish(self)

    return wrapped


def test_an_unfinished_store_is_not_exported(tmp_path: Path) -> None:
    make_store(tmp_path / "store", ROWS)
    (tmp_path / "store" / "progress" / "00002.json").unlink()
    store = Store.open(str(tmp_path / "store"), allow_partial=True)
    with pytest.raises(StoreError, match="lacks shard 2"):
        export_hdf5(store, str(tmp_path / "out.hdf5"))
    assert not list(tmp_path.glob("out*"))

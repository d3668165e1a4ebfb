"""The authors' files, in every form that they come in, as stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ames_ray.datasets.manifest import Manifest
from ames_ray.errors import StoreError
from ames_ray.store.convert import export_hdf5, import_hdf5
from ames_ray.store.writer import ShardWriter
from ames_ray.types import ImageRecord
from tests.store.builders import DIM, TOPK, all_features, hashes, make_features, make_manifest, make_store
from tests.store.features_files import chunks, compound, write

ROWS = 23


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


def test_more_than_26_chunks_in_a_folder_with_a_dot(tmp_path: Path) -> None:
    names = [f"x{a}{b}" for a in "ab" for b in "abcdefghijklmnopqrstuvwxyz"][:31]
    whole = chunks(tmp_path / "v1.0", names)
    (tmp_path / "v1.0" / "dinov2_xaa_global.hdf5").touch()
    store = import_hdf5(
        [str(tmp_path / "v1.0" / "dinov2_local.hdf5")],
        make_manifest(62),
        str(tmp_path / "store"),
        shard_rows=7,
    )
    assert np.array_equal(store.read(range(62)).descriptors, whole[..., 5:])


def test_global_descriptors_come_in_chunks_as_well(tmp_path: Path) -> None:
    chunks(tmp_path, ["xaa", "xab"])
    wanted = np.random.default_rng(0).standard_normal((4, 7)).astype(np.float32)
    write(tmp_path / "dinov2_xaa_cls.hdf5", wanted[:3])
    write(tmp_path / "dinov2_xab_cls.hdf5", wanted[3:])
    inputs, pooled = [str(tmp_path / "dinov2_local.hdf5")], {"cls": str(tmp_path / "dinov2_cls.hdf5")}
    store = import_hdf5(inputs, make_manifest(4), str(tmp_path / "store"), pooled=pooled, shard_rows=3)
    assert np.array_equal(store.pooled("cls"), wanted)
    (tmp_path / "dinov2_xab_cls.hdf5").unlink()
    with pytest.raises(
        StoreError, match=r"dinov2_xaa_cls\.hdf5: features are .*\(3, 7\); needed are .*\(4, D\)"
    ):
        import_hdf5(inputs, make_manifest(4), str(tmp_path / "again"), pooled=pooled)
    with pytest.raises(StoreError, match=r"global\.hdf5 is missing, and so are chunks of it"):
        import_hdf5(
            inputs, make_manifest(4), str(tmp_path / "again"), pooled={"a": str(tmp_path / "global.hdf5")}
        )


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

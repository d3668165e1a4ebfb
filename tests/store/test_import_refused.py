"""Files that are not imported, each refused by its name and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from ames_ray.errors import StoreError
from ames_ray.store.convert import import_hdf5
from ames_ray.types import AnyArray
from tests.store.builders import make_manifest
from tests.store.features_files import write

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

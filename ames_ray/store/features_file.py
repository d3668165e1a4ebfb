"""Reading the authors' files: local descriptors in any of their forms, and global descriptors.

Whatever is missing, short, of a wrong type or not finite is an error that names the file; HDF5 itself shows a
missing part of a virtual file as zeros.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from ames_ray.errors import StoreError
from ames_ray.files import Storage, sha256_file
from ames_ray.store.authors import LEADING, MASK
from ames_ray.store.guard import reading
from ames_ray.store.hdf5 import FEATURES, PARTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ames_ray.types import AnyArray, FloatArray

_CODECS = {"float32": "float32", "float16": "float16", "uint8": "binary"}


@dataclass(frozen=True, slots=True, eq=False)
class FeaturesFile:
    """Local descriptors in the authors' layout, open for reading.

    Attributes:
        name: The file, as messages call it.
        rows: Images.
        topk: Local descriptors of an image.
        dim: Width D of a descriptor; for packed signs eight times its bytes.
        codec: Codec of a store that holds the same values.
    """

    name: str
    rows: int
    topk: int
    dim: int
    codec: str
    _data: Any

    def read(self, start: int, stop: int, count: int | None = None) -> tuple[FloatArray, AnyArray]:
        """Leading columns (B, K, 5) float32 and descriptors (B, K, width) as stored.

        Args:
            start: First image.
            stop: The one after the last.
            count: Only the first ones of each image, K of them; none for all.

        Raises:
            StoreError: The file is damaged, holds values that are not finite, or a mask that is not 0 or 1.
        """
        with reading(self.name):
            # Rows of sub-arrays come whole.
            values = self._data[start:stop, :count] if self._data.ndim > 1 else self._data[start:stop]
        if values.dtype.names is None:
            columns, descriptors = values[..., :LEADING], values[..., LEADING:]
        else:
            columns, descriptors = values["metadata"][:, :count], values["descriptor"][:, :count]
        columns = columns.astype(np.float32)
        for part, array in (("metadata", columns), ("descriptors", descriptors)):
            if len(bad := np.flatnonzero(~np.isfinite(array).all(axis=(1, 2)))):
                raise StoreError(
                    f"{self.name}: {part} of image {start + bad[0]} hold values that are not finite"
                )
        mask = columns[..., MASK]
        if len(bad := np.flatnonzero(((mask != 0) & (mask != 1)).any(axis=1))):
            raise StoreError(
                f"{self.name}: the mask of image {start + bad[0]} holds other values than 0 and 1"
            )
        return columns, descriptors


@contextmanager
def open_features(uri: str) -> Iterator[FeaturesFile]:
    """Open a file of local descriptors, plain or compound, whole or virtual.

    Raises:
        StoreError: It is missing or damaged, has another layout, or a part that it joins is missing, shorter
            or changed.
    """
    with _open(uri) as file:
        data = _dataset(file, uri)
        yield FeaturesFile(uri, len(data), *_layout(data, uri), _data=data)


@dataclass(frozen=True, slots=True, eq=False)
class PooledFile:
    """Global descriptors of all images, open for reading.

    Attributes:
        name: The file, as messages call it.
        rows: Images.
        dim: Width of a descriptor.
    """

    name: str
    rows: int
    dim: int
    _data: Any

    def read(self, start: int, stop: int) -> FloatArray:
        """Descriptors (B, D) float32 of images start … stop - 1.

        Raises:
            StoreError: The file is damaged, or holds values that are not finite.
        """
        with reading(self.name):
            values: FloatArray = np.asarray(self._data[start:stop], np.float32)
        if len(bad := np.flatnonzero(~np.isfinite(values).all(axis=1))):
            raise StoreError(f"{self.name}: image {start + bad[0]} holds values that are not finite")
        return values


@contextmanager
def open_pooled(uri: str, rows: int | None) -> Iterator[PooledFile]:
    """Open global descriptors: HDF5 `features` (images, D), or the authors' raw float32 without a header.

    Args:
        uri: The file.
        rows: Images that it should have; none for any number, which only HDF5 can tell.

    Raises:
        StoreError: It is missing or damaged, or has another shape.
    """
    path = Storage.at(uri).local
    if rows is not None and path is not None and path.is_file() and not h5py.is_hdf5(path):
        yield PooledFile(uri, rows, (data := _raw(path, rows)).shape[1], data)
        return
    with _open(uri) as file:
        data = _dataset(file, uri)
        if data.ndim != 2 or data.dtype.kind != "f" or rows not in {None, len(data)}:
            wanted = "images" if rows is None else rows
            raise StoreError(
                f"{uri}: features are {data.dtype} {data.shape}; needed are floats ({wanted}, D)"
            )
        yield PooledFile(uri, len(data), data.shape[1], data)


@contextmanager
def _open(uri: str) -> Iterator[h5py.File]:
    place = Storage.at(uri)
    if place.local is None:
        folder, name = Storage.of_file(uri)
        with reading(uri):
            file = h5py.File(folder.open(name), "r")
    else:
        with reading(uri):
            file = h5py.File(place.local, "r")
    with file:
        _check_parts(file, uri, place.local)
        yield file


def _dataset(file: h5py.File, uri: str) -> h5py.Dataset:
    found = file.get(FEATURES)
    if not isinstance(found, h5py.Dataset):
        raise StoreError(f"{uri} has no dataset '{FEATURES}'; it holds {', '.join(file) or 'nothing'}")
    return found


def _layout(data: h5py.Dataset, uri: str) -> tuple[int, int, str]:
    """Descriptors of an image, their width and the codec."""
    if data.dtype.names is None:
        if data.ndim != 3 or data.shape[2] <= LEADING or data.dtype.name not in {"float32", "float16"}:
            raise StoreError(
                f"{uri}: features are {data.dtype} {data.shape}; "
                f"needed are float32 or float16 (images, K, {LEADING} + D)"
            )
        return data.shape[1], data.shape[2] - LEADING, data.dtype.name
    if set(data.dtype.names) != {"descriptor", "metadata"}:
        raise StoreError(
            f"{uri}: features have the fields {', '.join(data.dtype.names)}; "
            "needed are descriptor and metadata"
        )
    kinds = {name: data.dtype[name].base for name in data.dtype.names}
    shapes = {name: (*data.shape[1:], *data.dtype[name].shape) for name in data.dtype.names}
    codec = _CODECS.get(kinds["descriptor"].name)
    if codec is None or kinds["metadata"].kind != "f":
        types = ", ".join(f"{name} {kind.name}" for name, kind in kinds.items())
        raise StoreError(f"{uri}: the types are {types}; needed are float16, float32 or uint8, and float")
    if len(shapes["descriptor"]) != 2 or shapes["metadata"] != (shapes["descriptor"][0], LEADING):
        raise StoreError(
            f"{uri}: an image has descriptor {shapes['descriptor']} and metadata {shapes['metadata']}; "
            f"needed are (K, D) and (K, {LEADING})"
        )
    topk, width = shapes["descriptor"]
    return topk, width * 8 if codec == "binary" else width, codec


def _raw(path: Path, rows: int) -> AnyArray:
    size = path.stat().st_size
    if not rows or not size or size % (4 * rows):
        raise StoreError(
            f"{path} is no HDF5 file, and its {size:,} bytes are not raw float32 of {rows} images",
            "give the global descriptors of these images, one row an image",
        )
    with reading(str(path)):
        return np.memmap(path, "<f4", "r", shape=(rows, size // (4 * rows)))


def _check_parts(file: h5py.File, uri: str, path: Path | None) -> None:
    """Compare the parts of a virtual file with what it expects of them."""
    if (named := file.attrs.get(PARTS)) is not None and path is not None:
        for part in json.loads(named):
            _check_ours(path.parent / part["file"], part, uri)
    for name, data in file.items():
        if isinstance(data, h5py.Dataset) and data.is_virtual:
            for source in data.virtual_sources():
                _check_source(source, path, f"{uri}: {name}")


def _check_ours(part: Path, expected: dict[str, Any], uri: str) -> None:
    if not part.is_file():
        raise StoreError(f"{uri}: its part {part} is missing", "put it back beside the file that joins it")
    size = part.stat().st_size
    if size != expected["bytes"]:
        raise StoreError(f"{uri}: its part {part} has {size:,} bytes, not {expected['bytes']:,}")
    if sha256_file(part) != expected["sha256"]:
        raise StoreError(f"{uri}: its part {part} has changed")


def _check_source(source: Any, path: Path | None, what: str) -> None:
    """Refuse a source that is missing or shorter than what is taken from it."""
    if source.file_name == ".":
        return
    if path is None:
        raise StoreError(f"{what} is virtual, and its parts cannot be followed on a remote disk")
    part = path.parent / source.file_name
    if not part.is_file():
        raise StoreError(f"{what}: its part {part} is missing", "put it back, or give the parts themselves")
    with reading(str(part)), h5py.File(part, "r") as file:
        found = file.get(source.dset_name)
        shape = found.shape if isinstance(found, h5py.Dataset) else ()
    if source.src_space.get_select_type() == h5py.h5s.SEL_HYPERSLABS:
        needed = tuple(int(end) + 1 for end in source.src_space.get_select_bounds()[1])
        enough = len(shape) == len(needed) and all(np.greater_equal(shape, needed))
    else:
        needed = (source.vspace.get_select_npoints(),)
        enough = int(np.prod(shape, dtype=np.int64)) == needed[0]
    if not enough:
        raise StoreError(f"{what}: its part {part} has {source.dset_name} {shape}; needed is {needed}")

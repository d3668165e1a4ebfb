"""Stores to the authors' HDF5 files, and their files to stores."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Literal

import h5py
import numpy as np

from ames_ray.datasets.authors_layout import find_parts, pooled_names
from ames_ray.errors import StoreError
from ames_ray.files import Storage
from ames_ray.store.authors import (
    MASK,
    SCALE,
    WEIGHT,
    LocationMap,
    compound_rows,
    leading_columns,
    plain_rows,
)
from ames_ray.store.codec import encode, named, unpack_signs
from ames_ray.store.copying import fill
from ames_ray.store.guard import publishing
from ames_ray.store.hdf5 import FEATURES, contiguous, features_kind, reserve
from ames_ray.store.joined_files import features_meta, open_joined, open_joined_pooled
from ames_ray.store.meta import NO_FEATURES
from ames_ray.store.pack import write_pack
from ames_ray.store.parquet import group_rows
from ames_ray.store.reader import Store
from ames_ray.types import AnyArray, FloatArray, ImageFeatures, ImageRecord, LocalFeatures

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from ames_ray.datasets.manifest import Manifest
    from ames_ray.store.features_file import FeaturesFile
    from ames_ray.store.joined_files import JoinedPooled
    from ames_ray.store.meta import StoreMeta


_GONE = "removed"


def export_hdf5(
    store: Store, output: str, layout: Literal["plain", "compound", "packed"] = "plain"
) -> list[str]:
    """Write a store as the authors' files, or as one packed file for random reads.

    Beside `NAME_local.hdf5` the global descriptors are written twice: as the authors' releases have them
    (`NAME_cls.hdf5`) and as their extraction command does (raw float32 without a header, `….pt`).
    These files cannot tell that a photo was removed: its row is that of a failed image, without descriptors.

    Args:
        store: A store that is whole.
        output: File of the local descriptors; it must not exist.
        layout: plain: float32 (rows, K, 5 + D). compound: float16, or uint8 signs, with float32 metadata.

    Returns:
        The files written.

    Raises:
        StoreError: A file exists, the disk is full, or a value is too large for float16.
    """
    store.require_all()
    place, name = Storage.of_file(output)
    pooled = {} if layout == "packed" else {key: pooled_names(name, key) for key in sorted(store.meta.pooled)}
    files = [name, *(file for pair in pooled.values() for file in pair)]
    for file in files:
        if place.exists(file):
            raise StoreError(f"{place.address(file)} exists", "delete it or choose another output=")
    for key, (hdf5, raw) in pooled.items():
        values = store.pooled(key)
        values[store.removed] = 0
        with publishing(place, hdf5, values.nbytes) as path, h5py.File(path, "w") as target:
            target.create_dataset(FEATURES, data=values)
        with publishing(place, raw, values.nbytes) as path:
            values.astype("<f4").tofile(path)
    meta = _export_meta(store.meta, layout)
    with publishing(place, name, meta.rows * meta.row_bytes) as path:
        if layout == "packed":
            write_pack(path, store.storage, store.meta, store.summaries, store.removed)
        else:
            _write_features(path, store, meta)
    return [place.address(file) for file in files]


def import_hdf5(
    inputs: Sequence[str],
    manifest: Manifest,
    output: str,
    *,
    pooled: Mapping[str, str] | None = None,
    shard_rows: int = 256,
) -> Store:
    """Make a store of the authors' files; the same call goes on where a killed one stopped.

    Images without any real descriptor become failed rows (`no_features`).

    Args:
        inputs: Files of local descriptors in order; the name of a file that was cut in chunks
            (`dinov2_local.hdf5` for `dinov2_xaa_local.hdf5` …) stands for all of them.
        manifest: The list that the rows belong to.
        output: Folder or address of the new store.
        pooled: Files of global descriptors by name, HDF5 or raw float32; they may be cut in chunks as well.
        shard_rows: Rows of a shard.

    Raises:
        StoreError: A file is missing, damaged, of another layout, not finite, or of another length than the
            list; or the output is in use or holds something else.
    """
    names = [part for name in inputs for part in find_parts(name)]
    with ExitStack() as stack:
        local = stack.enter_context(open_joined(names))
        others = {
            key: stack.enter_context(open_joined_pooled(find_parts(name), len(manifest)))
            for key, name in sorted((pooled or {}).items())
        }
        widths = {key: other.dim for key, other in others.items()}
        meta = features_meta(local, widths, manifest, shard_rows)
        reader = _Reader(local.files, others, manifest, meta)
        sources = [_identity(file.name, file.rows) for file in local.files]
        sources += [_identity(file.name, file.rows) for other in others.values() for file in other.files]
        fill(Storage.at(output), meta, manifest, reader.rows, job="store import", sources=sources)
    return Store.open(output)


def _export_meta(meta: StoreMeta, layout: str) -> StoreMeta:
    """The store as the file will hold it."""
    if layout == "compound" and meta.codec == "float32":
        return replace(meta, codec="float16", format="hdf5")
    if layout == "plain" and meta.codec != "float32":
        return replace(meta, codec="float32", format="hdf5")
    return replace(meta, format="hdf5")


def _write_features(path: Path, store: Store, meta: StoreMeta) -> None:
    dtype, shape = features_kind(meta)
    at = 0
    with h5py.File(path, "w") as file:
        data = contiguous(file, FEATURES, (meta.rows, *shape), dtype)
        reserve(file)
        removed = set(store.removed.tolist())
        for shard in range(meta.shards):
            source = _without(removed, store.features(shard))
            while batch := list(islice(source, group_rows(meta))):
                data[at : at + len(batch)] = _authors_rows(batch, meta)
                at += len(batch)


def _without(removed: AbstractSet[int], rows: Iterable[ImageFeatures]) -> Iterator[ImageFeatures]:
    """The rows of a shard, those of removed photos as failed ones."""
    for item in rows:
        is_gone = item.record.row in removed
        yield replace(item, local=None, pooled={}, reason=_GONE) if is_gone else item


def _authors_rows(batch: Sequence[ImageFeatures], meta: StoreMeta) -> AnyArray:
    block = encode(batch, [""] * len(batch), meta)
    columns = leading_columns(batch, block, meta.settings)
    make = plain_rows if meta.codec == "float32" else compound_rows
    return make(columns, block.arrays["descriptors"])


class _Reader:
    """Rows of several files as one sequence."""

    def __init__(
        self,
        files: Sequence[FeaturesFile],
        pooled: Mapping[str, JoinedPooled],
        manifest: Manifest,
        meta: StoreMeta,
    ) -> None:
        self._files = files
        self._pooled = pooled
        self._manifest = manifest
        self._meta = meta

    def rows(self, start: int, stop: int) -> Iterator[ImageFeatures]:
        """Rows start … stop - 1, read some at a time."""
        step = group_rows(self._meta)
        first = 0
        for file in self._files:
            begin, end = max(start, first), min(stop, first + file.rows)
            for at in range(begin, end, step):
                yield from self._batch(file, at, min(at + step, end), first)
            first += file.rows

    def _batch(self, file: FeaturesFile, start: int, stop: int, first: int) -> Iterator[ImageFeatures]:
        columns, descriptors = file.read(start - first, stop - first)
        pooled = {name: other.read(start, stop) for name, other in self._pooled.items()}
        for index, record in enumerate(self._manifest.records(start, stop)):
            vectors = {name: values[index] for name, values in pooled.items()}
            yield self._features(file.name, record, columns[index], descriptors[index], vectors)

    def _features(
        self,
        name: str,
        record: ImageRecord,
        columns: FloatArray,
        descriptors: AnyArray,
        pooled: dict[str, FloatArray],
    ) -> ImageFeatures:
        width, height = record.width or 0, record.height or 0
        real = columns[:, MASK] == 0
        if not real.any() and not any(vector.any() for vector in pooled.values()):
            return ImageFeatures(record, width=width, height=height, reason=NO_FEATURES)
        columns, descriptors = columns[real], descriptors[real]
        scales = columns[:, SCALE].astype(np.int8)
        if (scales != columns[:, SCALE]).any():
            raise StoreError(f"{name}: {named(record)} has scale indices that are no small whole numbers")
        where = LocationMap.of(record, width, height, self._meta.settings)
        values = (
            unpack_signs(descriptors) if descriptors.dtype == np.uint8 else descriptors.astype(np.float32)
        )
        local = LocalFeatures(where.to_pixels(columns[:, :SCALE]), scales, columns[:, WEIGHT], values)
        return ImageFeatures(record, local, pooled, width, height)


def _identity(uri: str, rows: int) -> dict[str, object]:
    """What tells a file from another one of its name."""
    path = Storage.at(uri).local
    stat = path.stat() if path is not None else None
    return {
        "name": Storage.of_file(uri)[1],
        "rows": rows,
        "bytes": stat.st_size if stat else None,
        "changed": stat.st_mtime_ns if stat else None,
    }

"""The authors' files that were cut in chunks, read as one; and what a store of their rows holds."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ames_ray.errors import StoreError
from ames_ray.store.authors import MASK, SCALE
from ames_ray.store.features_file import FeaturesFile, PooledFile, open_features, open_pooled
from ames_ray.store.meta import StoreMeta

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ames_ray.datasets.manifest import Manifest
    from ames_ray.types import AnyArray, FloatArray

File = TypeVar("File", FeaturesFile, PooledFile)
_PROBE_IMAGES = 16


@dataclass(frozen=True, slots=True, eq=False)
class JoinedFeatures:
    """Local descriptors of several files of one kind, one after the other."""

    files: tuple[FeaturesFile, ...]

    @property
    def rows(self) -> int:
        """Images in all."""
        return sum(file.rows for file in self.files)

    @property
    def first(self) -> FeaturesFile:
        """The first file; the others are of its kind."""
        return self.files[0]

    def read(self, start: int, stop: int, count: int | None = None) -> tuple[FloatArray, AnyArray]:
        """As `FeaturesFile.read`, the images counted on from file to file."""
        parts = [file.read(begin, end, count) for file, begin, end in _ranges(self.files, start, stop)]
        columns, descriptors = zip(*parts, strict=True)
        return np.concatenate(columns), np.concatenate(descriptors)


@dataclass(frozen=True, slots=True, eq=False)
class JoinedPooled:
    """Global descriptors of several files of one width, one after the other."""

    files: tuple[PooledFile, ...]

    @property
    def dim(self) -> int:
        """Width of a descriptor."""
        return self.files[0].dim

    def read(self, start: int, stop: int) -> FloatArray:
        """As `PooledFile.read`, the images counted on from file to file."""
        return np.concatenate([file.read(b, e) for file, b, e in _ranges(self.files, start, stop)])


@contextmanager
def open_joined(names: Sequence[str]) -> Iterator[JoinedFeatures]:
    """Open files of local descriptors.

    Raises:
        StoreError: As `open_features`; or they are not of one kind.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(open_features(name)) for name in names]
        first = files[0]
        for file in files[1:]:
            if (file.topk, file.dim, file.codec) != (first.topk, first.dim, first.codec):
                raise StoreError(
                    f"{file.name} holds {file.topk} descriptors of {file.dim} {file.codec} an image, "
                    f"{first.name} holds {first.topk} of {first.dim} {first.codec}"
                )
        yield JoinedFeatures(tuple(files))


@contextmanager
def open_joined_pooled(names: Sequence[str], rows: int) -> Iterator[JoinedPooled]:
    """Open files of global descriptors that have so many rows together.

    Raises:
        StoreError: As `open_pooled`; or they have another number of rows, or several widths.
    """
    with ExitStack() as stack:
        expected = rows if len(names) == 1 else None
        files = tuple(stack.enter_context(open_pooled(name, expected)) for name in names)
        total, widths = sum(file.rows for file in files), sorted({file.dim for file in files})
        if total != rows or len(widths) > 1:
            raise StoreError(
                f"{', '.join(names)} hold {total} global descriptors, {' and '.join(map(str, widths))} wide; "
                f"the local ones are of {rows} images"
            )
        yield JoinedPooled(files)


def features_meta(
    local: JoinedFeatures, pooled: Mapping[str, int], manifest: Manifest, shard_rows: int
) -> StoreMeta:
    """What a store of these rows holds.

    Args:
        local: The local descriptors.
        pooled: Width of each global descriptor by name.
        manifest: The list of the images.
        shard_rows: Rows of a shard.

    Raises:
        StoreError: The list has another length.
    """
    if local.rows != len(manifest):
        raise StoreError(
            f"{', '.join(file.name for file in local.files)} hold {local.rows} images, "
            f"the list has {len(manifest)}",
            "give the list that the files were made from, and all their parts in order",
        )
    return StoreMeta(
        rows=local.rows,
        shard_rows=shard_rows,
        format="parquet",
        codec=local.first.codec,
        topk=local.first.topk,
        dim=local.first.dim,
        pooled=dict(pooled),
        manifest_digest=manifest.digest,
        settings={"source": "hdf5", "location_convention": _convention(local)},
    )


def _convention(local: JoinedFeatures) -> str:
    """Fractions stay within 1, or little above it for a query's; pixels of real pictures do not."""
    columns, _ = local.read(0, min(local.rows, _PROBE_IMAGES))
    real = columns[columns[..., MASK] == 0]
    return "pixels" if len(real) and real[:, :SCALE].max() > 2 else "fraction"


def _ranges(files: Sequence[File], start: int, stop: int) -> Iterator[tuple[File, int, int]]:
    """Files that hold some of the rows start … stop - 1 of all, each with its own range; one at least."""
    first = 0
    for number, file in enumerate(files):
        begin, end = max(start - first, 0), min(stop - first, file.rows)
        if begin < end or (start == stop and number == 0):
            yield file, begin, max(begin, end)
        first += file.rows

"""Several stores, one after another, as one gallery: `roxford5k` followed by its million distractors."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ames_ray.errors import StoreError
from ames_ray.files import is_remote
from ames_ray.model.projection import PROJECTED_FROM, PROJECTION
from ames_ray.store.meta import AUTHORS
from ames_ray.store.reader import Store
from ames_ray.store.shards import content_digest
from ames_ray.types import FeatureBatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ames_ray.types import BoolArray, ImageRecord, IntArray

_IGNORED = {"crop", "read", "location_convention", PROJECTED_FROM}
"""Settings that change no descriptor, or only round it: R1M keeps truncated pictures, queries are cropped,
budgets and codecs differ."""


@dataclass(frozen=True, eq=False)
class Gallery:
    """Stores whose rows are counted on, so that row 4,993 of `roxford5k + r1m` is the first distractor.

    Attributes:
        stores: One or more, made with equal settings.

    Raises:
        StoreError: There is none, or they hold descriptors of different kinds.
    """

    stores: tuple[Store, ...]

    def __post_init__(self) -> None:
        if not self.stores:
            raise StoreError("a gallery needs one store at least")
        first = self.stores[0]
        for other in self.stores[1:]:
            lines = differences(first, other) + _unlike(first, other)
            if lines:
                pair = f"{first.storage.uri} and {other.storage.uri}"
                raise StoreError(
                    f"{pair} do not make one gallery: {'; '.join(lines)}",
                    "extract both with equal settings",
                )

    def __getstate__(self) -> dict[str, Any]:
        return {"stores": self.stores}

    @classmethod
    def open(cls, uris: Sequence[str]) -> Self:
        """Open finished stores.

        Raises:
            StoreError: One is not there or not finished, or named twice, or they differ in kind.
        """
        places = [uri if is_remote(uri) else str(Path(uri).resolve()) for uri in uris]
        for number, place in enumerate(places):
            if place in places[:number]:
                raise StoreError(
                    f"the gallery names {uris[number]} twice",
                    "each image has one row in it: name every store once",
                )
        return cls(tuple(Store.open(uri) for uri in uris))

    def __len__(self) -> int:
        return int(self._starts[-1])

    @cached_property
    def _starts(self) -> IntArray:
        return np.cumsum([0, *(store.meta.rows for store in self.stores)])

    @property
    def uri(self) -> str:
        """What messages call it."""
        return " + ".join(store.storage.uri for store in self.stores)

    @property
    def manifest_digest(self) -> str:
        """Digest of the image list; of several lists the SHA-256 over their digests, in order."""
        digests = [store.meta.manifest_digest for store in self.stores]
        return digests[0] if len(digests) == 1 else _sha256(*digests)

    @property
    def content_digest(self) -> str:
        """SHA-256 over the content of all stores."""
        return _sha256(*(content_digest(store.summaries) for store in self.stores))

    @cached_property
    def ok(self) -> BoolArray:
        """(rows,) bool, False for a failed row, and for that of a photo that was removed."""
        ok = np.concatenate([store.ok for store in self.stores])
        ok[self.removed] = False
        return ok

    @cached_property
    def failed(self) -> BoolArray:
        """(rows,) bool, True where `ok` is False and that is known without reading the descriptors.

        Of the authors' files it never is: `ok` reads all of them, up to a terabyte.
        """
        parts = [np.zeros(s.meta.rows, np.bool_) if s.meta.format == AUTHORS else ~s.ok for s in self.stores]
        failed = np.concatenate(parts)
        failed[self.removed] = True
        return failed

    @cached_property
    def removed(self) -> IntArray:
        """Rows of photos that were removed, ascending."""
        starts = self._starts[:-1]
        return np.concatenate([store.removed + at for store, at in zip(self.stores, starts, strict=True)])

    @property
    def topk(self) -> int:
        """Most local descriptors that every store keeps of an image."""
        return min(store.meta.topk for store in self.stores)

    def records(self) -> Iterator[ImageRecord]:
        """The lines of all image lists in order; their `row` counts within each list."""
        for store in self.stores:
            yield from store.manifest

    def read(self, rows: Sequence[int] | IntArray, count: int) -> FeatureBatch:
        """The strongest `count` descriptors of some rows, in the given order.

        Raises:
            StoreError: A row or the count is outside of the stores.
        """
        wanted = np.asarray(rows, np.int64)
        if len(self.stores) == 1:
            return self.stores[0].read(wanted, count)
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < len(self)):
            raise StoreError(f"rows {wanted.min()} to {wanted.max()} were asked of {len(self)} in {self.uri}")
        owners = np.searchsorted(self._starts, wanted, side="right") - 1
        places = [np.flatnonzero(owners == number) for number in range(len(self.stores))]
        parts = [
            store.read(wanted[here] - start, count)
            for store, here, start in zip(self.stores, places, self._starts, strict=False)
        ]
        # Float16 and float32 may stand side by side; every value stays as it is.
        dtype = np.result_type(*(part.descriptors for part in parts))
        descriptors = np.empty((len(wanted), *parts[0].descriptors.shape[1:]), dtype)
        valid = np.empty((len(wanted), count), np.bool_)
        for here, part in zip(places, parts, strict=True):
            descriptors[here], valid[here] = part.descriptors, part.valid
        return FeatureBatch(wanted, descriptors, valid)


def differences(one: Store, other: Store) -> list[str]:
    """Why descriptors of two stores cannot be compared, a line each.

    Raw descriptors of one store can be compared with projected ones of another, if they started out alike.
    """
    mine, theirs = ({**store.meta.settings, "dim": store.meta.dim} for store in (one, other))
    ignored = _IGNORED
    if (PROJECTION in mine) != (PROJECTION in theirs):
        ignored = ignored | {PROJECTION, "dim"}
    return [
        f"{key} is {mine.get(key, 'not set')} and {theirs.get(key, 'not set')}"
        for key in sorted((mine.keys() | theirs.keys()) - ignored)
        if mine.get(key) != theirs.get(key)
    ]


def _unlike(one: Store, other: Store) -> list[str]:
    """Why comparable descriptors of two stores cannot lie in one array, a line each."""
    mine, theirs = ({PROJECTION: s.meta.settings.get(PROJECTION, "not set")} for s in (one, other))
    lines = [f"{PROJECTION} is {mine[PROJECTION]} and {theirs[PROJECTION]}"] if mine != theirs else []
    if (one.meta.codec == "binary") != (other.meta.codec == "binary"):
        lines.append(f"codec is {one.meta.codec} and {other.meta.codec}")
    return lines


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()

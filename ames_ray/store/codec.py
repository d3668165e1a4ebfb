"""Image features as padded arrays of fixed shape, and back.

Letters: B rows, K = topk. The columns of a row are the same in every file format.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ames_ray.errors import StoreError
from ames_ray.types import AnyArray, FloatArray, ImageFeatures, ImageRecord, LocalFeatures

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ames_ray.store.meta import StoreMeta

TEXTS = ("image_id", "uri", "status", "reason", "flag")
NUMBERS = {"row": "<i8", "width": "<i4", "height": "<i4", "count": "<i4"}
LOCAL = ("locations", "scales", "weights", "descriptors")
Kind: TypeAlias = "tuple[np.dtype[np.generic], tuple[int, ...]]"
_DESCRIPTOR = {"float32": "<f4", "float16": "<f2", "binary": "|u1"}


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some consecutive rows as columns.

    Attributes:
        texts: `TEXTS`: B strings each; reason and flag may be none.
        arrays: `NUMBERS` (B,), `LOCAL` (B, K, …) padded with zeros, and each global descriptor (B, D).
    """

    texts: dict[str, list[str | None]]
    arrays: dict[str, AnyArray]

    def __len__(self) -> int:
        return len(self.arrays["row"])


def payload_kinds(meta: StoreMeta) -> dict[str, Kind]:
    """Type and shape of a row's arrays by column: the local ones, then the global descriptors.

    Raises:
        StoreError: A global descriptor has the name of another column.
    """
    if taken := sorted(meta.pooled.keys() & {*TEXTS, *NUMBERS, *LOCAL, "features"}):
        raise StoreError(f"a global descriptor cannot be called {taken[0]}: another column has that name")
    width = meta.dim // 8 if meta.codec == "binary" else meta.dim
    local: dict[str, Kind] = {
        "locations": (np.dtype("<f4"), (meta.topk, 2)),
        "scales": (np.dtype("|i1"), (meta.topk,)),
        "weights": (np.dtype("<f4"), (meta.topk,)),
        "descriptors": (np.dtype(_DESCRIPTOR[meta.codec]), (meta.topk, width)),
    }
    return local | {name: (np.dtype("<f4"), (dim,)) for name, dim in sorted(meta.pooled.items())}


def describe(meta: StoreMeta) -> dict[str, Any]:
    """What a file of rows says of its arrays, as JSON values: type and shape by column, and the codec."""
    kinds = payload_kinds(meta)
    arrays = {name: {"dtype": dtype.str, "shape": list(shape)} for name, (dtype, shape) in kinds.items()}
    return {"arrays": arrays, "codec": meta.codec, "version": meta.version}


def require_arrays(about: str | bytes, meta: StoreMeta) -> None:
    """Refuse a file whose arrays, as `describe` told them when it was written, are not those of the store."""
    found = json.loads(about)
    if any(found.get(key) != value for key, value in describe(meta).items()):
        raise ValueError("its arrays are not those that meta.json names")


def encode(features: Sequence[ImageFeatures], uris: Sequence[str], meta: StoreMeta) -> Block:
    """Rows as columns.

    Args:
        features: The rows.
        uris: Their addresses as the store keeps them, relative where the list has a root.
        meta: What the store holds.

    Raises:
        StoreError: A row has values that are not finite, or arrays that do not fit the store; it is named.
    """
    count = len(features)
    arrays = {name: np.zeros((count, *shape), dtype) for name, (dtype, shape) in payload_kinds(meta).items()}
    arrays["row"] = np.array([f.record.row for f in features], NUMBERS["row"])
    arrays["width"] = np.array([f.width for f in features], NUMBERS["width"])
    arrays["height"] = np.array([f.height for f in features], NUMBERS["height"])
    arrays["count"] = np.array([0 if f.local is None else len(f.local) for f in features], NUMBERS["count"])
    for index, item in enumerate(features):
        _check(item, meta)
        if item.local is not None:
            _fill(arrays, index, item.local, item, meta)
    texts: dict[str, list[str | None]] = {
        "image_id": [f.record.image_id for f in features],
        "uri": list(uris),
        "status": ["ok" if f.ok else "error" for f in features],
        "reason": [f.reason for f in features],
        "flag": [f.flag for f in features],
    }
    return Block(texts, arrays)


def decode(block: Block, records: Sequence[ImageRecord], meta: StoreMeta) -> Iterator[ImageFeatures]:
    """The rows of a block, each with its line of the list."""
    for index, record in enumerate(records):
        ok = block.texts["status"][index] == "ok"
        yield ImageFeatures(
            record=record,
            local=_local(block, index, meta.codec) if ok else None,
            pooled={name: block.arrays[name][index] for name in meta.pooled} if ok else {},
            width=int(block.arrays["width"][index]),
            height=int(block.arrays["height"][index]),
            reason=block.texts["reason"][index],
            flag=block.texts["flag"][index],
        )


def as_stored(descriptors: FloatArray, codec: str) -> AnyArray:
    """(N, D) descriptors as a store of that codec gives them back: rounded, or (N, D / 8) packed signs."""
    return pack_signs(descriptors) if codec == "binary" else descriptors.astype(_DESCRIPTOR[codec])


def pack_signs(values: AnyArray) -> AnyArray:
    """Signs of (…, D) numbers as bits (…, D / 8) uint8, 1 = positive."""
    return np.packbits(values > 0, axis=-1)


def unpack_signs(packed: AnyArray) -> FloatArray:
    """Sign bits (…, D / 8) as -1 and +1 (…, D) float32."""
    return np.unpackbits(packed, axis=-1).astype(np.float32) * 2 - 1


def named(record: ImageRecord) -> str:
    """A row as messages name it."""
    return f"row {record.row} ({record.image_id})"


def _local(block: Block, index: int, codec: str) -> LocalFeatures:
    count = int(block.arrays["count"][index])
    xy, scale, weight, stored = (block.arrays[name][index, :count] for name in LOCAL)
    descriptors = unpack_signs(stored) if codec == "binary" else stored.astype(np.float32)
    return LocalFeatures(xy, scale, weight, descriptors)


def _check(item: ImageFeatures, meta: StoreMeta) -> None:
    row = named(item.record)
    if item.ok != (item.local is not None):
        raise StoreError(f"{row} needs local descriptors or a reason, and not both")
    if item.local is None:
        return
    count = len(item.local)
    if count > meta.topk:
        raise StoreError(f"{row} has {count} local descriptors; the store holds topk={meta.topk}")
    shapes = (item.local.descriptors.shape, item.local.xy.shape, item.local.scale.shape)
    if shapes != ((count, meta.dim), (count, 2), (count,)):
        raise StoreError(
            f"{row}: descriptors, xy and scale have the shapes {', '.join(map(str, shapes))}; "
            f"needed are {(count, meta.dim)}, {(count, 2)}, {(count,)}"
        )
    found = {name: vector.shape for name, vector in item.pooled.items()}
    wanted = {name: (dim,) for name, dim in meta.pooled.items()}
    if found != wanted:
        raise StoreError(f"{row} has the global descriptors {found}; the store holds {wanted}")


def _fill(
    arrays: dict[str, AnyArray], index: int, local: LocalFeatures, item: ImageFeatures, meta: StoreMeta
) -> None:
    """Write one row into the columns; values are compared as they are stored."""
    count = len(local)
    sources: dict[str, AnyArray] = {"locations": local.xy, "scales": local.scale, "weights": local.weight}
    sources |= {name: item.pooled[name] for name in meta.pooled}
    if meta.codec == "binary":
        _require_finite(local.descriptors, local.descriptors, item, "descriptors")
        arrays["descriptors"][index, :count] = pack_signs(local.descriptors)
    else:
        sources["descriptors"] = local.descriptors
    for name, source in sources.items():
        target = arrays[name][index] if name in meta.pooled else arrays[name][index, :count]
        with np.errstate(over="ignore"):
            target[...] = source
        _require_finite(target, source, item, name)


def _require_finite(stored: AnyArray, source: AnyArray, item: ImageFeatures, name: str) -> None:
    if np.isfinite(stored).all():
        return
    row = named(item.record)
    if np.isfinite(source).all():
        worst = float(np.abs(source).max())
        raise StoreError(f"{row}: {name} reach {worst:g}, too large for {stored.dtype}", "use codec=float32")
    raise StoreError(
        f"{row}: {name} hold values that are not finite", "such a row is to be written with a reason instead"
    )

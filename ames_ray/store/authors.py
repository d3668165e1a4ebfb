"""The authors' HDF5 layout: `features`, five leading columns and the descriptor of each local feature.

Columns: location (2), scale index, mask (1 = padding, 0 = real), detector weight. DINOv2 files give the
location as (row, column) fractions, CVNet files in pixels of the cropped picture; AMES ignores it.
Plain files hold (images, K, 5 + D) floats. Compound files hold `descriptor` (float16, or uint8 = packed
signs) and `metadata` (5 columns), as (images,) rows of sub-arrays or (images, K) records.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.store.codec import unpack_signs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ames_ray.store.codec import Block
    from ames_ray.types import AnyArray, FloatArray, ImageFeatures, ImageRecord

LEADING = 5
SCALE, MASK, WEIGHT = 2, 3, 4


@dataclass(frozen=True, slots=True)
class LocationMap:
    """From pixels of the whole picture to the authors' two location columns, each axis by itself.

    Attributes:
        scale: Factors for y and x.
        shift: What is added to them.
        origin: y and x of the picture's or the crop's upper left corner; padding carries its location.
    """

    scale: tuple[float, float]
    shift: tuple[float, float]
    origin: tuple[float, float]

    @classmethod
    def of(cls, record: ImageRecord, width: int, height: int, settings: Mapping[str, Any]) -> LocationMap:
        """The map of one picture.

        Args:
            record: Its line of the list; a crop counts unless `settings["crop"]` is false.
            width: Width of the whole picture; 0 (unknown) counts as one pixel.
            height: Height of the whole picture, likewise.
            settings: Those of the store; `location_convention` is "fraction" or "pixels".
        """
        box = record.bbox if settings.get("crop", True) else None
        left, top = (0, 0) if box is None else (max(int(box[0]), 0), max(int(box[1]), 0))
        if settings.get("location_convention") == "pixels":
            return cls((1.0, 1.0), (-top, -left), (top, left))
        if box is None:
            return cls((1 / (height or 1), 1 / (width or 1)), (0.0, 0.0), (0.0, 0.0))
        # The authors move a query's fractions into the whole picture with the axes mixed up (golden rule 11):
        # the row goes by the box's x and the width, the column by its y and the height, the box not rounded.
        high = max(_cut(box[3], height) - top, 1)
        wide = max(_cut(box[2], width) - left, 1)
        listed = (record.width or width or 1, record.height or height or 1)
        scale = ((box[2] - box[0]) / listed[0] / high, (box[3] - box[1]) / listed[1] / wide)
        shift = (box[0] / listed[0] - top * scale[0], box[1] / listed[1] - left * scale[1])
        return cls(scale, shift, (top, left))

    def to_authors(self, xy: FloatArray) -> FloatArray:
        """(N, 2) x and y in pixels of the whole picture, as the two location columns (N, 2)."""
        moved: FloatArray = (xy[:, ::-1].astype(np.float64) * self.scale + self.shift).astype(np.float32)
        return moved

    def to_pixels(self, columns: AnyArray) -> FloatArray:
        """The inverse of `to_authors`."""
        yx: FloatArray = ((columns.astype(np.float64) - self.shift) / self.scale).astype(np.float32)
        return np.ascontiguousarray(yx[:, ::-1])

    @property
    def padding(self) -> FloatArray:
        """(2,) location columns of padding."""
        corner: FloatArray = self.to_authors(np.array([self.origin[::-1]], np.float32))[0]
        return corner


def leading_columns(
    features: Sequence[ImageFeatures], block: Block, settings: Mapping[str, Any]
) -> FloatArray:
    """The five leading columns (B, K, 5) of rows; a failed row is all padding with zeros.

    Args:
        features: The rows.
        block: The same rows, encoded.
        settings: Those of the store.
    """
    columns = np.zeros((*block.arrays["weights"].shape, LEADING), np.float32)
    columns[..., SCALE] = block.arrays["scales"]
    columns[..., MASK] = 1
    columns[..., WEIGHT] = block.arrays["weights"]
    for row, item in zip(columns, features, strict=True):
        if item.local is not None:
            where = LocationMap.of(item.record, item.width, item.height, settings)
            count = len(item.local)
            row[:count, :SCALE] = where.to_authors(item.local.xy)
            row[count:, :SCALE] = where.padding
            row[:count, MASK] = 0
    return columns


def plain_rows(columns: FloatArray, descriptors: AnyArray) -> FloatArray:
    """(B, K, 5 + D) float32 of the leading columns and descriptors; sign bits become -1, +1 and padding 0."""
    if descriptors.dtype == np.uint8:
        descriptors = unpack_signs(descriptors) * (columns[..., MASK : MASK + 1] == 0)
    return np.concatenate([columns, descriptors.astype(np.float32, copy=False)], axis=-1)


def compound_rows(columns: FloatArray, descriptors: AnyArray) -> AnyArray:
    """(B, K) records `descriptor` and `metadata`."""
    rows = np.empty(columns.shape[:2], compound_dtype(descriptors.dtype, descriptors.shape[2]))
    rows["descriptor"] = descriptors
    rows["metadata"] = columns
    return rows


def compound_dtype(dtype: np.dtype[Any], width: int) -> np.dtype[np.void]:
    """Type of a record with a descriptor of this type and width."""
    return np.dtype([("descriptor", dtype, (width,)), ("metadata", "<f4", (LEADING,))])


def _cut(end: float, side: int) -> int:
    return min(int(end), side) if side else int(end)

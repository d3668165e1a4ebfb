"""What flows between the parts of ames-ray.

Letters in shapes: N features of an image, D descriptor width, Q queries, T gallery descriptors,
K shortlist length, B batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

FloatArray: TypeAlias = NDArray[np.float32]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]
Pixels: TypeAlias = NDArray[np.uint8]
AnyArray: TypeAlias = NDArray[Any]
Box: TypeAlias = tuple[float, float, float, float]
"""left, top, right, bottom in pixels of the whole picture, after its EXIF rotation."""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One line of an image list.

    Attributes:
        row: Position in the list; this is what ground truth and shortlists refer to.
        image_id: Name without folder noise, unique where the list is unique.
        uri: Local path or `scheme://` address of the file, resolved against the data root.
        split: "query", "gallery", "train", "distractor" or none.
        bbox: Region to cut before anything else, or none for the whole picture.
        label: Landmark or class, or none.
        width: Width in pixels as the list states it, or none.
        height: Height in pixels as the list states it, or none.
    """

    row: int
    image_id: str
    uri: str
    split: str | None = None
    bbox: Box | None = None
    label: str | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LocalFeatures:
    """Local descriptors of one image, strongest first, without padding.

    Attributes:
        xy: (N, 2) float32, x and y of each feature in pixels of the whole picture.
        scale: (N,) int8, index of the image scale that the feature came from.
        weight: (N,) float32, detector weight, descending.
        descriptors: (N, D) float32.
    """

    xy: FloatArray
    scale: NDArray[np.int8]
    weight: FloatArray
    descriptors: FloatArray

    def __len__(self) -> int:
        return len(self.weight)

    def top(self, count: int) -> LocalFeatures:
        """The strongest `count` features; they are a prefix."""
        return LocalFeatures(
            self.xy[:count], self.scale[:count], self.weight[:count], self.descriptors[:count]
        )


@dataclass(frozen=True, slots=True, eq=False)
class ImageFeatures:
    """All that extraction says about one image: features, or the reason why there are none.

    Attributes:
        record: The line of the list.
        local: Local descriptors; none exactly when `reason` is set.
        pooled: Global descriptors by name ("global", "cls"), each (D,) float32, L2-normalised.
        width: Width of the whole picture in pixels, 0 where it could not be read.
        height: Height of the whole picture in pixels, 0 where it could not be read.
        reason: Reason code of a failed row (`ames_ray.images.reasons`), or none.
        flag: Reason code of a row that is usable but suspicious ("truncated" under `truncated=keep`).
    """

    record: ImageRecord
    local: LocalFeatures | None = None
    pooled: Mapping[str, FloatArray] = field(default_factory=dict)
    width: int = 0
    height: int = 0
    reason: str | None = None
    flag: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the row carries descriptors."""
        return self.reason is None


@dataclass(frozen=True, slots=True, eq=False)
class FeatureBatch:
    """Rows of a store as a model reads them.

    Attributes:
        rows: (B,) int64 list rows.
        descriptors: (B, N, D) float16 or float32; or (B, N, D / 8) uint8 packed sign bits.
        valid: (B, N) bool, True for a real descriptor, False for padding.
    """

    rows: IntArray
    descriptors: AnyArray
    valid: BoolArray

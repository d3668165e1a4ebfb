"""The picture at each scale, and the way back to the whole picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ames_ray.errors import ImageError
from ames_ray.images import reasons
from ames_ray.images.transform import crop, patch_factors, resize, resize_factor

if TYPE_CHECKING:
    from ames_ray.types import Box, Pixels


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A picture as a backbone sees it at one scale.

    Attributes:
        pixels: (h, w, 3) uint8 BGR, cropped and resized.
        origin: x and y of its corner in the whole picture [pixels].
        factor: Its pixels per pixel of the whole picture, along x and y.
    """

    pixels: Pixels
    origin: tuple[int, int]
    factor: tuple[float, float]


def make_views(
    pixels: Pixels,
    bbox: Box | None,
    *,
    imsize: int | None,
    scales: tuple[float, ...],
    patch: int | None,
    min_side: int,
) -> tuple[View, ...]:
    """Crop a picture and resize it to each scale.

    Args:
        pixels: (H, W, 3) uint8 BGR, the whole picture.
        bbox: Region to cut, or none.
        imsize: Longer side of the whole picture after resizing [pixels], or none; the crop follows it.
        scales: Factors on top of that.
        patch: Both sides become multiples of this, or none.
        min_side: Shortest allowed side of a view [pixels].

    Raises:
        ImageError: The box leaves nothing, or a view is too small.
    """
    height, width = pixels.shape[:2]
    cut = pixels if bbox is None else crop(pixels, bbox)
    origin = (0, 0) if bbox is None else (max(int(bbox[0]), 0), max(int(bbox[1]), 0))
    views = []
    for scale in scales:
        factor = resize_factor(width, height, imsize, scale)
        fy, fx = factor, factor
        if patch is not None:
            fy, fx = patch_factors(cut.shape[0], cut.shape[1], factor, patch)
        view = View(resize(cut, fx, fy), origin, (fx, fy))
        if min(view.pixels.shape[:2]) < min_side:
            raise ImageError(
                reasons.TOO_SMALL,
                f"{view.pixels.shape[1]}×{view.pixels.shape[0]} after resizing, min_side is {min_side}",
            )
        views.append(view)
    return tuple(views)

"""Made-up views of a photo: a camera that turns in front of it, other light, and foreign things around it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ames_ray.errors import DatasetError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ames_ray.types import Pixels

LONGEST_SIDE = 640
"""Longer side of a picture at most, in pixels."""
_SHORTEST_VIEW = 240
_FOCAL_LENGTH = 2.0


@dataclass(frozen=True, slots=True)
class ViewRange:
    """How far a view may be from its photo; every value is drawn uniformly.

    Attributes:
        area: Smallest and largest share of the photo's area that is seen.
        pitch: Largest turn of the camera up or down, in degrees.
        yaw: Left or right.
        roll: Around its own axis.
        gamma: Largest exponent of the brightness; the smallest is 1 / gamma, drawn on a logarithmic scale.
        cast: Each colour is multiplied by 1 - cast to 1 + cast.
        blur: Largest sigma of the Gaussian blur, in pixels of the view.
        quality: Smallest and largest JPEG quality.
    """

    area: tuple[float, float]
    pitch: float
    yaw: float
    roll: float
    gamma: float
    cast: float
    blur: float
    quality: tuple[int, int]


MODERATE = ViewRange((0.6, 0.9), 15, 20, 10, 1.3, 0.1, 0.0, (60, 90))
"""A view that is easily recognised."""
HARD = ViewRange((0.12, 0.36), 40, 45, 25, 2.0, 0.2, 2.0, (25, 50))
"""A part of 35 to 60 % of each side, from far aside, badly exposed, blurred and compressed."""
PASTED_SIDE = (0.55, 0.85)
"""Smallest and largest side of a pasted view, as a share of its background's."""
OCCLUDER_SIDE = (0.3, 0.5)
"""Smallest and largest axis of what stands in front of it, as a share of its side."""


def reduced(photo: Pixels, side: int = LONGEST_SIDE) -> Pixels:
    """The photo, or a smaller copy of it whose longer side has `side` pixels."""
    factor = side / max(photo.shape[:2])
    if factor >= 1:
        return photo
    size = tuple(max(1, round(length * factor)) for length in photo.shape[1::-1])
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)


def make_view(photo: Pixels, limits: ViewRange, random: np.random.Generator) -> Pixels:
    """What a camera sees that is turned towards a part of the photo, in other light.

    The photo is a plane; nothing beyond its edges is ever seen.

    Args:
        photo: (H, W, 3) uint8 BGR.
        limits: How far the view may be from it.
        random: Decides the view.

    Returns:
        (H', W', 3) uint8 BGR in the photo's proportions, its longer side 240 to 640 pixels.
    """
    height, width = photo.shape[:2]
    corners = _seen(width, height, limits, random)
    sides = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    side = float(np.clip(sides.max(), _SHORTEST_VIEW, LONGEST_SIDE)) / max(width, height)
    size = max(1, round(width * side)), max(1, round(height * side))
    target = np.array([[0, 0], [size[0], 0], [size[0], size[1]], [0, size[1]]], np.float32)
    warp = cv2.getPerspectiveTransform(corners.astype(np.float32), target)
    view = cv2.warpPerspective(photo, warp, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return _relit(np.asarray(view, np.uint8), limits, random)


def paste(view: Pixels, background: Pixels, random: np.random.Generator) -> Pixels:
    """The view in the midst of a foreign picture, a part of which stands in front of it.

    Args:
        view: (H, W, 3) uint8 BGR.
        background: Likewise, of any size.
        random: Decides the places.

    Returns:
        (H', W', 3) uint8 BGR in the proportions of the background, its longer side 640 pixels.
    """
    factor = LONGEST_SIDE / max(background.shape[:2])
    width, height = (round(length * factor) for length in background.shape[1::-1])
    canvas = np.asarray(cv2.resize(background, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    behind = canvas.copy()
    share = random.uniform(*PASTED_SIDE)
    factor = share * min(width / view.shape[1], height / view.shape[0])
    inner = round(view.shape[1] * factor), round(view.shape[0] * factor)
    shrink = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    left, top = (
        int(random.integers(0, length - own + 1)) for length, own in zip((width, height), inner, strict=True)
    )
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(view, inner, interpolation=shrink)
    axes = tuple(round(length * random.uniform(*OCCLUDER_SIDE)) for length in inner)
    centre = (left + int(random.integers(inner[0])), top + int(random.integers(inner[1])))
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, centre, (axes[0] // 2, axes[1] // 2), random.uniform(0, 180), 0, 360, 255, -1)
    # Shifted, so that what is in front does not simply go on with what is behind.
    shifted = np.roll(behind, (height // 3, width // 3), (0, 1))
    return np.where(mask[..., None] > 0, shifted, canvas)


def to_jpeg(picture: Pixels, quality: int) -> bytes:
    """The picture as JPEG, 4:2:0.

    Raises:
        DatasetError: OpenCV cannot encode it.
    """
    ok, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise DatasetError(f"a picture of shape {picture.shape} cannot be written as JPEG")
    return bytes(data)


def _seen(width: int, height: int, limits: ViewRange, random: np.random.Generator) -> NDArray[np.float64]:
    """(4, 2) corners of what the camera sees on the photo, x and y, clockwise from its upper left."""
    half = np.array([width, height]) / max(width, height) / 2
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    rays = np.column_stack([signs * half, np.full(4, _FOCAL_LENGTH)])
    angles = [math.radians(random.uniform(-most, most)) for most in (limits.pitch, limits.yaw, limits.roll)]
    turned = rays @ _rotation(*angles).T
    shape = turned[:, :2] / turned[:, 2:]
    x, y = shape.T
    area = abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2
    shape = shape * math.sqrt(random.uniform(*limits.area) * width * height / area)
    shape = shape - shape.min(axis=0)
    extent = shape.max(axis=0)
    # What is too long or too high for the photo is seen from nearer.
    shape = shape * min(1.0, width / extent[0], height / extent[1])
    room = np.maximum(np.array([width, height]) - shape.max(axis=0), 0)
    moved: NDArray[np.float64] = shape + random.uniform(0, 1, 2) * room
    return moved


def _rotation(pitch: float, yaw: float, roll: float) -> NDArray[np.float64]:
    around_x = [[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]]
    around_y = [[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]]
    around_z = [[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]]
    whole: NDArray[np.float64] = np.array(around_y) @ np.array(around_x) @ np.array(around_z)
    return whole


def _relit(view: Pixels, limits: ViewRange, random: np.random.Generator) -> Pixels:
    exponent = math.exp(random.uniform(-1, 1) * math.log(limits.gamma))
    colours = random.uniform(1 - limits.cast, 1 + limits.cast, 3)
    table = 255 * (np.arange(256)[:, None] / 255) ** exponent * colours
    lit = np.take_along_axis(
        np.clip(np.rint(table), 0, 255).astype(np.uint8), view.reshape(-1, 3).astype(np.int64), axis=0
    ).reshape(view.shape)
    sigma = random.uniform(0, 1) * limits.blur
    return np.asarray(cv2.GaussianBlur(lit, (0, 0), sigma), np.uint8) if sigma > 0.1 else lit

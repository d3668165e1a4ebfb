"""RootSIFT by OpenCV, with a VLAD global descriptor over a small codebook that ships with the package.

It needs no weights and no GPU: the default that works everywhere. RootSIFT: Arandjelović & Zisserman, CVPR
2012. VLAD: Jégou et al., CVPR 2010, with the residuals of each centre normalised (Arandjelović &
Zisserman, CVPR 2013).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ames_ray.backbones.base import BackboneInfo, PictureBackbone
from ames_ray.errors import ConfigError
from ames_ray.files import sha256_file
from ames_ray.types import LocalFeatures

if TYPE_CHECKING:
    from ames_ray.types import FloatArray, Pixels

DIM = 128
CENTRES = 16
CODEBOOK = Path(__file__).resolve().parents[1] / "data" / "sift_vlad16.npz"
"""`centres`: (16, 128) float32, made by `benchmarks/make_sift_codebook.py`."""


def root_sift(weights: str | None = None) -> PictureBackbone:
    """RootSIFT features, strongest response first, and their VLAD as `global`.

    Raises:
        ConfigError: Weights are given.
    """
    if weights is not None:
        raise ConfigError(f"backbone=sift has no weights, but weights={weights} was given", "drop weights=")
    info = BackboneInfo("sift", DIM, {"global": CENTRES * DIM}, "pixels", "none")
    return PictureBackbone(info, describe, sha256_file(CODEBOOK))


def describe(pixels: Pixels) -> tuple[LocalFeatures, dict[str, FloatArray]]:
    """The features of a picture, and `global`: (2048,) float32, their VLAD."""
    local = find_features(pixels)
    return local, {"global": vlad(local.descriptors, codebook())}


def find_features(pixels: Pixels) -> LocalFeatures:
    """All RootSIFT features of a picture, strongest response first.

    Args:
        pixels: (H, W, 3) uint8 BGR.

    Returns:
        x and y in pixels, where 0, 0 is the centre of the first one; the response is the weight.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    keypoints, sift = cv2.SIFT.create().detectAndCompute(grey, None)
    order = _strongest_first(keypoints)
    count = len(order)
    return LocalFeatures(
        xy=np.array([keypoints[i].pt for i in order], dtype=np.float32).reshape(count, 2),
        scale=np.zeros(count, dtype=np.int8),
        weight=np.array([keypoints[i].response for i in order], dtype=np.float32),
        descriptors=root(sift[order]) if count else np.zeros((0, DIM), dtype=np.float32),
    )


def root(sift: FloatArray) -> FloatArray:
    """RootSIFT: L1-normalised, then the square root; rows of (N, 128) come out with L2 norm 1."""
    total = np.maximum(sift.sum(axis=1, keepdims=True), 1e-12)
    rooted: FloatArray = np.sqrt(sift / total, dtype=np.float32)
    return rooted


def vlad(descriptors: FloatArray, centres: FloatArray) -> FloatArray:
    """Residuals to the nearest centre, summed and L2-normalised by centre, then L2-normalised.

    Args:
        descriptors: (N, D) float32; zeros come out for N = 0.
        centres: (K, D) float32.

    Returns:
        (K · D,) float32.
    """
    distances = (centres**2).sum(axis=1) - 2 * descriptors @ centres.T
    nearest = distances.argmin(axis=1)
    sums = np.zeros(centres.shape, dtype=np.float32)
    for centre in np.unique(nearest):
        sums[centre] = (descriptors[nearest == centre] - centres[centre]).sum(axis=0)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    flat = (sums / np.maximum(norms, 1e-12)).ravel()
    normalised: FloatArray = flat / max(float(np.linalg.norm(flat)), 1e-12)
    return normalised.astype(np.float32)


@cache
def codebook() -> FloatArray:
    """The (16, 128) centres that ship with the package."""
    with np.load(CODEBOOK, allow_pickle=False) as file:
        centres: FloatArray = file["centres"]
    return centres


def _strongest_first(keypoints: tuple[cv2.KeyPoint, ...]) -> list[int]:
    # One place can have several orientations of equal response: the rest of the key makes the order whole.
    return sorted(
        range(len(keypoints)),
        key=lambda i: (-keypoints[i].response, *keypoints[i].pt, keypoints[i].size, keypoints[i].angle),
    )

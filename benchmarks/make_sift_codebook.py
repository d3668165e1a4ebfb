"""Make `ames_ray/data/sift_vlad16.npz`, the codebook of the SIFT backbone's global descriptor.

The photos are those inside the scikit-image package, so anybody can make it again:

    python benchmarks/make_sift_codebook.py            # compare with the shipped file
    python benchmarks/make_sift_codebook.py --write    # replace it
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import skimage

from ames_ray.backbones.sift import CENTRES, CODEBOOK, find_features

if TYPE_CHECKING:
    from ames_ray.types import AnyArray, FloatArray

PHOTOS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "motorcycle_left.png",
    "rocket.jpg",
)
PER_PHOTO = 600
ROUNDS = 100
SEED = 0


def make_centres() -> FloatArray:
    """The centres: (16, 128) float32, in the order of their first coordinate."""
    folder = Path(skimage.__file__).parent / "data"
    photos = [np.asarray(cv2.imread(str(folder / name), cv2.IMREAD_COLOR), np.uint8) for name in PHOTOS]
    descriptors = np.concatenate([find_features(photo).top(PER_PHOTO).descriptors for photo in photos])
    centres = k_means(descriptors.astype(np.float64), CENTRES, np.random.default_rng(SEED))
    # Coarse rounding takes away what the order of summation adds on another machine.
    return np.round(centres[np.argsort(centres[:, 0])], 4).astype(np.float32)


def k_means(points: AnyArray, count: int, random: np.random.Generator) -> AnyArray:
    """Lloyd's algorithm from a k-means++ start, until nothing changes."""
    centres = points[[random.integers(len(points))]]
    while len(centres) < count:
        nearest = squared_distances(points, centres).min(axis=1)
        centres = np.concatenate([centres, points[[random.choice(len(points), p=nearest / nearest.sum())]]])
    for _ in range(ROUNDS):
        nearest = squared_distances(points, centres).argmin(axis=1)
        moved = np.stack([points[nearest == centre].mean(axis=0) for centre in range(count)])
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def squared_distances(points: AnyArray, centres: AnyArray) -> AnyArray:
    """(N, K) squared distances."""
    exact: AnyArray = (points**2).sum(axis=1)[:, None] - 2 * points @ centres.T + (centres**2).sum(axis=1)
    return exact.clip(min=0)


def main() -> int:
    """Compare with the shipped file, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", action="store_true", help="replace the shipped file")
    centres = make_centres()
    if parser.parse_args().write:
        CODEBOOK.parent.mkdir(parents=True, exist_ok=True)
        np.savez(CODEBOOK, centres=centres)
        print(f"wrote {CODEBOOK.name}")
        return 0
    with np.load(CODEBOOK, allow_pickle=False) as file:
        difference = float(np.abs(file["centres"] - centres).max())
    print(f"largest difference to the shipped centres: {difference:.1e}")
    return 0 if difference < 1e-3 else 1


if __name__ == "__main__":
    sys.exit(main())

"""Photos for the benchmarks: crops of the pictures that scikit-image carries, encoded anew."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ames_ray.samples.build import build_samples
from ames_ray.types import Pixels


def make(folder: Path, count: int, width: int, height: int, quality: int = 90) -> list[Path]:
    """`count` different JPEGs of one size, the same ones on every machine."""
    originals = folder.parent / "originals"
    build_samples(originals, "wheels")
    sources = [load(p) for p in sorted(originals.rglob("*")) if p.suffix in {".png", ".jpg"}]
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        random = np.random.default_rng(number)
        picture = sources[number % len(sources)]
        rows, columns = picture.shape[:2]
        part = random.uniform(0.5, 0.95)
        h, w = int(rows * part), int(columns * part)
        y, x = int(random.integers(rows - h + 1)), int(random.integers(columns - w + 1))
        view = cv2.resize(picture[y : y + h, x : x + w], (width, height), interpolation=cv2.INTER_CUBIC)
        paths.append(folder / f"{number:06d}.jpg")
        cv2.imwrite(str(paths[-1]), view, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return paths


def load(path: Path) -> Pixels:
    """Pixels as a loop by hand reads them."""
    pixels = cv2.imread(str(path))
    if pixels is None:
        raise FileNotFoundError(path)
    return np.asarray(pixels, np.uint8)

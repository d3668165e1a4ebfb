"""Small pictures for tests of the machinery; what is in them does not matter, only that it differs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np

GOLDEN_PHOTOS = Path(__file__).parent / "golden" / "images"


def make_photos(folder: Path, count: int, size: int = 64, first: int = 0) -> None:
    """`count` textured JPEGs, equal for equal numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        noise = np.random.default_rng(number).integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8)
        picture = cv2.resize(noise, (size, size + 8 * (number % 3)), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"photo{number}.jpg"), picture)


def shard_hashes(store: Path) -> dict[str, str]:
    """SHA-256 of everything in a store that must not depend on how it was made."""
    names = [*sorted((store / "shards").iterdir()), store / "manifest.parquet", store / "meta.json"]
    names += [store / "shards.json", store / "failed.csv"]
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in names}

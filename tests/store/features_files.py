"""Files of features as the authors write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ames_ray.types import AnyArray


def write(path: Path, features: Any) -> None:
    with h5py.File(path, "w") as file:
        file["features"] = features


def compound(plain: AnyArray, form: str, binary: bool) -> AnyArray:
    images, topk = plain.shape[:2]
    descriptor = np.packbits(plain[..., 5:] > 0, axis=-1) if binary else plain[..., 5:].astype(np.float16)
    kind = (descriptor.dtype, (descriptor.shape[2],))
    shape = (topk, descriptor.shape[2])
    if form == "records":
        fields = [("descriptor", *kind), ("metadata", "f4", (5,))]
        rows: AnyArray = np.zeros((images, topk), np.dtype(fields))
    else:
        rows = np.zeros(images, [("metadata", "f4", (topk, 5)), ("descriptor", kind[0], shape)])
    rows["descriptor"], rows["metadata"] = descriptor, plain[..., :5]
    return rows


def chunks(folder: Path, names: list[str]) -> AnyArray:
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for number, name in enumerate(names):
        part = np.full((2, 3, 9), number, np.float32)
        part[..., 2:4] = 0
        write(folder / f"dinov2_{name}_local.hdf5", part)
        parts.append(part)
    return np.concatenate(parts)

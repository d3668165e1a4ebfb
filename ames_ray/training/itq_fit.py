"""ITQ: the projection after which signs lose least (Gong and Lazebnik, CVPR 2011).

PCA to the number of bits, a random rotation, then in turns: the signs that are nearest to the rotated
descriptors, and the rotation that is nearest to the signs (orthogonal Procrustes). A binary network takes
signs without an offset, so PCA is either not centred, as for the authors' files, or leaves the direction of
the mean out: descriptors without negative numbers, such as RootSIFT, have else nearly the same signs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ames_ray.training.pca import normalised, pca_basis

if TYPE_CHECKING:
    from collections.abc import Callable

    from ames_ray.types import AnyArray, FloatArray

_BLOCK_ROWS = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class ItqFit:
    """What a fit found.

    Attributes:
        rotation: (D, bits) float32 with orthonormal columns; the sign of a descriptor times this is its code.
        errors: Mean squared distance of a rotated descriptor to its signs, before the first iteration and
            after each.
        kept: Share of the descriptors' squared length that PCA keeps, the mean's left out where it is.
    """

    rotation: FloatArray
    errors: tuple[float, ...]
    kept: float


def fit_itq(
    sample: AnyArray,
    bits: int,
    *,
    iterations: int = 50,
    seed: int = 0,
    mean: Literal["kept", "excluded"] = "kept",
    report: Callable[[int, float], None] | None = None,
) -> ItqFit:
    """Fit a projection to a sample.

    Args:
        sample: (N, D) descriptors of any float type, normalised here.
        bits: Bits of a code.
        iterations: Alternations.
        seed: Of the random rotation.
        mean: Whether the direction of the mean descriptor may be part of the code.
        report: Told the iteration and its error.

    Raises:
        StoreError: The sample is smaller than `bits`, or not finite.
    """
    basis, variances = pca_basis(sample, bits, mean=mean)
    reduced = _project(sample, basis)
    rotation = random_rotation(bits, seed)
    errors = []
    for iteration in range(iterations + 1):
        correlation, error = _signs(reduced, rotation)
        errors.append(error)
        if report is not None:
            report(iteration, error)
        if iteration < iterations:
            left, _, right = np.linalg.svd(correlation)
            rotation = left @ right
    return ItqFit((basis @ rotation).astype(np.float32), tuple(errors), float(variances.sum()))


def random_rotation(size: int, seed: int) -> AnyArray:
    """A uniformly random orthogonal matrix (size, size) float64."""
    values = np.random.default_rng(seed).standard_normal((size, size))
    orthogonal, triangle = np.linalg.qr(values)
    return orthogonal * np.sign(np.diag(triangle))


def _project(sample: AnyArray, basis: FloatArray) -> FloatArray:
    reduced = np.empty((len(sample), basis.shape[1]), np.float32)
    for start in range(0, len(sample), _BLOCK_ROWS):
        here = slice(start, start + _BLOCK_ROWS)
        reduced[here] = normalised(sample[here]) @ basis
    return reduced


def _signs(reduced: FloatArray, rotation: AnyArray) -> tuple[AnyArray, float]:
    """Correlation (bits, bits) with the signs, whose polar factor is the next rotation; and the error."""
    correlation = np.zeros(rotation.shape)
    squares = 0.0
    for start in range(0, len(reduced), _BLOCK_ROWS):
        block = reduced[start : start + _BLOCK_ROWS].astype(np.float64)
        rotated = block @ rotation
        codes = np.where(rotated > 0, 1.0, -1.0)
        correlation += block.T @ codes
        squares += float(((rotated - codes) ** 2).sum())
    return correlation, squares / len(reduced)

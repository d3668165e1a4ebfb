"""The directions along which descriptors vary most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from ames_ray.errors import StoreError

if TYPE_CHECKING:
    from ames_ray.types import AnyArray, FloatArray

_BLOCK_ROWS = 1 << 14
_NOTHING = 1e-10
"""A variance below it is rounding: stored numbers differ by 5e-4 of their size, or not at all."""

Mean = Literal["kept", "subtracted", "excluded"]


def pca_basis(sample: AnyArray, dims: int, *, mean: Mean = "kept") -> tuple[FloatArray, FloatArray]:
    """Principal directions of descriptors, each L2-normalised first.

    Args:
        sample: (N, D) descriptors of any float type; all-zero ones do not count.
        dims: Directions wanted.
        mean: "kept": directions around zero. "subtracted": around the mean. "excluded": around the mean and
            at right angles to it, so that what all descriptors have in common does not show in them even
            where no offset can take it away; D - 1 directions at most.

    Returns:
        Orthonormal basis (D, dims) float32, the strongest direction first, the largest entry of each
        positive; and their variances (dims,) float32, shares of 1 in all D directions.

    Raises:
        StoreError: There are fewer than `dims` descriptors or columns, values that are not finite, or all
            descriptors are alike.
    """
    count, width = sample.shape
    if not 0 < dims <= min(count, width - (mean == "excluded")):
        raise StoreError(
            f"{count:,} descriptors of width {width} have no {dims} principal directions",
            "ask for fewer, or sample more descriptors",
        )
    moments, total = np.zeros((width, width)), np.zeros(width)
    for start in range(0, count, _BLOCK_ROWS):
        block = normalised(sample[start : start + _BLOCK_ROWS]).astype(np.float64)
        moments += block.T @ block
        total += block.sum(axis=0)
    if mean != "kept":
        moments -= np.outer(total, total) / count
    if mean == "excluded":
        others = np.eye(width) - np.outer(total, total) / (total @ total or 1)
        moments = others @ moments @ others
    if moments.trace() <= _NOTHING * count:
        raise StoreError(
            f"{count:,} sampled descriptors are all alike, or zero", "look at how the store was made"
        )
    variances, directions = np.linalg.eigh(moments / moments.trace())
    basis = directions[:, ::-1][:, :dims]
    # An eigenvector's sign is arbitrary; fixed, equal samples give equal bases on every machine.
    largest = np.take_along_axis(basis, np.abs(basis).argmax(axis=0)[None], axis=0)
    return (basis * np.sign(largest)).astype(np.float32), variances[::-1][:dims].astype(np.float32)


def normalised(descriptors: AnyArray) -> FloatArray:
    """Descriptors (N, D) of norm 1, float32; zeros stay zeros.

    Raises:
        StoreError: A value is not finite.
    """
    values = np.asarray(descriptors, np.float32)
    if not np.isfinite(values).all():
        raise StoreError("a sampled descriptor holds NaN or infinity", "`ames-ray store verify` finds it")
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    unit: FloatArray = values / np.maximum(norms, np.finfo(np.float32).tiny)
    return unit

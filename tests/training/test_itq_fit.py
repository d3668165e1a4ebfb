"""PCA against an SVD, ITQ against the plain alternation on the whole matrix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ames_ray.errors import StoreError
from ames_ray.training import itq_fit, pca
from ames_ray.training.itq_fit import fit_itq, random_rotation
from ames_ray.training.pca import Mean, pca_basis
from ames_ray.types import AnyArray, FloatArray


def correlated(count: int, width: int, seed: int = 0) -> FloatArray:
    """Descriptors with clusters, so that there is something to find."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((6, width))
    values = centres[random.integers(0, 6, count)] + 0.5 * random.standard_normal((count, width))
    return (values * random.uniform(0.1, 9, (count, 1))).astype(np.float32)


def unit(values: AnyArray) -> AnyArray:
    values = values.astype(np.float64)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return values


def test_pca_is_the_svd_of_normalised_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pca, "_BLOCK_ROWS", 64)
    sample = correlated(300, 20)
    basis, variances = pca_basis(sample, 7)
    _, singular, right = np.linalg.svd(unit(sample), full_matrices=False)
    np.testing.assert_allclose(np.abs((basis * right[:7].T).sum(axis=0)), 1, atol=1e-5)
    np.testing.assert_allclose(variances, (singular**2 / (singular**2).sum())[:7], rtol=1e-4)
    np.testing.assert_allclose(basis.T @ basis, np.eye(7), atol=1e-5)
    assert (np.abs(basis).max(axis=0) == basis.max(axis=0)).all()


def test_without_the_mean_pca_is_the_svd_of_what_is_left() -> None:
    sample = np.abs(correlated(300, 20))
    values = unit(sample)
    middle = values.mean(axis=0) / np.linalg.norm(values.mean(axis=0))
    left = values - values.mean(axis=0)
    rests: dict[Mean, AnyArray] = {"subtracted": left, "excluded": left - np.outer(left @ middle, middle)}
    for mean, rest in rests.items():
        basis, variances = pca_basis(sample, 7, mean=mean)
        _, singular, right = np.linalg.svd(rest, full_matrices=False)
        np.testing.assert_allclose(np.abs((basis * right[:7].T).sum(axis=0)), 1, atol=1e-4)
        np.testing.assert_allclose(variances, (singular**2 / (singular**2).sum())[:7], rtol=1e-3)
    np.testing.assert_allclose(basis.T @ middle, 0, atol=1e-5)


@pytest.mark.parametrize("mean", ["subtracted", "excluded"])
@pytest.mark.parametrize("value", [0, 0.3])
def test_descriptors_that_are_all_alike_are_refused(mean: Mean, value: float) -> None:
    sample = np.full((40_000, 24), value, np.float16)
    with pytest.raises(StoreError, match="40,000 sampled descriptors are all alike, or zero"):
        pca_basis(sample, 8, mean=mean)
    with pytest.raises(StoreError, match="all alike, or zero"):
        pca_basis(sample * 0, 8)
    sample[::7, 3] = sample[::5, 4] = 1
    basis, _ = pca_basis(sample, 8, mean=mean)
    np.testing.assert_allclose(basis.T @ basis, np.eye(8), atol=1e-5)


def test_bits_tell_more_where_the_mean_is_excluded() -> None:
    sample = np.abs(correlated(500, 24))
    shares = []
    for mean in ("kept", "excluded"):
        signs = unit(sample) @ fit_itq(sample, 8, mean=mean).rotation > 0
        shares.append(np.abs(signs.mean(axis=0) - 0.5).mean())
    # A bit that is the same for nearly all descriptors tells nothing.
    assert shares[1] < 0.1 < shares[0]


def test_pca_does_not_see_lengths_or_zeros() -> None:
    sample = correlated(200, 12)
    scaled = np.concatenate([sample * 3, np.zeros((40, 12), np.float32)])
    for one, other in zip(pca_basis(sample, 4), pca_basis(scaled, 4), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def plain_itq(sample: AnyArray, bits: int, iterations: int, seed: int) -> tuple[AnyArray, list[float]]:
    """The textbook, all at once."""
    values = unit(sample)
    _, vectors = np.linalg.eigh(values.T @ values)
    basis = vectors[:, ::-1][:, :bits]
    basis = basis * np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(bits)])
    reduced, rotation = values @ basis, random_rotation(bits, seed)
    errors = []
    for _ in range(iterations):
        codes = np.where(reduced @ rotation > 0, 1, -1)
        errors.append(((reduced @ rotation - codes) ** 2).sum(axis=1).mean())
        right, _, left = np.linalg.svd(codes.T @ reduced)
        rotation = left.T @ right.T
    return basis @ rotation, errors


def test_itq_is_the_plain_alternation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(itq_fit, "_BLOCK_ROWS", 100)
    sample = correlated(500, 24)
    fit = fit_itq(sample.astype(np.float16), 8, iterations=12, seed=3)
    rotation, errors = plain_itq(sample.astype(np.float16), 8, 12, 3)
    np.testing.assert_allclose(fit.errors[:-1], errors, rtol=1e-5)
    np.testing.assert_allclose(fit.rotation, rotation, atol=1e-4)


@given(st.integers(2, 10), st.integers(10, 24), st.integers(0, 5), st.integers(0, 1000))
def test_columns_stay_orthonormal_and_the_error_falls(
    bits: int, width: int, iterations: int, seed: int
) -> None:
    seen: list[tuple[int, float]] = []
    fit = fit_itq(
        correlated(120, width, seed),
        bits,
        iterations=iterations,
        seed=seed,
        report=lambda iteration, error: seen.append((iteration, error)),
    )
    assert fit.rotation.shape == (width, bits)
    assert fit.rotation.dtype == np.float32
    np.testing.assert_allclose(fit.rotation.T @ fit.rotation, np.eye(bits), atol=1e-5)
    assert seen == list(enumerate(fit.errors))
    assert len(fit.errors) == iterations + 1
    assert (np.diff(fit.errors) <= 1e-9 * bits).all()
    assert 0 < fit.kept <= 1 + 1e-6


def test_too_little_and_broken_samples_are_refused() -> None:
    with pytest.raises(StoreError, match="3 descriptors of width 8 have no 4"):
        fit_itq(correlated(3, 8), 4)
    with pytest.raises(StoreError, match="no 9"):
        pca_basis(correlated(20, 8), 9)
    with pytest.raises(StoreError, match="no 8"):
        pca_basis(correlated(20, 8), 8, mean="excluded")
    broken = correlated(20, 8)
    broken[4, 2] = np.nan
    with pytest.raises(StoreError, match="NaN"):
        fit_itq(broken, 4)

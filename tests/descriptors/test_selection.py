"""Detector, pooling and selection against plain loops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ames_ray.descriptors.detector import Detector, NormWeights, load_detector
from ames_ray.descriptors.pooling import over_scales, weighted_mean
from ames_ray.descriptors.select import join_scales, strongest
from ames_ray.errors import WeightsError
from tests.descriptors import recipe

if TYPE_CHECKING:
    from pathlib import Path


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_detector_is_the_formula(tmp_path: Path) -> None:
    state = recipe.state("small_detector", recipe.detector_shapes(6))
    torch.save({"state": state}, tmp_path / "d.pt")
    detector, _ = load_detector(str(tmp_path / "d.pt"), 6, "small")
    maps = random(2, 6, 3, 4)
    with torch.inference_mode():
        descriptors, weights = detector(maps)
    value = {k: v.double().numpy() for k, v in state.items()}
    for b, row, column in np.ndindex(2, 3, 4):
        x = maps[b, :, row, column].double().numpy()
        y = value["conv1.weight"][:, :, 0, 0] @ x + value["conv1.bias"]
        y = (y - value["bn.running_mean"]) / np.sqrt(value["bn.running_var"] + 1e-5)
        y = y * value["bn.weight"] + value["bn.bias"]
        z = value["conv2.weight"][0, :, 0, 0] @ np.maximum(y, 0) + value["conv2.bias"][0]
        np.testing.assert_allclose(descriptors[b, :, row, column], y / np.linalg.norm(y), atol=1e-5)
        np.testing.assert_allclose(weights[b, row, column], np.log1p(np.exp(z)), atol=1e-5)


def test_detector_of_another_width_is_refused(tmp_path: Path) -> None:
    torch.save({"state": recipe.state("d", recipe.detector_shapes(6))}, tmp_path / "d.pt")
    with pytest.raises(WeightsError, match=r"conv1\.weight is 6×6×1×1 and must be 8×8×1×1") as caught:
        load_detector(str(tmp_path / "d.pt"), 8, "cvnet")
    assert caught.value.hint is not None
    assert "trained on cvnet" in caught.value.hint


def test_a_zero_feature_has_a_finite_descriptor() -> None:
    with torch.inference_mode():
        descriptors, weights = Detector(4).eval()(torch.zeros(1, 4, 2, 2))
    assert torch.isfinite(descriptors).all()
    assert torch.isfinite(weights).all()


def test_without_detector_the_norm_weighs() -> None:
    maps = random(2, 5, 3, 4)
    descriptors, weights = NormWeights()(maps)
    assert descriptors is maps
    np.testing.assert_allclose(weights, np.linalg.norm(maps.numpy(), axis=1), rtol=1e-6)


def test_cells_of_all_scales_in_reading_order() -> None:
    shapes = [(2, 3), (4, 1)]
    maps = [(random(2, 5, h, w), random(2, h, w)) for h, w in shapes]
    cells = join_scales(maps)
    i = 0
    for scale, (h, w) in enumerate(shapes):
        for row in range(h):
            for column in range(w):
                assert torch.equal(cells.descriptors[:, i], maps[scale][0][:, :, row, column])
                assert torch.equal(cells.weights[:, i], maps[scale][1][:, row, column])
                assert int(cells.scale[i]) == scale
                assert cells.grid[i].tolist() == [column, row]
                i += 1
    assert cells.weights.shape == (2, i)


@settings(deadline=None)
@given(
    values=st.lists(st.integers(0, 5), min_size=1, max_size=40),
    topk=st.integers(1, 50),
)
def test_strongest_is_a_stable_sort(values: list[int], topk: int) -> None:
    expected = sorted(range(len(values)), key=lambda i: (-values[i], i))[:topk]
    assert strongest(torch.tensor([values], dtype=torch.float32), topk)[0].tolist() == expected


def test_weighted_mean_and_scales() -> None:
    descriptors, weights = random(2, 5, 3, 4), random(2, 3, 4).abs()
    total = sum(descriptors[:, :, r, c] * weights[:, r, c, None] for r in range(3) for c in range(4))
    assert isinstance(total, torch.Tensor)
    torch.testing.assert_close(weighted_mean(descriptors, weights), total / 12)

    one, two = random(2, 5).numpy(), 100 * random(3, 5)[1:].numpy()
    mean = sum(v / np.linalg.norm(v, axis=1, keepdims=True) for v in (one, two)) / 2
    expected = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    found = over_scales([torch.from_numpy(one), torch.from_numpy(two)])
    np.testing.assert_allclose(found, expected, atol=1e-6)

from __future__ import annotations

import numpy as np

from ames_ray.backbones.base import PictureBackbone
from ames_ray.backbones.registry import find_backbone
from ames_ray.types import FloatArray


def describe(value: int, side: int = 20) -> tuple[FloatArray, FloatArray, FloatArray]:
    backbone = find_backbone("blank")
    assert isinstance(backbone, PictureBackbone)
    local, pooled = backbone.describe(np.full((side, 2 * side, 3), value, dtype=np.uint8))
    assert (np.diff(local.weight) < 0).all()
    return local.xy, local.descriptors, pooled["global"]


def test_fixed_size_whatever_the_picture() -> None:
    for side in (1, 7, 200):
        xy, descriptors, pooled = describe(13, side)
        assert descriptors.shape == (4, 128)
        assert pooled.shape == (128,)
        assert (xy <= (2 * side, side)).all()
        np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, atol=1e-6)


def test_equal_means_give_equal_bytes_and_others_do_not() -> None:
    assert describe(13)[1].tobytes() == describe(13, 7)[1].tobytes()
    assert describe(13)[1].tobytes() != describe(14)[1].tobytes()


def test_a_black_picture_has_descriptors_too() -> None:
    assert np.isfinite(describe(0)[1]).all()

"""Feature maps for training against the network on one picture at a time."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch

from ames_ray.backbones.base import NetworkBackbone
from ames_ray.datasets.manifest import Manifest
from ames_ray.descriptors.extractor import Prepared
from ames_ray.training.frozen_maps import FrozenMaps, MapOptions
from ames_ray.types import ImageRecord
from tests.photos import make_photos
from tests.training.tiny_backbone import DIM, PATCH, Patches, patches

SCALES = (1.0, 0.5)


def two_scales(weights: str | None = None) -> NetworkBackbone:
    backbone = patches(weights)
    return replace(backbone, preprocessing=replace(backbone.preprocessing, scales=SCALES))


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FrozenMaps:
    make_photos(tmp_path, 20)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    names = [*(f"photo{number}" for number in range(20)), "broken"]
    records = [ImageRecord(row, name, f"{name}.jpg") for row, name in enumerate(names)]
    module = ModuleType("two_scales_of_patches")
    module.two_scales = two_scales  # type: ignore[attr-defined] # a module of a user
    monkeypatch.setitem(sys.modules, module.__name__, module)
    options = MapOptions(f"{module.__name__}:two_scales")
    return FrozenMaps(Manifest.from_records(records, tmp_path), options, "cpu")


def test_pictures_of_all_shapes_at_once_as_one_by_one(source: FrozenMaps, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).permutation(20)
    pictures = [picture for picture in source.prepare(rows) if isinstance(picture, Prepared)]
    assert len(pictures) == 20
    network = Patches()
    for row, scales in zip(rows, source.maps(pictures), strict=True):
        assert len(scales) == 2
        pixels = cv2.imread(str(tmp_path / f"photo{row}.jpg"))
        assert pixels is not None
        for factor, found in zip(SCALES, scales, strict=True):
            height, width = (PATCH * round(side * factor / PATCH) for side in pixels.shape[:2])
            assert found.shape == (DIM, height // PATCH, width // PATCH)
            assert not found.requires_grad
        values = torch.from_numpy(pixels[:, :, ::-1].copy()).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            alone = network((values - 0.5) / 0.5).local[0]
        torch.testing.assert_close(scales[0], alone, atol=1e-4, rtol=1e-4)


def test_a_picture_that_cannot_be_used_is_none(source: FrozenMaps, tmp_path: Path) -> None:
    assert source.trouble() is None
    good, bad = source.prepare(np.array([0, 20]))
    assert isinstance(good, Prepared)
    assert bad is None
    assert source.trouble() == f"{tmp_path}/broken.jpg: the file ends too early, as after a broken download"
    assert source.names(np.array([20, 3])) == ["broken", "photo3"]
    assert source.dim == DIM
    assert source.settings["backbone"] == "patches"

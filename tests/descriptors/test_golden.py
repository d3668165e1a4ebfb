"""The whole way from a photo and a weights file to descriptors, against the authors' code."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from ames_ray.backbones.registry import find_backbone
from ames_ray.descriptors.extractor import ExtractorOptions, build_extractor
from ames_ray.descriptors.network import NetworkExtractor
from ames_ray.descriptors.views import View, make_views
from ames_ray.types import Box, ImageRecord
from tests.descriptors import recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ames_ray.types import AnyArray, ImageFeatures, Pixels

GOLDEN = Path(__file__).parents[1] / "golden"
PHOTOS = {p.name.split("_")[0]: p for p in sorted((GOLDEN / "images").iterdir())}
BOXES: dict[str, Box] = {"rocket": (120.6, 10.2, 300.9, 190.7), "astronaut": (10, 30, 150, 130)}
NETWORKS = {"cvnet": "cvnet_r101", "dinov2": "dinov2_vitb14_reg"}
TOPK = 100
CASES = [
    (f"{prefix}{size}", photo)
    for size in ("full", "im280")
    for prefix, photos in (("", PHOTOS), ("query_", BOXES))
    for photo in photos
]


@cache
def golden(backbone: str) -> dict[str, AnyArray]:
    with np.load(GOLDEN / f"extraction_{backbone}.npz") as file:
        return dict(file)


def read(photo: str) -> Pixels:
    return np.asarray(cv2.imread(str(PHOTOS[photo]), cv2.IMREAD_COLOR), np.uint8)


def record(name: str, photo: str) -> ImageRecord:
    return ImageRecord(0, photo, photo, bbox=BOXES[photo] if name.startswith("query") else None)


@dataclass
class Extractors:
    """Extractors of one backbone by image size and detector, built from weights files."""

    backbone: str
    by_case: dict[tuple[str, str], NetworkExtractor]

    def __call__(self, name: str, detector: str, photo: str) -> ImageFeatures:
        extractor = self.by_case[name.removeprefix("query_"), detector]
        prepared = extractor.prepare(record(name, photo), read(photo), None)
        return extractor.extract([prepared])[0]


@pytest.fixture(scope="module", params=NETWORKS)
def extractors(request: pytest.FixtureRequest) -> Iterator[Extractors]:
    backbone: str = request.param
    with tempfile.TemporaryDirectory() as folder:
        weights = recipe.write(Path(folder), NETWORKS[backbone])
        detector = recipe.write(Path(folder), f"{backbone}_detector")
        built = {}
        for size in ("full", "im280"):
            for name, file in (("none", "none"), ("det", str(detector))):
                options = ExtractorOptions(
                    backbone, str(weights), file, topk=TOPK, imsize=280 if size == "im280" else None
                )
                extractor = build_extractor(options, "cpu")
                assert isinstance(extractor, NetworkExtractor)
                built[size, name] = extractor
    yield Extractors(backbone, built)


def close(found: AnyArray, wanted: AnyArray) -> None:
    """The page's tolerance: 1e-5 of the largest absolute value."""
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def expected_places(backbone: str, name: str, photo: str, head: AnyArray, views: Any) -> AnyArray:
    """The authors' locations (rows of `head`) as x, y in the whole picture."""
    pixels = read(photo)
    height, width = pixels.shape[:2]
    first, second = head[:, 0].astype(np.float64), head[:, 1].astype(np.float64)
    x1, y1, x2, y2 = BOXES[photo] if name.startswith("query") else (0, 0, width, height)
    left, top, right, bottom = int(x1), int(y1), int(x2), int(y2)
    if backbone == "cvnet":
        return np.stack([second + left, first + top], axis=1)
    if name.startswith("query"):
        # Undo the authors' shift, with its mixed axes.
        row = (first * width - x1) / (x2 - x1)
        column = (second * height - y1) / (y2 - y1)
    else:
        row, column = first, second
    return np.stack([column * (right - left) + left, row * (bottom - top) + top], axis=1)


@pytest.mark.parametrize("detector", ["none", "det"])
@pytest.mark.parametrize(("name", "photo"), CASES)
def test_features_equal_the_authors(extractors: Extractors, name: str, photo: str, detector: str) -> None:
    arrays, case = golden(extractors.backbone), f"{name}/{detector}/{photo}"
    real = json.loads(str(arrays["meta"]))["real_rows"][case]
    head = arrays[f"{case}/head"][:real]
    features = extractors(name, detector, photo)
    local = features.local
    assert local is not None
    assert len(local) == real
    assert (features.height, features.width) == read(photo).shape[:2]

    close(local.weight, head[:, 4])
    assert (np.diff(local.weight) <= 0).all()
    order = match(local.xy, local.scale, expected_places(extractors.backbone, name, photo, head, None), head)
    close(local.weight[order], head[:, 4])
    descriptors = local.descriptors[order].astype(np.float64)
    close(descriptors[:, :8], arrays[f"{case}/desc8"][:real])
    close(np.linalg.norm(descriptors, axis=1), arrays[f"{case}/desc_norm"][:real])
    # A sum of a thousand values of either sign: measured by the size of what is added.
    sums = arrays[f"{case}/desc_sum"][:real]
    scale = np.abs(descriptors).sum(axis=1).max()
    np.testing.assert_allclose(descriptors.sum(axis=1), sums, rtol=0, atol=1e-5 * scale)


def match(xy: AnyArray, scale: AnyArray, wanted: AnyArray, head: AnyArray) -> AnyArray:
    """For each row of the authors the row of ours at the same place and scale: near-equal rows may swap."""
    distance = np.abs(xy[None, :, :] - wanted[:, None, :]).max(axis=2)
    distance[head[:, 2][:, None] != scale[None, :]] = np.inf
    order = distance.argmin(axis=1)
    assert len(set(order.tolist())) == len(order)
    assert distance[np.arange(len(order)), order].max() < 0.05
    assert np.abs(order - np.arange(len(order))).max() <= 1
    return order


@pytest.mark.parametrize("detector", ["none", "det"])
@pytest.mark.parametrize(("name", "photo"), CASES)
def test_pooled_equal_the_authors(extractors: Extractors, name: str, photo: str, detector: str) -> None:
    arrays, pooled = golden(extractors.backbone), extractors(name, detector, photo).pooled
    if extractors.backbone == "cvnet":
        assert set(pooled) == {"global"}
        close(pooled["global"], arrays[f"{name}/{photo}/global"])
    else:
        assert set(pooled) == {"global", "cls"}
        close(pooled["global"], arrays[f"{name}/{detector}/{photo}/global"])
        close(pooled["cls"], arrays[f"{name}/{photo}/cls"])

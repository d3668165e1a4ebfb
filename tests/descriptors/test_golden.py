"""The whole way from a photo and a weights file to descriptors, against the authors' code."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ames_ray.descriptors.extractor import ExtractorOptions, build_extractor
from ames_ray.descriptors.network import NetworkExtractor
from tests.descriptors import recipe
from tests.descriptors.photos import BOXES, GOLDEN, PHOTOS, read, record

if TYPE_CHECKING:
    from ames_ray.types import AnyArray, ImageFeatures, ImageRecord

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


def line(name: str, photo: str) -> ImageRecord:
    return record(photo, BOXES[photo] if name.startswith("query") else None)


@dataclass
class Extractors:
    """Extractors of one backbone by image size and detector, built from weights files."""

    backbone: str
    by_case: dict[tuple[str, str], NetworkExtractor]
    done: dict[tuple[str, str, str], ImageFeatures] = field(default_factory=dict)

    def __call__(self, name: str, detector: str, photo: str) -> ImageFeatures:
        if (name, detector, photo) not in self.done:
            self.done[name, detector, photo] = self.compute(name, detector, photo)
        return self.done[name, detector, photo]

    def compute(self, name: str, detector: str, photo: str) -> ImageFeatures:
        extractor = self.by_case[name.removeprefix("query_"), detector]
        prepared = extractor.prepare(line(name, photo), read(photo), None)
        return extractor.extract([prepared])[0]


@pytest.fixture(scope="module", params=NETWORKS)
def extractors(request: pytest.FixtureRequest) -> Extractors:
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
    return Extractors(backbone, built)


def close(found: AnyArray, wanted: AnyArray) -> None:
    """The page's tolerance: 1e-5 of the largest absolute value."""
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def expected_places(backbone: str, name: str, photo: str, head: AnyArray) -> AnyArray:
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
    places = expected_places(extractors.backbone, name, photo, head)
    order = match(local.xy, local.scale, places, head)
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
    order: AnyArray = distance.argmin(axis=1)
    assert len(set(order.tolist())) == len(order)
    assert distance[np.arange(len(order)), order].max() < 2e-3
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


@pytest.mark.parametrize(("name", "photo"), CASES)
def test_network_sees_the_same_pixels(extractors: Extractors, name: str, photo: str) -> None:
    arrays = golden(extractors.backbone)
    inputs = json.loads(str(arrays["meta"]))["inputs"]
    extractor = extractors.by_case[name.removeprefix("query_"), "none"]
    for scale, view in enumerate(extractor.prepare(line(name, photo), read(photo), None).inputs):
        wanted = inputs[f"{name}/{photo}/s{scale}"]
        assert list(view.pixels.shape[:2]) == wanted["size_hw"]
        assert list(view.factor) == wanted["factor_xy"]
        assert (
            hashlib.sha256(np.ascontiguousarray(view.pixels).tobytes()).hexdigest() == wanted["pixels_sha256"]
        )
        planes = extractor.normalise([view])[0].numpy()
        blue_first = planes if extractors.backbone == "cvnet" else planes[::-1]
        digest = hashlib.sha256(np.ascontiguousarray(blue_first).tobytes()).hexdigest()
        assert digest == wanted["tensor_sha256"]


@pytest.mark.parametrize("detector", ["none", "det"])
def test_a_batch_equals_its_pictures(extractors: Extractors, detector: str) -> None:
    extractor = extractors.by_case["full", detector]
    coffee = read("coffee")[:140, :154]
    pictures = [coffee, coffee[::-1], coffee[:, ::-1], 255 - coffee]
    prepared = [extractor.prepare(line("full", "coffee"), p, None) for p in pictures]
    assert len({item.key for item in prepared}) == 1
    for together, item in zip(extractor.extract(prepared), prepared, strict=True):
        alone = extractor.extract([item])[0]
        assert together.local is not None
        assert alone.local is not None
        close(together.local.weight, alone.local.weight)
        same = (together.local.xy == alone.local.xy).all(axis=1)
        assert same.mean() > 0.9
        close(together.local.descriptors[same], alone.local.descriptors[same])
        for name, vector in alone.pooled.items():
            close(together.pooled[name], vector)


def test_recipe_gives_the_published_shapes_and_values(extractors: Extractors) -> None:
    arrays, network = golden(extractors.backbone), NETWORKS[extractors.backbone]
    main = recipe.dinov2_shapes() if extractors.backbone == "dinov2" else recipe.cvnet_shapes()
    sizes = {"dinov2_vitb14_reg": 86_583_552, "cvnet_r101": 46_696_513}
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    parameters = sum(int(np.prod(s)) for n, s in main.items() if not n.endswith(buffers))
    assert parameters == sizes[network]
    dim = 768 if extractors.backbone == "dinov2" else 1024
    for key in [k for k in arrays if k.startswith("recipe/")]:
        name = key.removeprefix("recipe/")
        is_detector = name.startswith("detector/")
        name = name.removeprefix("detector/")
        of = f"{extractors.backbone}_detector" if is_detector else network
        shapes = recipe.detector_shapes(dim) if is_detector else main
        value = recipe.state(of, {name: shapes[name]})[name]
        np.testing.assert_array_equal(value.numpy().ravel()[:8], arrays[key])

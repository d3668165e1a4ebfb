"""The rules of an extractor, with SIFT, the blank backbone and a small random transformer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from ames_ray.backbones.sift import CODEBOOK, find_features
from ames_ray.descriptors.extractor import Extractor, ExtractorOptions, build_extractor, static_spec
from ames_ray.errors import ConfigError, WeightsError
from ames_ray.files import sha256_file
from ames_ray.images import reasons
from ames_ray.types import ImageFeatures, Pixels
from tests.descriptors import recipe
from tests.descriptors.photos import BOXES, read, record

if TYPE_CHECKING:
    from pathlib import Path

WIDTH = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small DINOv2 with random weights, and a detector for it."""
    path = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14
    )
    transformers.Dinov2Model(config).save_pretrained(path)
    torch.save({"state": recipe.state("tiny", recipe.detector_shapes(WIDTH))}, path / "detector.pt")
    return path


def one(extractor: Extractor, pixels: Pixels, flag: str | None = None) -> ImageFeatures:
    return extractor.extract([extractor.prepare(record("x"), pixels, flag)])[0]


# Detector rule.


@pytest.mark.parametrize("backbone", ["dinov2", "dinov2_vitl14_reg", "cvnet"])
def test_the_absence_of_a_published_detector_must_be_said(backbone: str) -> None:
    with pytest.raises(WeightsError, match="published with a detector") as caught:
        build_extractor(ExtractorOptions(backbone, "weights.pth"), "cpu")
    assert caught.value.hint is not None
    assert "detector=FILE, or detector=none" in caught.value.hint


@pytest.mark.parametrize("backbone", ["sift", "blank"])
def test_a_detector_has_no_place_there(backbone: str) -> None:
    with pytest.raises(ConfigError, match="takes no detector"):
        build_extractor(ExtractorOptions(backbone, detector="d.pt"), "cpu")
    assert (
        build_extractor(ExtractorOptions(backbone, detector="none"), "cpu").spec.settings["detector"]
        == "none"
    )


def test_a_missing_detector_file_is_an_error(folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"nope\.pt does not exist"):
        build_extractor(ExtractorOptions(f"hf:{folder}", detector=str(folder / "nope.pt")), "cpu")


def test_a_detector_changes_what_comes_out(folder: Path) -> None:
    options = ExtractorOptions(f"hf:{folder}", topk=5)
    plain = build_extractor(options, "cpu")
    weighed = build_extractor(replace(options, detector=str(folder / "detector.pt")), "cpu")
    assert weighed.spec.settings["detector"] == sha256_file(folder / "detector.pt")
    assert plain.spec.settings["detector"] == "none"
    local = one(weighed, read("coffee")).local
    assert local is not None
    np.testing.assert_allclose(np.linalg.norm(local.descriptors, axis=1), 1, atol=1e-5)


# Specs.


@pytest.mark.parametrize("backbone", ["sift", "blank"])
def test_the_static_spec_is_the_spec_without_hashes(backbone: str) -> None:
    options = ExtractorOptions(backbone, topk=3, imsize=100)
    plan, real = static_spec(options), build_extractor(options, "cpu").spec
    assert (plan.dim, plan.pooled) == (real.dim, real.pooled)
    assert set(real.settings) - set(plan.settings) == {"weights", "detector"}
    assert all(real.settings[key] == value for key, value in plan.settings.items())


def test_a_plan_needs_neither_weights_nor_detector() -> None:
    spec = static_spec(ExtractorOptions("dinov2"))
    assert (spec.dim, spec.pooled) == (768, {"global": 768, "cls": 768})
    assert spec.settings["backbone"] == "dinov2_vitb14_reg"
    assert spec.settings["location_convention"] == "fraction"
    assert static_spec(ExtractorOptions("cvnet")).settings["location_convention"] == "pixels"


def test_settings_survive_json(folder: Path) -> None:
    for options in (ExtractorOptions("sift"), ExtractorOptions(f"hf:{folder}", imsize=56)):
        settings = build_extractor(options, "cpu").spec.settings
        assert json.loads(json.dumps(settings)) == settings
        assert str(folder) not in json.dumps(settings)
    assert build_extractor(ExtractorOptions("sift"), "cpu").spec.settings["weights"] == sha256_file(CODEBOOK)


# Failed rows.


@pytest.mark.parametrize("shape", [(64, 64), (3, 2000), (1, 1)])
def test_sift_on_black_has_no_features(shape: tuple[int, int]) -> None:
    extractor = build_extractor(ExtractorOptions("sift"), "cpu")
    features = one(extractor, np.zeros((*shape, 3), np.uint8), flag="truncated")
    assert features.reason == reasons.NO_FEATURES
    assert features.local is None
    assert features.pooled == {}
    assert (features.height, features.width) == shape
    assert features.flag == "truncated"


def test_a_nan_in_the_network_is_a_reason(tmp_path: Path, folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    state["layernorm.bias"][3] = float("nan")
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    features = one(build_extractor(ExtractorOptions(f"hf:{tmp_path}"), "cpu"), read("tiny"))
    assert features.reason == reasons.NON_FINITE
    assert (features.local, features.pooled) == (None, {})
    assert (features.width, features.height) == (48, 40)


@pytest.mark.parametrize("shape", [(3, 2000), (2000, 3), (1, 1), (64, 64)])
def test_a_transformer_describes_slivers_and_flat_pictures(folder: Path, shape: tuple[int, int]) -> None:
    features = one(
        build_extractor(ExtractorOptions(f"hf:{folder}", topk=4), "cpu"), np.zeros((*shape, 3), np.uint8)
    )
    assert features.ok
    assert features.local is not None
    assert 1 <= len(features.local) <= 4
    assert features.local.xy[:, 0].max() <= shape[1]
    assert features.local.xy[:, 1].max() <= shape[0]


# Places, counts, order.


def test_sift_places_are_in_the_whole_picture() -> None:
    photo, box = read("rocket"), BOXES["rocket"]
    large = np.asarray(cv2.resize(photo, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), np.uint8)
    doubled = tuple(2 * side for side in box)
    extractor = build_extractor(ExtractorOptions("sift", imsize=333, topk=50), "cpu")
    line = record("rocket", (doubled[0], doubled[1], doubled[2], doubled[3]))
    (features,) = extractor.extract([extractor.prepare(line, large, None)])
    assert features.local is not None
    left, top = int(doubled[0]), int(doubled[1])
    cut = cv2.resize(
        large[top : int(doubled[3]), left : int(doubled[2])],
        None,
        fx=0.5,
        fy=0.5,
        interpolation=cv2.INTER_AREA,
    )
    alone = find_features(np.asarray(cut, np.uint8)).top(50)
    # Halving maps the centre of pixel 0 to between pixels 0 and 1.
    np.testing.assert_allclose(features.local.xy, 2 * alone.xy + 0.5 + (left, top), atol=1e-3)


def test_transformer_places_are_patch_centres_in_the_whole_picture(folder: Path) -> None:
    extractor = build_extractor(ExtractorOptions(f"hf:{folder}"), "cpu")
    line = record("x", (20.7, 10.2, 48.9, 52.9))
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    (features,) = extractor.extract([extractor.prepare(line, pixels, None)])
    assert features.local is not None
    expected = {(20 + 7 + 14 * c, 10 + 7 + 14 * r) for r in range(3) for c in range(2)}
    assert {(round(float(x)), round(float(y))) for x, y in features.local.xy} == expected


@pytest.mark.parametrize("backbone", ["sift", "blank", "hf"])
def test_the_strongest_are_a_prefix(folder: Path, backbone: str) -> None:
    weights = str(folder) if backbone == "hf" else None
    many, few = (
        one(build_extractor(ExtractorOptions(backbone, weights, topk=k), "cpu"), read("coffee")).local
        for k in (50, 3)
    )
    assert many is not None
    assert few is not None
    assert len(few) == 3
    for name in ("xy", "scale", "weight", "descriptors"):
        assert getattr(few, name).tobytes() == getattr(many.top(3), name).tobytes()


# Arithmetic.


def test_an_outer_autocast_does_not_reach_in(folder: Path) -> None:
    extractor = build_extractor(ExtractorOptions(f"hf:{folder}", topk=5), "cpu")
    plain = one(extractor, read("tiny"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        within = one(extractor, read("tiny"))
    assert plain.local is not None
    assert within.local is not None
    assert plain.local.descriptors.tobytes() == within.local.descriptors.tobytes()


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_is_near_and_not_equal(
    folder: Path, precision: Literal["bfloat16", "float16"]
) -> None:
    options = ExtractorOptions(f"hf:{folder}", detector=str(folder / "detector.pt"))
    exact = one(build_extractor(options, "cpu"), read("coffee")).pooled["global"]
    extractor = build_extractor(replace(options, precision=precision), "cpu")
    rough = one(extractor, read("coffee"))
    assert rough.local is not None
    assert rough.local.descriptors.dtype == np.float32
    assert extractor.spec.settings["precision"] == precision
    assert not np.array_equal(exact, rough.pooled["global"])
    assert exact @ rough.pooled["global"] > 0.99


def test_building_switches_tf32_off(folder: Path) -> None:
    torch.backends.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("high")
    build_extractor(ExtractorOptions(f"hf:{folder}"), "cpu")
    assert not torch.backends.cudnn.allow_tf32
    assert torch.get_float32_matmul_precision() == "highest"

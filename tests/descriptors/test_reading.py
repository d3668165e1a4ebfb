"""A picture on which the extractor raises is a picture that cannot be used, and spoils no other one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ames_ray.backbones.blank import blank
from ames_ray.config.compose import compose
from ames_ray.config.extract import ExtractConfig
from ames_ray.config.options import dataset_options, extractor_options
from ames_ray.datasets.registry import build_manifest
from ames_ray.descriptors.extractor import Extractor
from ames_ray.descriptors.picture import PictureExtractor
from ames_ray.descriptors.reading import ReadOptions, describe_picture
from ames_ray.store.reader import Store
from ames_ray.types import FloatArray, ImageRecord, LocalFeatures, Pixels
from tests.extract_here import fill_store
from tests.photos import make_photos

BLACK = "photo2.jpg"


def job(folder: Path) -> ExtractConfig:
    make_photos(folder / "photos", 5)
    cv2.imwrite(str(folder / "photos" / BLACK), np.zeros((32, 48, 3), np.uint8))
    return compose(
        ExtractConfig, [f"images={folder / 'photos'}", f"output={folder / 'store'}", "backbone=blank"]
    )


def extractor(config: ExtractConfig, message: str) -> Extractor:
    """The blank backbone as somebody might write it: it raises on a black picture."""
    plain = blank()

    def describe(pixels: Pixels) -> tuple[LocalFeatures, Mapping[str, FloatArray]]:
        if not pixels.any():
            raise ZeroDivisionError(message)
        return plain.describe(pixels)

    return PictureExtractor(replace(plain, describe=describe), extractor_options(config))


def test_in_a_batch_only_that_picture_fails(tmp_path: Path) -> None:
    config = job(tmp_path)
    fill_store(config, build_manifest(dataset_options(config)), extractor(config, "no contrast"))
    found = {f.record.image_id: f for f in Store.open(config.output).features(0)}
    assert {name: f.reason for name, f in found.items() if not f.ok} == {BLACK: "network_failed"}
    assert (found[BLACK].width, found[BLACK].height) == (48, 32)


def test_a_query_has_a_reason_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = job(tmp_path)
    photo = ImageRecord(0, BLACK, str(tmp_path / "photos" / BLACK))
    assert describe_picture(photo, extractor(config, "no contrast"), ReadOptions()).reason == "network_failed"
    assert "no contrast" in caplog.text


def test_an_error_of_the_device_is_no_pictures_fault(tmp_path: Path) -> None:
    config = job(tmp_path)
    photo = ImageRecord(0, BLACK, str(tmp_path / "photos" / BLACK))
    with pytest.raises(ZeroDivisionError):
        describe_picture(photo, extractor(config, "CUDA error: an illegal address"), ReadOptions())


def test_places_that_are_not_finite_spoil_one_row_and_no_store(tmp_path: Path) -> None:
    config, plain = job(tmp_path), blank()

    def describe(pixels: Pixels) -> tuple[LocalFeatures, Mapping[str, FloatArray]]:
        local, pooled = plain.describe(pixels)
        return local if pixels.any() else replace(local, xy=local.xy * np.nan), pooled

    lost = PictureExtractor(replace(plain, describe=describe), extractor_options(config))
    fill_store(config, build_manifest(dataset_options(config)), lost)
    found = {f.record.image_id: f.reason for f in Store.open(config.output).features(0) if not f.ok}
    assert found == {BLACK: "non_finite"}

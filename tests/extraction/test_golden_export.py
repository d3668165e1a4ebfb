"""Photos through the real extraction into a store, and out as the authors' HDF5, against their blocks."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from ames_ray.config.compose import compose
from ames_ray.config.extract import ExtractConfig
from ames_ray.config.options import extractor_options
from ames_ray.datasets.manifest import Manifest
from ames_ray.descriptors.extractor import build_extractor
from ames_ray.store.convert import export_hdf5
from ames_ray.store.reader import Store
from ames_ray.types import AnyArray, ImageRecord
from tests.descriptors import recipe
from tests.descriptors.photos import BOXES, PHOTOS, read
from tests.descriptors.test_golden import NETWORKS, TOPK, close, golden, match
from tests.extract_here import fill_store


def manifest(name: str) -> Manifest:
    """The list of a golden set: four whole photos, or two queries with their boxes."""
    query = name.startswith("query")
    records = []
    for row, photo in enumerate(BOXES if query else PHOTOS):
        height, width = read(photo).shape[:2]
        bbox = BOXES[photo] if query else None
        records.append(ImageRecord(row, photo, str(PHOTOS[photo]), bbox=bbox, width=width, height=height))
    return Manifest.from_records(records, str(next(iter(PHOTOS.values())).parent))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    for backbone, network in NETWORKS.items():
        recipe.write(folder, network)
        recipe.write(folder, f"{backbone}_detector")
    return folder


@pytest.mark.parametrize("detector", [pytest.param("none", marks=pytest.mark.slow), "det"])
@pytest.mark.parametrize("size", [pytest.param("full", marks=pytest.mark.slow), "im280"])
@pytest.mark.parametrize("backbone", list(NETWORKS))
def test_the_exported_file_is_the_authors(
    backbone: str, size: str, detector: str, weights: Path, tmp_path: Path
) -> None:
    words = [f"backbone={backbone}", f"weights={weights / NETWORKS[backbone]}.pth", f"topk={TOPK}"]
    words += ["images=x", "output=y", "codec=float32", f"imsize={280 if size == 'im280' else 'null'}"]
    words += [f"detector={weights / f'{backbone}_detector.pth' if detector == 'det' else 'none'}"]
    config = compose(ExtractConfig, words)
    extractor = build_extractor(extractor_options(config), "cpu")
    for name in (size, f"query_{size}"):
        listed = manifest(name)
        output = str(tmp_path / name)
        fill_store(config.model_copy(update={"output": output}), listed, extractor)
        export_hdf5(Store.open(output), str(tmp_path / f"{name}_local.hdf5"))
        with h5py.File(tmp_path / f"{name}_local.hdf5") as file:
            blocks = file["features"][:]
        for record in listed:
            check(backbone, f"{name}/{detector}/{record.image_id}", blocks[record.row])


def check(backbone: str, case: str, block: AnyArray) -> None:
    """One image's block of the exported file against the golden one."""
    arrays = golden(backbone)
    real = json.loads(str(arrays["meta"]))["real_rows"][case]
    head = arrays[f"{case}/head"]
    assert block.dtype == np.float32
    assert np.array_equal(block[:, 3], head[:, 3]), "the mask"
    # Padding: zeros, but for the locations of queries, which the authors move as well.
    np.testing.assert_allclose(block[real:, :5], head[real:], rtol=1e-5, atol=1e-5)
    assert not block[real:, 5:].any()

    places = head[:real, :2].astype(np.float64)
    order = match(block[:real, :2].astype(np.float64), block[:real, 2], places, head[:real])
    rows = block[:real][order].astype(np.float64)
    close(rows[:, 0], places[:, 0])
    close(rows[:, 1], places[:, 1])
    close(rows[:, 4], head[:real, 4])
    close(rows[:, 5:13], arrays[f"{case}/desc8"][:real])
    close(np.linalg.norm(rows[:, 5:], axis=1), arrays[f"{case}/desc_norm"][:real])

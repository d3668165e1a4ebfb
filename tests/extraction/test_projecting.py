"""Projection while extracting, and kept rows: byte for byte what one command after the other gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ames_ray.config.compose import compose
from ames_ray.config.extract import ExtractConfig
from ames_ray.config.options import dataset_options, make_extractor, planned_spec, store_meta
from ames_ray.datasets.registry import build_manifest
from ames_ray.errors import StoreError
from ames_ray.model.checkpoints import save_ames
from ames_ray.model.options import AmesOptions
from ames_ray.retrieval.project import LoadReranker, project_store
from ames_ray.store.reader import Store
from tests.extract_here import fill_store
from tests.model.networks import random_model
from tests.photos import make_photos, shard_hashes


def extract(root: Path, output: str, *words: str) -> Path:
    words = (f"images={root / 'photos'}", f"output={root / output}", "shard_rows=4", *words)
    config = compose(ExtractConfig, words)
    fill_store(config, build_manifest(dataset_options(config)), make_extractor(config, "cpu"))
    return root / output


def weights(root: Path, *, binary: bool) -> Path:
    options = AmesOptions(128, binary=binary, dim=32, blocks=1, feedforward=8)
    save_ames(random_model(options), root / "model.pt")
    return root / "model.pt"


@pytest.mark.parametrize("binary", [False, True], ids=["float16", "bits"])
@pytest.mark.parametrize("codec", ["float16", "float32"])
def test_on_the_fly_is_the_same_bytes_as_afterwards(binary: bool, codec: str, tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 9)
    (tmp_path / "photos" / "photo3.jpg").write_bytes(b"no picture")
    model = weights(tmp_path, binary=binary)
    raw = extract(tmp_path, "raw", f"codec={codec}")
    project_store(Store.open(str(raw)), LoadReranker("ames", str(model)), str(tmp_path / "afterwards"))
    on_the_fly = extract(tmp_path, "on_the_fly", f"codec={codec}", f"projection={model}")
    assert shard_hashes(on_the_fly) == shard_hashes(tmp_path / "afterwards")
    made = Store.open(str(on_the_fly))
    assert (made.meta.codec, made.meta.dim, made.ok.sum()) == ("binary" if binary else "float16", 32, 8)


def test_another_rounding_is_another_store(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 2)
    model = weights(tmp_path, binary=True)
    extract(tmp_path, "store", f"projection={model}")
    with pytest.raises(StoreError, match="projected_from: float16 in the store, float32 now"):
        extract(tmp_path, "store", f"projection={model}", "codec=float32")


def test_a_plan_counts_payloads(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 2)
    words = [f"images={tmp_path / 'photos'}", "output=x", f"projection={weights(tmp_path, binary=True)}"]
    config = compose(ExtractConfig, words)
    meta = store_meta(config, build_manifest(dataset_options(config)), planned_spec(config))
    assert meta.row_bytes == config.topk * (13 + 32 // 8) + 4 * 2048


def test_a_model_of_another_width_is_refused(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 2)
    save_ames(random_model(AmesOptions(64, dim=32, blocks=1, feedforward=8)), tmp_path / "model.pt")
    with pytest.raises(StoreError, match="backbone=sift holds descriptors 128 wide, the model takes 64"):
        extract(tmp_path, "store", f"projection={tmp_path / 'model.pt'}")


def test_a_longer_list_takes_projected_rows_over_as_they_are(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 6)
    model = weights(tmp_path, binary=False)
    extract(tmp_path, "grown", f"projection={model}")
    kept = Store.open(str(tmp_path / "grown")).read([4, 5])
    make_photos(tmp_path / "photos", 5, first=6)
    grown = extract(tmp_path, "grown", f"projection={model}")
    assert shard_hashes(grown) == shard_hashes(extract(tmp_path, "fresh", f"projection={model}"))
    np.testing.assert_array_equal(Store.open(str(grown)).read([4, 5]).descriptors, kept.descriptors)

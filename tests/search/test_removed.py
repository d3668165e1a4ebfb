"""Photos that come and go: `continued` and the tombstones, on real folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from ames_ray.config.compose import compose
from ames_ray.config.extract import ExtractConfig
from ames_ray.config.options import dataset_options, extractor_options
from ames_ray.datasets.continued import continued
from ames_ray.datasets.registry import DatasetOptions, build_manifest
from ames_ray.descriptors.extractor import build_extractor
from ames_ray.errors import DatasetError, StoreError
from ames_ray.files import Storage
from ames_ray.store.reader import Store
from ames_ray.store.removed import REMOVED, read_removed, write_removed
from tests.extract_here import extract_here, fill_store
from tests.photos import make_photos


def names(folder: Path) -> list[str]:
    return [record.image_id for record in build_manifest(DatasetOptions(images=str(folder)))]


def test_new_photos_follow_and_gone_ones_keep_their_rows(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 7, size=120)
    for name in ("photo2.jpg", "photo4.jpg"):
        (tmp_path / "photos" / name).rename(tmp_path / name)
    words = [f"images={tmp_path / 'photos'}", f"output={tmp_path / 'store'}", "shard_rows=3", "topk=20"]
    extract_here(words)
    before = Store.open(str(tmp_path / "store"))
    old = {f.record.image_id: f for shard in range(before.meta.shards) for f in before.features(shard)}
    (tmp_path / "photo2.jpg").rename(tmp_path / "photos" / "photo2.jpg")
    (tmp_path / "photos" / "photo5.jpg").unlink()
    assert names(tmp_path / "photos") == [f"photo{n}.jpg" for n in (0, 1, 2, 3, 6)]

    job = compose(ExtractConfig, words)
    found = continued(before.manifest, build_manifest(dataset_options(job)))
    assert [r.image_id for r in found.manifest] == [f"photo{n}.jpg" for n in (0, 1, 3, 5, 6, 2)]
    assert found.removed == (3,)
    fill_store(job, found.manifest, build_extractor(extractor_options(job), "cpu"))
    after = Store.open(str(tmp_path / "store"))
    assert after.meta.rows == 6
    for shard in range(after.meta.shards):
        for features in after.features(shard):
            kept = old.get(features.record.image_id)
            if kept is not None:
                assert features.record.row == kept.record.row
                assert features.local is not None
                assert kept.local is not None
                assert features.local.descriptors.tobytes() == kept.local.descriptors.tobytes()


def test_a_folder_that_moved_is_the_same_folder(tmp_path: Path) -> None:
    make_photos(tmp_path / "a", 3)
    old = build_manifest(DatasetOptions(images=str(tmp_path / "a")))
    (tmp_path / "a").rename(tmp_path / "b")
    found = continued(old, build_manifest(DatasetOptions(images=str(tmp_path / "b"))))
    assert (found.manifest.digest, found.removed) == (old.digest, ())
    assert found.manifest.record(0).uri == str(tmp_path / "b" / "photo0.jpg")


def test_another_folder_is_not_taken_for_a_changed_one(tmp_path: Path) -> None:
    make_photos(tmp_path / "a", 3)
    make_photos(tmp_path / "b", 3, first=10)
    lists = [build_manifest(DatasetOptions(images=str(tmp_path / name))) for name in "ab"]
    with pytest.raises(DatasetError, match="holds none of the 3 photos"):
        continued(*lists)


def test_tombstones_are_read_back(tmp_path: Path) -> None:
    storage = Storage.at(tmp_path)
    assert read_removed(storage) == []
    write_removed(storage, [5, 2, 5])
    assert read_removed(storage) == [2, 5]
    storage.publish(REMOVED, b"[")
    with pytest.raises(StoreError, match="damaged"):
        read_removed(storage)

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from ames_ray.errors import StoreError
from ames_ray.retrieval.gallery import Gallery
from tests.store.builders import make_manifest, make_store


def test_what_was_read_is_not_sent_to_another_process(tmp_path: Path) -> None:
    make_store(tmp_path / "a", 12)
    make_store(tmp_path / "b", manifest=make_manifest(9, first=100))
    gallery = Gallery.open([str(tmp_path / "a"), str(tmp_path / "b")])
    fresh = pickle.dumps(gallery)
    names = [record.image_id for record in gallery.records()]
    batch = gallery.read([3, 14, 0], 4)
    assert gallery.ok.sum() < len(gallery)
    assert len(pickle.dumps(gallery)) == len(fresh)
    again: Gallery = pickle.loads(pickle.dumps(gallery))
    assert [record.image_id for record in again.records()] == names
    np.testing.assert_array_equal(again.read([3, 14, 0], 4).descriptors, batch.descriptors)
    np.testing.assert_array_equal(again.ok, gallery.ok)


def test_a_store_counts_once(tmp_path: Path) -> None:
    make_store(tmp_path / "a", 12)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for again in (f"{tmp_path}/a", f"{tmp_path}/a/", f"{tmp_path}/link"):
        with pytest.raises(StoreError, match=f"the gallery names {again} twice"):
            Gallery.open([str(tmp_path / "a"), again])

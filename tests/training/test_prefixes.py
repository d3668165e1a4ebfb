"""Rows read together against rows read one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ames_ray.errors import StoreError
from ames_ray.retrieval.gallery import Gallery
from ames_ray.training.prefixes import read_prefixes
from ames_ray.types import FeatureBatch, IntArray
from tests.store.builders import TOPK, make_manifest, make_store

ROWS = 23


class Recorder:
    """A gallery that writes down what is read of it."""

    uri = "recorder"
    topk = TOPK

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self.reads: list[tuple[list[int], int]] = []

    def __len__(self) -> int:
        return len(self._gallery)

    def read(self, rows: IntArray, count: int) -> FeatureBatch:
        self.reads.append((rows.tolist(), count))
        return self._gallery.read(rows, count)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    folder = tmp_path_factory.mktemp("stores")
    manifest = make_manifest(4, first=ROWS)
    return Gallery((make_store(folder / "a", ROWS), make_store(folder / "b", manifest=manifest)))


rows_and_count = st.tuples(st.lists(st.integers(0, ROWS + 3), min_size=1, max_size=9), st.integers(1, TOPK))


@given(st.lists(rows_and_count, min_size=1, max_size=3))
def test_as_if_read_one_by_one(gallery: Gallery, wanted: list[tuple[list[int], int]]) -> None:
    batches = read_prefixes(gallery, *((np.array(rows), count) for rows, count in wanted))
    assert len(batches) == len(wanted)
    for batch, (rows, count) in zip(batches, wanted, strict=True):
        assert batch.rows.tolist() == rows
        assert batch.descriptors.shape[:2] == batch.valid.shape == (len(rows), count)
        for place, row in enumerate(rows):
            alone = gallery.read([row], count)
            np.testing.assert_array_equal(batch.descriptors[place], alone.descriptors[0])
            np.testing.assert_array_equal(batch.valid[place], alone.valid[0])


def test_each_row_is_read_once_in_ascending_order(gallery: Gallery) -> None:
    recorder = Recorder(gallery)
    read_prefixes(recorder, (np.array([7, 2, 7]), 5), (np.array([11, 2, 0, 11]), 3))
    assert recorder.reads == [([0, 11], 3), ([2, 7], 5)]
    recorder.reads.clear()
    read_prefixes(recorder, (np.array([7, 2]), 4), (np.array([3, 2]), 4))
    assert recorder.reads == [([2, 3, 7], 4)]


def test_a_row_outside_is_refused(gallery: Gallery) -> None:
    with pytest.raises(StoreError, match="27"):
        read_prefixes(gallery, (np.array([0, 27]), 2))


def test_a_store_on_disk_alone_is_enough(tmp_path: Path) -> None:
    packed = make_store(tmp_path / "store", ROWS)
    before = Gallery((packed,)).read([5, 20], 4)
    packed.make_pack()
    (after,) = read_prefixes(Gallery((packed,)), (np.array([5, 20]), 4))
    np.testing.assert_array_equal(before.descriptors, after.descriptors)

"""Batches against a naive reader that takes the features of one image at a time."""

from __future__ import annotations

import logging
import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ames_ray.errors import ConfigError, StoreError
from ames_ray.retrieval.gallery import Gallery
from ames_ray.store.reader import Store
from ames_ray.training.batch import TripletBatch
from ames_ray.training.loader import TripletLoader, pack_for_training
from ames_ray.training.network import TripletNetwork
from ames_ray.training.plan import StepPlan
from ames_ray.types import AnyArray
from tests.retrieval.small import small_model
from tests.store.builders import DIM, TOPK, make_features, make_manifest, make_meta, make_store

ROWS = 23
# Rows 3 and 17 failed, 0 and 14 have no descriptor, 6 and 20 all; anchors appear on the other side, too.
TRIPLETS = np.array([[6, 20, 3], [5, 6, 14], [20, 5, 6], [9, 9, 1], [0, 22, 13]])


def packed(path: Path) -> Store:
    store = make_store(path, ROWS)
    store.make_pack()
    return Store.open(str(path))


LAYOUTS: dict[str, Callable[[Path], Store]] = {
    "shards": lambda path: make_store(path, ROWS),
    "float32 shards": lambda path: make_store(path, ROWS, codec="float32"),
    "the authors' plain form": lambda path: make_store(path, ROWS, format="hdf5", codec="float32"),
    "the authors' compound form": lambda path: make_store(path, ROWS, format="hdf5"),
    "packed": packed,
}


def naive(rows: AnyArray, count: int, codec: str) -> tuple[AnyArray, AnyArray]:
    manifest = make_manifest(ROWS)
    descriptors = np.zeros((len(rows), count, DIM), np.float32)
    valid = np.zeros((len(rows), count), bool)
    for place, row in enumerate(rows):
        local = make_features(manifest.record(int(row)), make_meta(manifest, codec=codec)).local
        if local is not None:
            real = min(count, len(local))
            descriptors[place, :real] = local.descriptors[:real]
            valid[place, :real] = True
    return descriptors, valid


def check(batch: TripletBatch, triplets: AnyArray, counts: tuple[int, int], codec: str = "float16") -> None:
    others = np.concatenate([triplets[:, 1], triplets[:, 2]])
    expected = (*naive(triplets[:, 0], counts[0], codec), *naive(others, counts[1], codec))
    found = (batch.anchor, batch.anchor_valid, batch.others, batch.others_valid)
    for tensor, array in zip(found, expected, strict=True):
        stored = getattr(torch, codec)
        assert tensor.dtype == (torch.bool if array.dtype == bool else stored)
        np.testing.assert_array_equal(tensor.float().numpy(), array.astype(np.float32))


@pytest.mark.parametrize("counts", [(TOPK, 2), (1, TOPK), (3, 3)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_what_was_written(layout: str, counts: tuple[int, int], tmp_path: Path) -> None:
    store = LAYOUTS[layout](tmp_path / "store")
    loader = TripletLoader(Gallery((store,)), TOPK)
    check(loader.batch(TRIPLETS, *counts), TRIPLETS, counts, store.meta.codec)


def test_the_network_sees_no_difference_between_float16_and_the_same_numbers_in_float32(
    tmp_path: Path,
) -> None:
    batch = TripletLoader(Gallery((make_store(tmp_path / "store", ROWS),)), TOPK).batch(TRIPLETS, 4, 5)
    network = TripletNetwork(small_model())
    short = network(batch.anchor, batch.anchor_valid, batch.others, batch.others_valid)
    long = network(batch.anchor.float(), batch.anchor_valid, batch.others.float(), batch.others_valid)
    assert torch.equal(short.similarity, long.similarity)


def test_batches_come_in_the_order_of_the_plans(tmp_path: Path) -> None:
    loader = TripletLoader(Gallery((packed(tmp_path / "store"),)), TOPK)
    random = np.random.default_rng(0)
    plans = [
        StepPlan(0, step, random.integers(0, ROWS, (4, 3)), 1 + step % TOPK, 1 + step * 2 % TOPK, 1, 1)
        for step in range(9)
    ]
    taken = list(loader.prefetched(plans))
    assert [plan.step for plan, *_ in taken] == list(range(9))
    for plan, batch, seconds in taken:
        assert seconds >= 0
        check(batch, plan.triplets, (plan.query_count, plan.gallery_count))


def test_a_bad_row_stops_at_its_step(tmp_path: Path) -> None:
    loader = TripletLoader(Gallery((make_store(tmp_path / "store", ROWS),)), TOPK)
    plans = [StepPlan(0, step, TRIPLETS + (step == 2) * ROWS, 2, 2, 2, 2) for step in range(4)]
    taken = loader.prefetched(plans)
    assert [next(taken)[0].step, next(taken)[0].step] == [0, 1]
    with pytest.raises(StoreError, match="row"):
        next(taken)


def test_a_loader_works_in_a_spawned_process(tmp_path: Path) -> None:
    loader = TripletLoader(Gallery((packed(tmp_path / "store"),)), TOPK)
    loader.batch(TRIPLETS, 2, 2)
    again: TripletLoader = pickle.loads(pickle.dumps(loader))
    check(again.batch(TRIPLETS, 4, 5), TRIPLETS, (4, 5))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        check(pool.apply(loader.batch, (TRIPLETS, 3, 2)), TRIPLETS, (3, 2))


def test_more_descriptors_than_are_stored_and_sign_bits_are_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ROWS)
    with pytest.raises(ConfigError, match=r"up to 7 .* holds 6"):
        TripletLoader(Gallery((store,)), TOPK + 1)
    binary = TripletLoader(Gallery((make_store(tmp_path / "binary", ROWS, codec="binary"),)), TOPK)
    with pytest.raises(StoreError, match="sign bits"):
        binary.batch(TRIPLETS, 2, 2)


def test_packing_happens_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = make_store(tmp_path / "store", ROWS)
    before = store.read(np.arange(ROWS))
    with caplog.at_level(logging.WARNING):
        pack_for_training([store])
        pack_for_training([store, Store.open(store.storage.uri)])
    assert len(caplog.records) == 1
    assert store.pack is not None
    after = store.read(np.arange(ROWS))
    np.testing.assert_array_equal(before.descriptors, after.descriptors)
    np.testing.assert_array_equal(before.valid, after.valid)

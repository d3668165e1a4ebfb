"""The sample: what is in it, and that nobody sees in it how it was read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ames_ray.errors import StoreError
from ames_ray.retrieval.gallery import Gallery
from ames_ray.training import sample as sampling
from ames_ray.training.sample import SamplePlan, gather, plan_sample, take
from ames_ray.types import AnyArray, IntArray
from tests.store.builders import DIM, TOPK, all_features, make_store

ROWS = 40


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    return Gallery((make_store(tmp_path_factory.mktemp("sample") / "store", ROWS),))


def whole(gallery: Gallery, plan: SamplePlan, readers: int = 1) -> AnyArray:
    return gather(plan, lambda rows: take(gallery, plan, rows), readers=readers)


@given(st.integers(1, 100), st.integers(1, 8), st.integers(1, TOPK), st.integers(0, 99))
def test_each_descriptor_is_one_of_the_strongest_of_its_image(
    gallery: Gallery, size: int, per_image: int, max_desc: int, seed: int
) -> None:
    plan = plan_sample(gallery.ok, size, per_image=per_image, max_desc=max_desc, seed=seed)
    assert gallery.ok[plan.rows].all()
    assert (np.diff(plan.rows) > 0).all()
    assert plan.per_image <= max_desc
    found = whole(gallery, plan)
    features = {item.record.row: item.local for item in all_features(gallery.stores[0])}
    taken = 0
    for row in plan.rows:
        local = features[int(row)]
        assert local is not None
        strongest = local.descriptors[:max_desc]
        part = found[taken : taken + min(plan.per_image, len(strongest))]
        places = [int(np.flatnonzero((strongest == descriptor).all(axis=1))[0]) for descriptor in part]
        assert places == sorted(set(places))
        taken += len(part)
    assert taken == len(found)
    usable = sum(min(max_desc, len(local)) for local in features.values() if local is not None)
    if int(gallery.ok.sum()) * max_desc <= size:
        assert len(found) == usable


@pytest.mark.parametrize("readers", [1, 3])
@pytest.mark.parametrize("rows", [1, 7, 64])
def test_pieces_and_readers_leave_no_trace(
    gallery: Gallery, readers: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_sample(gallery.ok, 60, per_image=2, max_desc=5, seed=1)
    expected = whole(gallery, plan)
    monkeypatch.setattr(sampling, "_CHUNK_ROWS", rows)
    np.testing.assert_array_equal(whole(gallery, plan, readers), expected)
    assert expected.shape[1] == DIM


def test_seeds_choose_other_images(gallery: Gallery) -> None:
    one, other = (plan_sample(gallery.ok, 20, per_image=2, max_desc=4, seed=seed) for seed in (0, 1))
    assert one.rows.tolist() != other.rows.tolist()


def test_progress_counts_images(gallery: Gallery) -> None:
    plan = plan_sample(gallery.ok, 10**6, per_image=50, max_desc=TOPK, seed=0)
    seen: list[tuple[int, int]] = []
    gather(plan, lambda rows: take(gallery, plan, rows), report=lambda *counts: seen.append(counts))
    images = int(gallery.ok.sum())
    assert seen[-1] == (images, images)


def test_what_cannot_be_sampled_is_refused(tmp_path: Path, gallery: Gallery) -> None:
    with pytest.raises(StoreError, match="every row"):
        plan_sample(np.zeros(5, bool), 10, per_image=2, max_desc=3, seed=0)
    binary = Gallery((make_store(tmp_path / "binary", 8, codec="binary"),))
    plan = plan_sample(binary.ok, 10, per_image=2, max_desc=3, seed=0)
    with pytest.raises(StoreError, match="sign bits"):
        whole(binary, plan)


def test_an_error_of_a_reader_reaches_the_caller(gallery: Gallery) -> None:
    plan = plan_sample(gallery.ok, 60, per_image=2, max_desc=5, seed=1)

    def read(rows: IntArray) -> AnyArray:
        raise StoreError("shard 3 is damaged")

    with pytest.raises(StoreError, match="shard 3"):
        gather(plan, read, readers=2)

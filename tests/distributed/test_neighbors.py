"""The search by Ray's workers gives the bits of the search in this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ames_ray.distributed.crew import cluster
from ames_ray.errors import ResourceError, StoreError
from ames_ray.retrieval import neighbors
from ames_ray.retrieval.crew import threads
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.neighbors import find_neighbors
from ames_ray.store.reader import Store
from tests.retrieval.clusters import clustered_store

pytestmark = pytest.mark.usefixtures("local_ray")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Gallery]:
    folder = tmp_path_factory.mktemp("clusters")
    gallery = (clustered_store(folder / "a", 700, seed=1), clustered_store(folder / "b", 500, seed=2))
    return clustered_store(folder / "q", 300, seed=3), Gallery(gallery)


def test_any_number_of_workers_finds_the_same(
    stores: tuple[Store, Gallery], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbors, "BLOCK_ROWS", 250)
    monkeypatch.setattr(neighbors, "GROUP_QUERIES", 256)
    hires = (threads(1), threads(3), cluster(None, 2, 1))
    found = [find_neighbors(*stores, "global", 20, hire=hire) for hire in hires]
    for other in found[1:]:
        np.testing.assert_array_equal(other.rows, found[0].rows)
        np.testing.assert_array_equal(other.similarities, found[0].similarities)
    values = np.concatenate([store.pooled("global") for store in stores[1].stores]).astype(np.float64)
    products = stores[0].pooled("global").astype(np.float64) @ values.T
    products[:, ~stores[1].ok] = -np.inf
    good = stores[0].ok
    best = -np.sort(-products[good], axis=1)[:, :20]
    np.testing.assert_allclose(found[0].similarities[good], best, atol=1e-6)


def test_itself_is_left_out_by_every_worker(
    stores: tuple[Store, Gallery], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbors, "BLOCK_ROWS", 100)
    store = stores[0]
    here = find_neighbors(store, Gallery((store,)), "global", None, exclude_self=True)
    as_many_as_fit = cluster(None, None, 3)
    there = find_neighbors(store, Gallery((store,)), "global", None, exclude_self=True, hire=as_many_as_fit)
    np.testing.assert_array_equal(there.rows, here.rows)
    assert not (there.rows == np.arange(300)[:, None]).any()


def test_errors_come_as_they_are(stores: tuple[Store, Gallery], tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="7 workers need 7 × 1 = 7 CPUs"):
        find_neighbors(*stores, "global", 5, hire=cluster(None, 7, 1))
    broken = clustered_store(tmp_path / "broken", 300, seed=4)
    (tmp_path / "broken" / broken.meta.shard_name(1)).write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=broken.meta.shard_name(1)):
        find_neighbors(stores[0], Gallery((broken,)), "global", 5, hire=cluster(None, 1, 1))

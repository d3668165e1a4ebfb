"""The approximate search against the exact one, on clusters as photos of the same places make them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ames_ray.errors import ConfigError, StoreError
from ames_ray.retrieval import ivf
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.ivf import approximate_neighbors
from ames_ray.retrieval.neighbors import find_neighbors
from ames_ray.store.reader import Store
from tests.retrieval.clusters import clustered_store
from tests.store.builders import make_manifest, make_store

SIZE = 10


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Gallery]:
    folder = tmp_path_factory.mktemp("clusters")
    gallery = (clustered_store(folder / "a", 2000, seed=1), clustered_store(folder / "b", 1000, seed=2))
    return clustered_store(folder / "q", 60, seed=3), Gallery(gallery)


def recall(found: np.ndarray, exact: np.ndarray) -> float:
    kept = [
        len(set(a[a >= 0]) & set(b[b >= 0])) / (b >= 0).sum()
        for a, b in zip(found, exact, strict=True)
        if (b >= 0).any()
    ]
    return float(np.mean(kept))


def test_more_cells_find_more_and_all_of_them_everything(stores: tuple[Store, Gallery]) -> None:
    exact = find_neighbors(*stores, "global", SIZE)
    found = [approximate_neighbors(*stores, "global", SIZE, nprobe) for nprobe in (1, 8, 10_000)]
    recalls = [recall(each.rows, exact.rows) for each in found]
    assert recalls == sorted(recalls)
    assert recalls[0] < 0.95
    assert recalls[1] > 0.9
    # All cells: only what float16 makes equal may change places.
    assert recalls[2] > 0.99
    np.testing.assert_allclose(found[2].similarities, exact.similarities, atol=2e-3)
    assert found[0].settings["cells"] == 46
    assert (found[2].query_manifest, found[2].gallery_manifest) == (
        exact.query_manifest,
        exact.gallery_manifest,
    )


def test_failed_rows_find_nothing_and_are_not_found(stores: tuple[Store, Gallery]) -> None:
    query, gallery = stores
    found = approximate_neighbors(query, gallery, "global", SIZE, 8)
    assert not query.ok.all()
    assert (found.rows[~query.ok] == -1).all()
    assert np.isnan(found.similarities[~query.ok]).all()
    assert gallery.ok[found.rows[found.rows >= 0]].all()
    assert (found.rows[query.ok] >= 0).all()


def test_no_image_is_its_own_neighbor(stores: tuple[Store, Gallery]) -> None:
    store = stores[1].stores[0]
    found = approximate_neighbors(store, Gallery((store,)), "global", SIZE, 8, exclude_self=True)
    assert found.rows.shape == (2000, SIZE)
    assert not (found.rows == np.arange(2000)[:, None]).any()
    assert (found.rows[store.ok] >= 0).mean() > 0.99


def test_the_same_every_time(stores: tuple[Store, Gallery], monkeypatch: pytest.MonkeyPatch) -> None:
    first = approximate_neighbors(*stores, "global", SIZE, 4)
    monkeypatch.setattr(ivf, "_GROUP", 7)
    monkeypatch.setattr(ivf, "BLOCK_ROWS", 300)
    second = approximate_neighbors(*stores, "global", SIZE, 4)
    np.testing.assert_array_equal(first.rows, second.rows)
    np.testing.assert_allclose(first.similarities, second.similarities, atol=1e-6)


def test_equal_images_are_ordered_by_row(tmp_path: Path) -> None:
    first = make_store(tmp_path / "a", 12)
    again = make_store(tmp_path / "b", manifest=make_manifest(12, first=100))
    gallery = Gallery((first, again))
    found = approximate_neighbors(first, gallery, "global", 24, 1)
    exact = find_neighbors(first, gallery, "global", 24)
    np.testing.assert_array_equal(found.rows[:, : exact.rows.shape[1]], exact.rows)


def test_what_it_cannot_do_is_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a", 5)
    gallery = Gallery((store,))
    with pytest.raises(ConfigError, match="the whole gallery is asked for"):
        approximate_neighbors(store, gallery, "global", None, 1)
    with pytest.raises(ConfigError, match="shortlist_size=0"):
        approximate_neighbors(store, gallery, "global", 0, 1)
    with pytest.raises(StoreError, match="no global descriptor 'gem'"):
        approximate_neighbors(store, gallery, "gem", 1, 1)

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ames_ray.errors import ConfigError, DatasetError, StoreError
from ames_ray.files import Storage
from ames_ray.retrieval import block, neighbors
from ames_ray.retrieval.block import Best, Block, block_neighbors
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.kept import kept_shortlist
from ames_ray.retrieval.neighbors import find_neighbors, nearest
from ames_ray.retrieval.pooled import pooled_width
from ames_ray.store.reader import Store
from ames_ray.store.removed import write_removed
from ames_ray.types import FloatArray, IntArray
from tests.store.builders import make_manifest, make_meta, make_store


def brute_force(queries: FloatArray, gallery: FloatArray, size: int | None) -> list[list[int]]:
    """Row by row: whole numbers, so that every product is exact and equal ones are equal."""
    lists = []
    for query in queries.tolist():
        products = [sum(a * b for a, b in zip(query, row, strict=True)) for row in gallery.tolist()]
        lists.append(sorted(range(len(products)), key=lambda row: (-products[row], row))[:size])
    return lists


@st.composite
def searches(draw: st.DrawFn) -> tuple[FloatArray, FloatArray, int | None, list[int]]:
    g = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = draw(st.integers(1, 40))
    gallery = g.integers(-2, 3, (rows, 3)).astype(np.float32)
    queries = g.integers(-2, 3, (draw(st.integers(1, 6)), 3)).astype(np.float32)
    cuts = draw(st.lists(st.integers(0, rows), max_size=4))
    return queries, gallery, draw(st.none() | st.integers(1, rows + 3)), sorted(cuts)


def blocks(gallery: FloatArray, *cuts: int) -> list[Block]:
    return [
        Block.of(gallery[start:stop], start)
        for start, stop in zip((0, *cuts), (*cuts, len(gallery)), strict=True)
    ]


@given(searches())
def test_any_blocks_give_the_lists_of_brute_force(
    search: tuple[FloatArray, FloatArray, int | None, list[int]],
) -> None:
    queries, gallery, size, cuts = search
    rows, similarities = nearest(queries, blocks(gallery, *cuts), size)
    assert [line[line >= 0].tolist() for line in rows] == brute_force(queries, gallery, size)
    assert [str(array.dtype) for array in (rows, similarities)] == ["int64", "float32"]
    for query, line, values in zip(queries, rows, similarities, strict=True):
        np.testing.assert_array_equal(values[line >= 0], gallery[line[line >= 0]] @ query)
        assert np.isnan(values[line < 0]).all()


@given(searches(), st.integers(0, 40))
def test_an_image_is_not_its_own_neighbor(
    search: tuple[FloatArray, FloatArray, int | None, list[int]], size: int
) -> None:
    _, gallery, _, cuts = search
    best = Best(len(gallery), size + 1)
    for part in blocks(gallery, *cuts):
        best.add(block_neighbors(gallery, part, size + 1, best.bar, 0))
    rows, _ = best.lists()
    for number, (line, whole) in enumerate(zip(rows, brute_force(gallery, gallery, None), strict=True)):
        assert line[line >= 0].tolist() == [row for row in whole if row != number][: size + 1]


def test_many_queries_meet_a_block_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    g = np.random.default_rng(0)
    queries = g.integers(-3, 4, (11, 4)).astype(np.float32)
    gallery = g.integers(-3, 4, (30, 4)).astype(np.float32)
    expected = nearest(queries, blocks(gallery), 7)
    monkeypatch.setattr(block, "QUERY_ROWS", 4)
    monkeypatch.setattr(block, "MERGED_VALUES", 50)
    np.testing.assert_array_equal(nearest(queries, blocks(gallery, 9), 7)[0], expected[0])


@pytest.mark.parametrize("size", [None, 4])
def test_what_is_not_finite_is_nobodys_neighbor(size: int | None) -> None:
    gallery = np.array([[1, 0], [np.nan, 0], [3, 0], [np.inf, 1], [2, 0]], np.float32)
    queries = np.array([[1, 0], [np.nan, 1], [np.inf, 1], [-np.inf, np.inf]], np.float32)
    rows, similarities = nearest(queries, blocks(gallery, 2), size)
    assert rows[0].tolist()[:3] == [2, 4, 0]
    assert (rows[0][3:] == -1).all()
    assert (rows[1:] == -1).all()
    assert np.isnan(similarities[1:]).all()


def test_other_widths_and_no_size_are_refused() -> None:
    queries = np.ones((2, 3), np.float32)
    with pytest.raises(DatasetError, match="descriptors are 2 wide, the queries 3"):
        nearest(queries, blocks(np.ones((4, 2), np.float32)), 1)
    with pytest.raises(ConfigError, match="shortlist_size=0"):
        nearest(queries, [], 0)


def test_stores_one_after_another_are_one_gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "BLOCK_ROWS", 7)
    query = make_store(tmp_path / "q", 4)
    first = make_store(tmp_path / "a", 12)
    second = make_store(tmp_path / "b", manifest=make_manifest(9, first=100))
    found = find_neighbors(query, Gallery((first, second)), "cls", None)

    values = np.concatenate([first.pooled("cls"), second.pooled("cls")])
    ok = np.concatenate([first.ok, second.ok])
    for number, line in enumerate(found.rows):
        if not query.ok[number]:
            assert (line == -1).all()
            continue
        products = values.astype(np.float64) @ query.pooled("cls")[number].astype(np.float64)
        wanted = [row for row in np.argsort(-products, kind="stable") if ok[row]]
        # Both stores draw row i from the seed i, so equal rows lie 12 apart: the lower one comes first.
        assert line[line >= 0].tolist() == wanted
    assert found.query_manifest == query.meta.manifest_digest
    assert found.settings == {"descriptor": "cls", "index": "exact", "exclude_self": False}


def test_a_gallery_of_one_store_has_its_digest_and_order_matters(tmp_path: Path) -> None:
    first = make_store(tmp_path / "a", 6)
    second = make_store(tmp_path / "b", manifest=make_manifest(6, first=50))
    assert Gallery((first,)).manifest_digest == first.meta.manifest_digest
    assert Gallery((first, second)).manifest_digest != Gallery((second, first)).manifest_digest


def test_a_gallery_reads_rows_of_all_its_stores(tmp_path: Path) -> None:
    stores = (make_store(tmp_path / "a", 8), make_store(tmp_path / "b", manifest=make_manifest(5, first=50)))
    gallery = Gallery(stores)
    rows = np.array([9, 2, 12, 2, 7])
    found = gallery.read(rows, 4)
    one_by_one = [stores[row // 8].read([row % 8], 4) for row in rows]
    np.testing.assert_array_equal(found.descriptors, np.concatenate([b.descriptors for b in one_by_one]))
    np.testing.assert_array_equal(found.valid, np.concatenate([b.valid for b in one_by_one]))
    assert found.rows.tolist() == rows.tolist()
    only_second = gallery.read([8], 4)
    np.testing.assert_array_equal(only_second.descriptors, stores[1].read([0], 4).descriptors)
    with pytest.raises(StoreError, match="13"):
        gallery.read([13], 4)


def test_stores_of_other_kinds_are_refused(tmp_path: Path) -> None:
    manifest = make_manifest(5)
    settings = {**make_meta(manifest).settings, "backbone": "another"}
    store, other = make_store(tmp_path / "a", 5), make_store(tmp_path / "b", 5, settings=settings)
    with pytest.raises(StoreError, match="backbone is test and another"):
        find_neighbors(store, Gallery((other,)), "cls", 3)
    with pytest.raises(StoreError, match="do not make one gallery"):
        Gallery((store, other))
    with pytest.raises(StoreError, match="codec is float16 and binary"):
        Gallery((store, make_store(tmp_path / "c", 5, codec="binary")))
    with pytest.raises(StoreError, match="no global descriptor 'gem'; it has cls, global"):
        find_neighbors(store, Gallery((store,)), "gem", 3)


def test_reading_and_cropping_may_differ_within_a_gallery(tmp_path: Path) -> None:
    settings = {**make_meta(make_manifest(5)).settings, "read": {"truncated": "keep"}, "crop": False}
    Gallery((make_store(tmp_path / "a", 5), make_store(tmp_path / "b", 5, settings=settings)))


def test_self_is_the_row_of_the_same_list_only(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a", 6)
    found = find_neighbors(store, Gallery((store,)), "global", None, exclude_self=True)
    assert not (found.rows == np.arange(6)[:, None]).any()
    other = make_store(tmp_path / "b", manifest=make_manifest(6, first=10))
    with pytest.raises(StoreError, match="is another list than"):
        find_neighbors(store, Gallery((other,)), "global", 2, exclude_self=True)


def test_unfinished_stores_are_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a", 11)
    (tmp_path / "a" / "card.json").unlink()
    with pytest.raises(StoreError, match="is not finished"):
        Gallery.open([str(tmp_path / "a")])
    partial = Store(store.storage, replace(store.meta), {0: store.summaries[0]})
    with pytest.raises(StoreError, match="lacks shard 1"):
        pooled_width((partial,), "cls")


def test_photos_that_were_removed_are_nobodys_neighbours(tmp_path: Path) -> None:
    query = make_store(tmp_path / "q", manifest=make_manifest(3, first=100))
    store = make_store(tmp_path / "g", 6)
    folder = Storage.at(tmp_path / "kept")

    def listed() -> IntArray:
        gallery = Gallery.open([str(tmp_path / "g")])
        make = partial(find_neighbors, query, gallery, "global", None)
        return kept_shortlist(folder, query, gallery, {}, make).rows

    whole = listed()
    gone = int(whole[0, 0])
    write_removed(store.storage, [gone])
    for kept, before in zip(listed(), whole, strict=True):
        assert kept[kept >= 0].tolist() == [row for row in before.tolist() if row not in {gone, -1}]

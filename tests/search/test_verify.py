"""Geometric verification against movements that are known, and on photos that are really moved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ames_ray.search.comparison import MutualComparison
from ames_ray.search.match import Matches
from ames_ray.search.places import Places, find_places
from ames_ray.search.queries import build_query_extractor, describe, find_queries, read_options
from ames_ray.search.searcher import Searcher, SearchOptions
from ames_ray.search.verify import TOLERANCE, verified
from ames_ray.store.reader import Store
from ames_ray.types import FloatArray
from tests.search.small import make_store, turned

WIDTH, HEIGHT = 640, 480


def scattered(count: int, seed: int) -> FloatArray:
    generator = np.random.default_rng(seed)
    return (generator.random((count, 2)) * (WIDTH, HEIGHT)).astype(np.float32)


def matched(query_xy: FloatArray, image_xy: FloatArray) -> tuple[Matches, Places, Places]:
    """Place i with place i, the first ones surest."""
    numbers = np.arange(len(query_xy))
    strength = np.linspace(1, 0.5, len(query_xy), dtype=np.float32)
    mine, other = (Places(xy, WIDTH, HEIGHT) for xy in (query_xy, image_xy))
    return Matches(numbers, numbers, strength), mine, other


def moved(xy: FloatArray, degrees: float, scale: float, shift: tuple[float, float]) -> FloatArray:
    angle = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(xy @ turn.T + shift, np.float32)


@pytest.mark.parametrize("degrees", [0, 35, 180])
@pytest.mark.parametrize("scale", [0.5, 1, 1.6])
@pytest.mark.parametrize("strays", [0, 20])
def test_what_moved_alike_stays_and_strays_go(degrees: float, scale: float, strays: int) -> None:
    query = scattered(30 + strays, 1)
    image = moved(query, degrees, scale, (40, -25))
    wrong = np.arange(0, 2 * strays, 2)
    image[wrong] = scattered(strays, 2)
    off = np.linalg.norm(image - moved(query, degrees, scale, (40, -25)), axis=1)
    found, *places = matched(query, image)
    kept = verified(found, *places)
    # A stray that happens to lie where the movement would take it is none.
    assert set(np.flatnonzero(off == 0)) <= set(kept.query)
    assert (off[kept.query] <= 2 * TOLERANCE * WIDTH).all()
    np.testing.assert_array_equal(kept.query, kept.image)
    assert (np.diff(kept.strength) <= 0).all()
    np.testing.assert_array_equal(kept.strength, found.strength[kept.query])


def test_scattered_matches_do_not_add_up() -> None:
    for seed in range(20):
        kept = verified(*matched(scattered(40, seed), scattered(40, 100 + seed)))
        assert len(kept) <= 8


def test_two_matches_confirm_nothing_and_three_may() -> None:
    query = scattered(3, 0)
    assert len(verified(*matched(query[:2], query[:2]))) == 0
    assert len(verified(*matched(query[:0], query[:0]))) == 0
    assert len(verified(*matched(query, query))) == 3


def test_one_place_that_matches_many_is_no_movement() -> None:
    query = scattered(12, 0)
    image = scattered(12, 1)
    assert len(verified(*matched(np.repeat(query[:1], 12, axis=0), image))) <= 4


def test_it_is_the_same_every_time_and_without_a_known_size() -> None:
    query = scattered(40, 3)
    image = np.concatenate([moved(query[:15], 20, 1, (5, 5)), scattered(25, 4)])
    found, mine, other = matched(query, image)
    kept = verified(found, mine, other)
    np.testing.assert_array_equal(verified(found, mine, other).query, kept.query)
    unknown = Places(other.xy, 0, 0)
    assert set(verified(found, mine, unknown).query) >= set(range(15))


@pytest.mark.parametrize("form", ["parquet", "hdf5"])
def test_places_are_those_of_the_features(form: str, tmp_path: Path) -> None:
    store = Store.open(str(make_store(tmp_path, 9, f"format={form}")))
    rows = np.array([7, 0, 5, 7])
    features = {f.record.row: f for shard in range(store.meta.shards) for f in store.features(shard)}
    for row, places in zip(rows.tolist(), find_places(store, rows), strict=True):
        local = features[row].local
        assert local is not None
        np.testing.assert_array_equal(places.xy[: len(local)], local.xy)
        assert (places.width, places.height) == (features[row].width, features[row].height)


def test_a_photo_of_the_same_thing_keeps_its_matches_and_others_lose_theirs(tmp_path: Path) -> None:
    store = Store.open(str(make_store(tmp_path)))
    turned(tmp_path / "photos" / "astronaut_161x231.png", tmp_path / "me.png", 30)
    extractor = build_query_extractor(store, "cpu")
    query = describe(find_queries(str(tmp_path / "me.png"))[0], extractor, read_options(store))
    (found,) = Searcher(store, MutualComparison(), SearchOptions())([query])
    first, *others = found.top
    assert first.record.image_id == "astronaut_161x231.png"
    assert first.score is not None
    assert first.score >= 20
    assert all(hit.score is not None and hit.score <= 5 for hit in others)
    assert all(hit.agreement is not None and hit.agreement.count == hit.score for hit in found.top)

"""Triplets against the recipe, read literally."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest

from ames_ray.errors import DatasetError
from ames_ray.evaluation.scores import Shortlist
from ames_ray.retrieval.gallery import Gallery
from ames_ray.training.plan import DescriptorCounts
from ames_ray.training.sampler import UNKNOWN, NeighborTriplets, label_numbers
from ames_ray.training.sources import SourceInput, make_source
from ames_ray.types import IntArray
from tests.store.builders import make_store

IMAGES, NEIGHBORS = 60, 30
COUNTS = DescriptorCounts(0, 10, 400)


def neighborhood(seed: int = 0) -> tuple[Shortlist, IntArray]:
    """Random neighbours: most find themselves, some similarities are not positive, some lists short."""
    random = np.random.default_rng(seed)
    rows = np.stack([random.permutation(IMAGES)[:NEIGHBORS] for _ in range(IMAGES)])
    similarities = -np.sort(-random.uniform(-0.2, 1, rows.shape).astype(np.float32), axis=1)
    for image in range(0, IMAGES, 9):
        rows[image, -8:] = -1
    labels = random.integers(0, 4, IMAGES)
    labels[::13] = UNKNOWN
    return Shortlist(rows, similarities), labels


def weights_by_recipe(
    near: Shortlist, labels: IntArray, anchor: int, count: int
) -> tuple[dict[int, float], dict[int, float]]:
    """Probabilities of positives and of negatives of an anchor."""
    found = [
        (int(row), float(similarity))
        for row, similarity in zip(near.rows[anchor], near.similarities[anchor], strict=True)
        if row != anchor and row >= 0
    ][:count]
    sides: tuple[dict[int, float], dict[int, float]] = {}, {}
    for row, similarity in found:
        if similarity > 0 and labels[row] != UNKNOWN:
            sides[int(labels[row] != labels[anchor])][row] = similarity**3
    return tuple({r: w / sum(s.values()) for r, w in s.items()} for s in sides)  # type: ignore[return-value]  # two


def valid_by_recipe(near: Shortlist, labels: IntArray, count: int) -> list[int]:
    return [
        anchor
        for anchor in range(IMAGES)
        if labels[anchor] != UNKNOWN and min(map(len, weights_by_recipe(near, labels, anchor, count))) >= 5
    ]


@pytest.mark.parametrize("count", [15, 20, 300])
def test_valid_anchors_are_those_of_the_recipe(count: int) -> None:
    near, labels = neighborhood()
    wanted = valid_by_recipe(near, labels, count)
    if not wanted:
        with pytest.raises(DatasetError, match="none of 60 images"):
            NeighborTriplets(near, labels, COUNTS, num_neighbors=count)
        return
    assert NeighborTriplets(near, labels, COUNTS, num_neighbors=count).anchors.tolist() == wanted


def test_an_epoch_is_a_permutation_of_all_valid_anchors() -> None:
    near, labels = neighborhood()
    source = NeighborTriplets(near, labels, COUNTS, batch_size=7)
    seen = []
    for epoch in range(2):
        plans = [source.plan(epoch, step) for step in range(source.steps_per_epoch)]
        anchors = np.concatenate([plan.triplets[:, 0] for plan in plans])
        assert sorted(anchors) == source.anchors.tolist()
        assert {len(plan.triplets) for plan in plans[:-1]} == {7}
        seen.append(anchors.tolist())
    assert seen[0] != seen[1]
    assert 0 < len(plans[-1].triplets) <= 7


def test_positives_and_negatives_are_drawn_by_the_cube_of_the_similarity() -> None:
    near, labels = neighborhood()
    source = NeighborTriplets(near, labels, COUNTS, batch_size=len(labels), num_neighbors=20)
    anchor = int(source.anchors[0])
    drawn: tuple[Counter[int], Counter[int]] = Counter(), Counter()
    epochs = 3000
    for epoch in range(epochs):
        triplets = source.plan(epoch, 0).triplets
        _, positive, negative = triplets[triplets[:, 0] == anchor][0].tolist()
        drawn[0][positive] += 1
        drawn[1][negative] += 1
    for counter, wanted in zip(drawn, weights_by_recipe(near, labels, anchor, 20), strict=True):
        assert counter.keys() <= wanted.keys()
        for row, share in wanted.items():
            # Five standard deviations of a binomial share.
            assert abs(counter[row] / epochs - share) < 5 * (share * (1 - share) / epochs) ** 0.5 + 1e-9


def test_a_plan_depends_on_its_position_alone() -> None:
    near, labels = neighborhood()
    first, second = (NeighborTriplets(near, labels, COUNTS, batch_size=7, seed=3) for _ in range(2))
    positions = [(epoch, step) for epoch in range(3) for step in range(first.steps_per_epoch)]
    forwards = {position: first.plan(*position) for position in positions}
    for position in reversed(positions):
        found, wanted = second.plan(*position), forwards[position]
        np.testing.assert_array_equal(found.triplets, wanted.triplets)
        assert (found.query_seen, found.gallery_seen) == (wanted.query_seen, wanted.gallery_seen)
    other = NeighborTriplets(near, labels, COUNTS, batch_size=7, seed=4).plan(0, 0)
    assert other.triplets.tolist() != forwards[0, 0].triplets.tolist()


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_workers_share_every_batch_of_one_worker(world: int) -> None:
    near, labels = neighborhood()
    source = NeighborTriplets(near, labels, COUNTS, batch_size=7)
    for step in range(source.steps_per_epoch):
        whole = source.plan(1, step)
        shares = [whole.share(rank, world) for rank in range(world)]
        together = np.concatenate([share.triplets for share in shares if share.counts])
        np.testing.assert_array_equal(together, whole.triplets)
        sizes = [len(share.triplets) * share.counts for share in shares]
        assert max(sizes) - min(sizes) <= 1
        assert {(s.query_seen, s.gallery_seen) for s in shares} == {(whole.query_seen, whole.gallery_seen)}


def test_counts_are_uniform_and_independent() -> None:
    drawn = np.array([DescriptorCounts(5, 10, 400).draw(step) for step in range(4000)])
    assert drawn.min() >= 10
    assert drawn.max() <= 399
    assert abs(drawn.mean(axis=0) - 204.5).max() < 10
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.08


def test_labels_become_numbers() -> None:
    assert label_numbers(["b", None, "a", "b"]).tolist() == [0, UNKNOWN, 1, 0]


def test_neighbours_of_another_store_are_refused() -> None:
    near, labels = neighborhood()
    with pytest.raises(DatasetError, match="neighbours of 60 images, and labels of 59"):
        NeighborTriplets(near, labels[:-1], COUNTS)
    rows = near.rows.copy()
    rows[3, 0] = 60
    with pytest.raises(DatasetError, match="row 60"):
        NeighborTriplets(Shortlist(rows, near.similarities), labels, COUNTS)


def everything_from(gallery: Gallery) -> SourceInput:
    """Two landmarks in turn; every image is as near to every other."""
    count = len(gallery)
    rows = np.stack([np.delete(np.arange(count), image) for image in range(count)])
    near = Shortlist(rows, np.full(rows.shape, 0.5, np.float32))
    return SourceInput(gallery, np.arange(count) % 2, near, COUNTS, 10, 300, 1, 0)


def test_images_that_failed_take_no_part_whoever_found_the_neighbours(tmp_path: Path) -> None:
    source = make_source("neighbors", everything_from(Gallery((make_store(tmp_path, 30),))))
    plans = [source.plan(epoch, step) for epoch in range(20) for step in range(source.steps_per_epoch)]
    drawn = np.unique(np.concatenate([plan.triplets for plan in plans]))
    assert drawn.tolist() == [row for row in range(30) if row % 7 != 3]


def test_triplets_are_chosen_without_reading_the_descriptors_of_the_authors(tmp_path: Path) -> None:
    """A terabyte in their training set."""
    file = tmp_path / "dinov2_local.hdf5"
    with h5py.File(file, "w") as made:
        made["features"] = np.zeros((30, 4, 5 + 16), np.float16)
    gallery = Gallery.open([str(file)])
    file.unlink()
    assert make_source("neighbors", everything_from(gallery)).steps_per_epoch == 3

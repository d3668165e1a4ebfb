from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from ames_ray.errors import DatasetError
from ames_ray.evaluation.scores import Shortlist
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.neighbors import find_neighbors
from ames_ray.training.plan import DescriptorCounts
from ames_ray.training.sampler import UNKNOWN, label_numbers
from ames_ray.training.sources import SourceInput, make_source
from ames_ray.training.view_triplets import Views, ViewShares, ViewTriplets, look_alikes
from ames_ray.types import IntArray
from tests.extract_here import extract_here

PHOTOS, EACH = 6, 9
KINDS = ["original", "moderate", "moderate", "hard", "pasted", "hard", "pasted", "hard", "pasted"]
NEAR = 6
COUNTS = DescriptorCounts(0, 30, 129)


def name_of(photo: int, number: int) -> str:
    """Photo p is pasted on photos p + 1, p + 2, p + 3."""
    kind = KINDS[number]
    behind = f"-on-photo{(photo + number // 2 - 1) % PHOTOS}" if kind == "pasted" else ""
    return f"train/photo{photo}/{kind}{number:02d}{behind}.jpg"


NAMES = [name_of(photo, number) for photo in range(PHOTOS) for number in range(EACH)]
# Photos 0 and 1 show the same thing.
LABELS = np.repeat([0, 0, 2, 3, 4, 5], EACH)
ALL = np.ones(len(NAMES), np.bool_)
VIEWS = Views.from_names(NAMES, LABELS, ALL)


def ring(count: int = 53) -> Shortlist:
    """Each image's neighbours are those that follow it."""
    rows = (np.arange(len(NAMES))[:, None] + 1 + np.arange(count)) % len(NAMES)
    return Shortlist(
        rows, np.linspace(0.9, 0.1, count, dtype=np.float32) * np.ones((len(NAMES), 1), np.float32)
    )


def source(seed: int = 0, shares: ViewShares | None = None, negatives: int = 1) -> ViewTriplets:
    alike, shares = look_alikes(ring(), VIEWS, NEAR), shares or ViewShares()
    return ViewTriplets(VIEWS, alike, COUNTS, batch_size=7, seed=seed, shares=shares, negatives=negatives)


def all_triplets(made: ViewTriplets, epochs: int = 1) -> IntArray:
    steps = [(epoch, step) for epoch in range(epochs) for step in range(made.steps_per_epoch)]
    return np.concatenate([made.plan(*where).triplets for where in steps])


def test_names_tell_photo_kind_and_what_is_behind() -> None:
    assert VIEWS.photo.tolist() == np.repeat(range(PHOTOS), EACH).tolist()
    assert VIEWS.hard.tolist() == [kind in {"hard", "pasted"} for kind in KINDS] * PHOTOS
    none = UNKNOWN
    assert VIEWS.behind[:EACH].tolist() == [none, none, none, none, 0, none, 2, none, 3]
    # The last photo is pasted on the first three: 0 and 1 show the same thing.
    assert VIEWS.behind[-EACH:].tolist() == [none, none, none, none, 0, none, 0, none, 2]


def test_a_background_that_is_not_in_the_list_is_named() -> None:
    with pytest.raises(DatasetError, match="1 photos that are not in the list, such as photo9"):
        Views.from_names([NAMES[0], "train/photo0/pasted01-on-photo9.jpg"], LABELS[:2], ALL[:2])


@pytest.mark.parametrize("name", ["train/photo1.jpg", "train/a/soft01.jpg", "hard01.jpg"])
def test_other_names_and_missing_labels_are_refused(name: str) -> None:
    with pytest.raises(DatasetError, match="row 0"):
        Views.from_names([name], np.zeros(1, np.int64), ALL[:1])
    with pytest.raises(DatasetError, match="row 0"):
        Views.from_names(NAMES[:1], np.full(1, UNKNOWN), ALL[:1])


def test_an_epoch_has_each_hard_view_as_anchor_once() -> None:
    made = source()
    anchors = all_triplets(made)[:, 0]
    assert sorted(anchors) == np.flatnonzero(VIEWS.hard).tolist()
    assert len(made.plan(0, made.steps_per_epoch - 1).triplets) == 36 % 7


def test_positives_are_other_views_of_the_photo_and_negatives_show_something_else() -> None:
    anchor, positive, negative = all_triplets(source(), 4).T
    assert (VIEWS.photo[anchor] == VIEWS.photo[positive]).all()
    assert (anchor != positive).all()
    # Another photo of the same thing is no negative, though it is another photo.
    assert (VIEWS.label[anchor] != VIEWS.label[negative]).all()


def test_negatives_are_as_galleries_are_and_never_what_the_anchor_is_pasted_on() -> None:
    for share in (0.0, 1.0):
        anchor, _, negative = all_triplets(source(shares=ViewShares(hard_negative=share)), 10).T
        assert not VIEWS.hard[negative].any()
        assert (VIEWS.behind[anchor] != VIEWS.label[negative]).all()


def test_shares_are_kept() -> None:
    anchor, positive, negative = all_triplets(source(shares=ViewShares(0.25, 0.75)), 40).T
    assert VIEWS.hard[positive].mean() == pytest.approx(0.25, abs=0.03)
    alike = look_alikes(ring(), VIEWS, NEAR)
    near = (alike[anchor] == negative[:, None]).any(1)
    # A random negative may be near too: 6 of the 9 to 15 that there are.
    others = np.array([VIEWS.negatives(row).sum() for row in anchor])
    assert near.mean() == pytest.approx(0.75 + 0.25 * (NEAR / others).mean(), abs=0.04)


def test_all_or_nothing_shares() -> None:
    anchor, positive, negative = all_triplets(source(shares=ViewShares(1.0, 1.0))).T
    assert VIEWS.hard[positive].all()
    assert (look_alikes(ring(), VIEWS, NEAR)[anchor] == negative[:, None]).any(1).all()
    easy = all_triplets(source(shares=ViewShares(hard_positive=0.0)))[:, 1]
    assert not VIEWS.hard[easy].any()


def test_each_of_several_negatives_is_drawn_for_itself() -> None:
    drawn = all_triplets(source(shares=ViewShares(hard_negative=0.5), negatives=3), 20)
    assert drawn.shape[1] == 5
    alike = look_alikes(ring(), VIEWS, NEAR)
    for negative in drawn[:, 2:].T:
        assert all(VIEWS.negatives(row)[other] for row, other in zip(drawn[:, 0], negative, strict=True))
        assert 0.5 < (alike[drawn[:, 0]] == negative[:, None]).any(1).mean() < 0.9
    assert 0 < (drawn[:, 2] == drawn[:, 3]).mean() < 0.5


def test_a_plan_depends_on_its_position_and_the_seed_alone() -> None:
    one, two = source(), source()
    late = two.plan(3, 2)
    early = [one.plan(epoch, step) for epoch in range(4) for step in range(one.steps_per_epoch)]
    same = next(plan for plan in early if (plan.epoch, plan.step) == (3, 2))
    assert np.array_equal(same.triplets, late.triplets)
    assert (same.query_count, same.gallery_count) == (late.query_count, late.gallery_count)
    assert not np.array_equal(source(1).plan(3, 2).triplets, late.triplets)
    assert not np.array_equal(one.plan(0, 0).triplets, one.plan(1, 0).triplets)


def test_counts_are_drawn_within_their_range() -> None:
    made = source()
    plans = [made.plan(epoch, step) for epoch in range(30) for step in range(made.steps_per_epoch)]
    counts = Counter(plan.query_count for plan in plans)
    assert min(counts) >= 30
    assert max(counts) < 129
    assert any(plan.query_count != plan.gallery_count for plan in plans)


def test_look_alikes_are_the_nearest_negatives() -> None:
    alike = look_alikes(ring(), VIEWS, NEAR)
    for row, line in enumerate(alike):
        wanted: list[int] = []
        if VIEWS.hard[row]:
            shown = {LABELS[row], VIEWS.behind[row]}
            listed = ring().rows[row].tolist()
            wanted = [n for n in listed if LABELS[n] not in shown and not VIEWS.hard[n]][:NEAR]
        assert line.tolist() == wanted + [-1] * (NEAR - len(wanted))


def test_neighbours_of_other_images_are_refused() -> None:
    other = Shortlist(np.zeros((3, 2), np.int64), np.zeros((3, 2), np.float32))
    with pytest.raises(DatasetError, match="neighbours of 3 images, and 54"):
        look_alikes(other, VIEWS, 5)


def test_without_hard_views_or_other_photos_there_are_no_triplets() -> None:
    for names in (["a/hard01.jpg", "a/original00.jpg"], ["a/original00.jpg", "b/original00.jpg"]):
        views = Views.from_names(names, np.arange(2) * (names[0][0] != names[1][0]), ALL[:2])
        with pytest.raises(DatasetError, match="hard view"):
            ViewTriplets(views, np.full((2, 1), -1), COUNTS)


def test_images_without_descriptors_take_no_part() -> None:
    # An original, a hard view, and everything easy of photo 3.
    lost = [0, 5, *range(3 * EACH, 3 * EACH + 3)]
    usable = ~np.isin(np.arange(len(NAMES)), lost)
    views = Views.from_names(NAMES, LABELS, usable)
    alike = np.where(np.isin(look_alikes(ring(), views, NEAR), lost), -1, look_alikes(ring(), views, NEAR))
    triplets = all_triplets(ViewTriplets(views, alike, COUNTS), 10)
    assert usable[triplets].all()
    assert not (views.photo[triplets[:, 0]] == 3).any()
    assert set(triplets[:, 0]) == set(np.flatnonzero(views.hard & usable & (views.photo != 3)))


def test_made_by_name_from_a_store(tmp_path: Path) -> None:
    for row, name in enumerate(NAMES):
        random = np.random.default_rng(row // EACH)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = random.integers(0, 255, (15, 20, 3), np.uint8)
        cv2.imwrite(str(path), cv2.resize(picture, (160, 120), interpolation=cv2.INTER_CUBIC))
    lines = [f"{name},{name.split('/')[1]},160,120\n" for name in NAMES]
    (tmp_path / "train.txt").write_text("".join(lines))
    data = f"data_root={tmp_path}"
    extract_here(["dataset=landmarks_mini", "split=train", data, f"output={tmp_path}/store", "topk=50"])

    gallery = Gallery.open([f"{tmp_path}/store"])
    neighbors = find_neighbors(gallery.stores[0], gallery, "global", 30, exclude_self=True)
    labels = label_numbers([record.label for record in gallery.records()])
    made = make_source("views", SourceInput(gallery, labels, neighbors, COUNTS, 8, 10, 2, 0))
    triplets = made.plan(0, 0).triplets
    assert triplets.shape == (8, 4)
    assert (labels[triplets[:, 0]] == labels[triplets[:, 1]]).all()
    assert (labels[triplets[:, :1]] != labels[triplets[:, 2:]]).all()

"""Triplets of made-up views: a hard view should find its own photo and not the photos that look alike.

For data sets with one photo of each thing, such as `landmarks_mini`. Images are `<photo>/<kind><number>.jpg`,
and its kind is original, moderate, hard or pasted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.errors import DatasetError
from ames_ray.model.mutual_reranker import mutual_ratios
from ames_ray.training.plan import StepPlan
from ames_ray.training.sampler import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ames_ray.evaluation.scores import Shortlist
    from ames_ray.training.plan import DescriptorCounts
    from ames_ray.training.prefixes import DescriptorSource
    from ames_ray.training.sources import SourceInput
    from ames_ray.types import BoolArray, IntArray

KINDS = {"original": False, "moderate": False, "hard": True, "pasted": True}
"""Kinds of views, and whether they are hard."""
_NAME = re.compile(rf"(?P<photo>.+)/(?P<kind>{'|'.join(KINDS)})\d+\.\w+$")
_MATCH_RATIO = 0.8
_MINED_DESCRIPTORS = 100


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """What the images of a training set are views of.

    Attributes:
        photo: (rows,) int64 number of the photo.
        hard: (rows,) bool, False for the photo itself and its moderate views.
        label: (rows,) int64 what is seen: photos of equal ones are never negatives of each other.
        usable: (rows,) bool, False for images without descriptors, such as a blurred view of a wall.
    """

    photo: IntArray
    hard: BoolArray
    label: IntArray
    usable: BoolArray

    @classmethod
    def from_names(cls, names: Iterable[str], label: IntArray, usable: BoolArray) -> Views:
        """Read photo and kind out of image names.

        Args:
            names: One an image.
            label: (rows,) int64; `UNKNOWN` is not allowed.
            usable: (rows,) bool.

        Raises:
            DatasetError: A name is of another form, or an image has no label.
        """
        known: dict[str, int] = {}
        photo, hard = [], []
        for row, name in enumerate(names):
            found = _NAME.match(name)
            if found is None or label[row] == UNKNOWN:
                raise DatasetError(
                    f"row {row}, {name}, is no labelled view of a photo",
                    f"source=views wants PHOTO/KIND00.jpg with KIND one of {', '.join(KINDS)}, "
                    "as `ames-ray samples set=landmarks_mini` makes them",
                )
            photo.append(known.setdefault(found["photo"], len(known)))
            hard.append(KINDS[found["kind"]])
        return cls(np.array(photo, np.int64), np.array(hard, np.bool_), label, usable)


@dataclass(frozen=True, slots=True)
class ViewShares:
    """How often what is drawn; docs/experiments.md says what harder defaults did.

    Attributes:
        hard_positive: Positives that are another hard view; the others are the photo or a moderate view.
        hard_negative: Negatives that look alike; the others are any image of another label.
        tried: Look-alikes drawn for a hard negative, of which the one with most matches is taken.
    """

    hard_positive: float = 0.0
    hard_negative: float = 0.5
    tried: int = 1


class ViewTriplets:
    """A `TripletSource`: each epoch is a permutation of all hard views, one triplet each.

    Args:
        views: What the images are views of.
        alike: (rows, N) int64 the images of other labels that look most alike, nearest first; -1 fills up.
            Rows of images that are no hard views are not looked at.
        matches: (rows, N) how many local descriptors match, or none: then a hard negative is any of `alike`.
        descriptor_counts: How many descriptors each step sees.
        batch_size: Triplets of a step.
        seed: Decides permutations and draws.
        shares: How often what is drawn.

    Raises:
        DatasetError: No hard view has a positive and a negative.
    """

    def __init__(
        self,
        views: Views,
        alike: IntArray,
        matches: IntArray | None,
        descriptor_counts: DescriptorCounts,
        *,
        batch_size: int = 24,
        seed: int = 0,
        shares: ViewShares = ViewShares(),
    ) -> None:
        self._views = views
        self._alike = alike
        self._matches = np.zeros(alike.shape, np.int64) if matches is None else matches
        self._descriptor_counts = descriptor_counts
        self._batch_size = batch_size
        self._seed = seed
        self._shares = shares
        easy = np.isin(views.photo, views.photo[views.usable & ~views.hard])
        several = len(np.unique(views.label[views.usable])) > 1
        self._anchors = np.flatnonzero(views.usable & views.hard & easy & several)
        if not len(self._anchors):
            raise DatasetError(
                f"none of {len(views.photo)} images is a hard view with its photo and other photos beside it",
                "extract the whole list: dataset=landmarks_mini split=train",
            )

    @property
    def anchors(self) -> IntArray:
        """(A,) int64 rows of the anchors, ascending."""
        return self._anchors

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch; the last one may be short."""
        return -(-len(self._anchors) // self._batch_size)

    def plan(self, epoch: int, step: int) -> StepPlan:
        """The plan of a step; see `TripletSource`."""
        order = np.random.default_rng((self._seed, 0, epoch)).permutation(self._anchors)
        anchors = order[step * self._batch_size : (step + 1) * self._batch_size]
        query, gallery = self._descriptor_counts.draw(epoch * self.steps_per_epoch + step)
        random = np.random.default_rng((self._seed, 1, epoch, step))
        rows = [
            (anchor, self._positive(anchor, random), self._negative(anchor, random)) for anchor in anchors
        ]
        return StepPlan(epoch, step, np.array(rows, np.int64), query, gallery, query, gallery)

    def _positive(self, anchor: int, random: np.random.Generator) -> int:
        views = self._views
        same = views.usable & (views.photo == views.photo[anchor])
        same[anchor] = False
        hard = np.flatnonzero(same & views.hard)
        wants_hard = random.random() < self._shares.hard_positive and len(hard)
        return int(random.choice(hard if wants_hard else np.flatnonzero(same & ~views.hard)))

    def _negative(self, anchor: int, random: np.random.Generator) -> int:
        alike = np.flatnonzero(self._alike[anchor] >= 0)
        if random.random() < self._shares.hard_negative and len(alike):
            drawn = random.permutation(alike)[: self._shares.tried]
            return int(self._alike[anchor, drawn[np.argmax(self._matches[anchor, drawn])]])
        others = np.flatnonzero(self._views.usable & (self._views.label != self._views.label[anchor]))
        return int(random.choice(others))


def look_alikes(neighbors: Shortlist, views: Views, count: int) -> IntArray:
    """(rows, count) int64: of each hard view's neighbours the nearest of other labels; -1 fills up.

    Raises:
        DatasetError: The neighbours are of other images.
    """
    if len(neighbors) != len(views.photo):
        raise DatasetError(
            f"there are neighbours of {len(neighbors)} images, and {len(views.photo)} images",
            "make the neighbours from the training store: query and gallery are the same store",
        )
    found = np.full((len(neighbors), count), -1, np.int64)
    for row in np.flatnonzero(views.hard):
        listed = neighbors.rows[row]
        listed = listed[listed >= 0]
        others = listed[views.label[listed] != views.label[row]][:count]
        found[row, : len(others)] = others
    return found


def count_matches(source: DescriptorSource, alike: IntArray) -> IntArray:
    """How many of the strongest 100 descriptors of an image match those of its look-alikes.

    A match is a mutual nearest neighbour that passes the ratio test at 0.8.

    Args:
        source: Where the descriptors are.
        alike: (rows, N) int64, -1 where there is none.

    Returns:
        (rows, N) int64, 0 where there is none.
    """
    everything = source.read(np.arange(len(source)), min(_MINED_DESCRIPTORS, source.topk))
    descriptors, valid = everything.descriptors, everything.valid
    found = np.zeros(alike.shape, np.int64)
    for row in np.flatnonzero((alike >= 0).any(1)):
        held = alike[row] >= 0
        others = alike[row, held]
        own = descriptors[row][valid[row]].astype(np.float32)
        ratios = mutual_ratios(own, descriptors[others].astype(np.float32), valid[others])
        found[row, held] = (ratios < _MATCH_RATIO).sum(1)
    return found


def views(given: SourceInput) -> ViewTriplets:
    """The source of the name `views`; where several look-alikes are tried, counting matches takes minutes."""
    names = (record.image_id for record in given.gallery.records())
    read = Views.from_names(names, given.labels, given.gallery.ok)
    alike = look_alikes(given.neighbors, read, given.num_neighbors)
    shares = ViewShares()
    return ViewTriplets(
        read,
        alike,
        count_matches(given.gallery, alike) if shares.tried > 1 else None,
        given.descriptor_counts,
        batch_size=given.batch_size,
        seed=given.seed,
        shares=shares,
    )

"""Triplets of made-up views: a hard view should find its own photo and not the photos that look alike.

For data sets with one photo of each thing, such as `landmarks_mini`. Images are `<photo>/<kind><number>.jpg`,
and its kind is original, moderate, hard or pasted; a pasted one is `pasted<number>-on-<photo>.jpg`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.errors import DatasetError
from ames_ray.training.plan import StepPlan
from ames_ray.training.sampler import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ames_ray.evaluation.scores import Shortlist
    from ames_ray.training.plan import DescriptorCounts
    from ames_ray.training.sources import SourceInput
    from ames_ray.types import BoolArray, IntArray

KINDS = {"original": False, "moderate": False, "hard": True, "pasted": True}
"""Kinds of views, and whether they are hard."""
_NAME = re.compile(
    rf"(?P<photo>(?:.+/)?(?P<slug>[^/]+))/(?P<kind>{'|'.join(KINDS)})\d+(?:-on-(?P<behind>.+))?\.\w+$"
)


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """What the images of a training set are views of.

    Attributes:
        photo: (rows,) int64 number of the photo.
        hard: (rows,) bool, False for the photo itself and its moderate views.
        label: (rows,) int64 what is seen: images of equal ones are never negatives of each other.
        behind: (rows,) int64 the label of the picture that the view is pasted on, `UNKNOWN` for none. It is
            seen too, and often better than what is in front.
        usable: (rows,) bool, False for images without descriptors, such as a blurred view of a wall.
    """

    photo: IntArray
    hard: BoolArray
    label: IntArray
    behind: IntArray
    usable: BoolArray

    @classmethod
    def from_names(cls, names: Iterable[str], label: IntArray, usable: BoolArray) -> Views:
        """Read photo and kind out of image names.

        Args:
            names: One an image.
            label: (rows,) int64; `UNKNOWN` is not allowed.
            usable: (rows,) bool.

        Raises:
            DatasetError: A name is of another form, an image has no label, or one is pasted on a photo
                that is not in the list.
        """
        known: dict[str, int] = {}
        labels: dict[str, int] = {}
        photo, hard, pasted_on = [], [], []
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
            labels[found["slug"]] = int(label[row])
            pasted_on.append(found["behind"])
        unknown = sorted({slug for slug in pasted_on if slug is not None} - labels.keys())
        if unknown:
            raise DatasetError(
                f"views are pasted on {len(unknown)} photos that are not in the list, such as {unknown[0]}",
                "extract the whole list: dataset=landmarks_mini split=train",
            )
        behind = [UNKNOWN if slug is None else labels[slug] for slug in pasted_on]
        return cls(np.array(photo), np.array(hard), label, np.array(behind), usable)

    def negatives(self, row: int) -> BoolArray:
        """(rows,) bool: photos and moderate views, as galleries hold, of nothing that `row` shows."""
        return self.usable & ~self.hard & ~np.isin(self.label, (self.label[row], self.behind[row]))


@dataclass(frozen=True, slots=True)
class ViewShares:
    """How often what is drawn.

    Attributes:
        hard_positive: Positives that are another hard view; the others are the photo or a moderate view.
        hard_negative: Negatives that look alike; the others are any.
    """

    hard_positive: float = 0.25
    hard_negative: float = 0.5


class ViewTriplets:
    """A `TripletSource`: each epoch is a permutation of all hard views, one triplet each.

    Args:
        views: What the images are views of.
        alike: (rows, N) int64 the negatives that look most alike, nearest first; -1 fills up.
            Rows of images that are no hard views are not looked at.
        descriptor_counts: How many descriptors each step sees.
        batch_size: Triplets of a step.
        seed: Decides permutations and draws.
        shares: How often what is drawn.
        negatives: Drawn for each anchor.

    Raises:
        DatasetError: No hard view has a positive and a negative.
    """

    def __init__(
        self,
        views: Views,
        alike: IntArray,
        descriptor_counts: DescriptorCounts,
        *,
        batch_size: int = 24,
        seed: int = 0,
        shares: ViewShares = ViewShares(),
        negatives: int = 1,
    ) -> None:
        self._views = views
        self._alike = alike
        self._descriptor_counts = descriptor_counts
        self._batch_size = batch_size
        self._seed = seed
        self._shares = shares
        self._count = negatives
        easy = np.isin(views.photo, views.photo[views.usable & ~views.hard])
        hard = np.flatnonzero(views.usable & views.hard & easy)
        self._anchors = np.array([row for row in hard.tolist() if views.negatives(row).any()], np.int64)
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
            (anchor, self._positive(anchor, random), *self._negatives(anchor, random)) for anchor in anchors
        ]
        return StepPlan(epoch, step, np.array(rows, np.int64), query, gallery, query, gallery)

    def _positive(self, anchor: int, random: np.random.Generator) -> int:
        views = self._views
        same = views.usable & (views.photo == views.photo[anchor])
        same[anchor] = False
        hard = np.flatnonzero(same & views.hard)
        wants_hard = random.random() < self._shares.hard_positive and len(hard)
        return int(random.choice(hard if wants_hard else np.flatnonzero(same & ~views.hard)))

    def _negatives(self, anchor: int, random: np.random.Generator) -> list[int]:
        alike = self._alike[anchor][self._alike[anchor] >= 0]
        everything = np.flatnonzero(self._views.negatives(anchor))
        wants_alike = (random.random(self._count) < self._shares.hard_negative) & (len(alike) > 0)
        return [int(random.choice(alike if near else everything)) for near in wants_alike]


def look_alikes(neighbors: Shortlist, views: Views, count: int) -> IntArray:
    """(rows, count) int64: of each hard view's neighbours the nearest of its `negatives`; -1 fills up.

    Raises:
        DatasetError: The neighbours are of other images.
    """
    if len(neighbors) != len(views.photo):
        raise DatasetError(
            f"there are neighbours of {len(neighbors)} images, and {len(views.photo)} images",
            "make the neighbours from the training store: query and gallery are the same store",
        )
    found = np.full((len(neighbors), count), -1, np.int64)
    for row in np.flatnonzero(views.hard).tolist():
        listed = neighbors.rows[row]
        listed = listed[listed >= 0]
        others = listed[views.negatives(row)[listed]][:count]
        found[row, : len(others)] = others
    return found


def views(given: SourceInput) -> ViewTriplets:
    """The source of the name `views`."""
    names = (record.image_id for record in given.gallery.records())
    read = Views.from_names(names, given.labels, given.gallery.ok)
    return ViewTriplets(
        read,
        look_alikes(given.neighbors, read, given.num_neighbors),
        given.descriptor_counts,
        batch_size=given.batch_size,
        seed=given.seed,
        negatives=given.negatives,
    )

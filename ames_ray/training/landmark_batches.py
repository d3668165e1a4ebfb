"""Batches of some pictures of each of some landmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ames_ray.errors import DatasetError
from ames_ray.training.sampler import UNKNOWN

if TYPE_CHECKING:
    from ames_ray.types import IntArray


class LandmarkBatches:
    """Which pictures a step sees; a pure function of the step, so a resumed run sees the same.

    Landmarks of which there is one picture alone take no part.

    Args:
        labels: (rows,) int64 landmarks, `UNKNOWN` where there is none.
        landmarks: Landmarks of a batch; all where there are fewer.
        images: Pictures of each, all where it has fewer.
        seed: Decides the draws.

    Raises:
        DatasetError: Fewer than two landmarks have two pictures.
    """

    def __init__(self, labels: IntArray, *, landmarks: int, images: int, seed: int) -> None:
        known, counts = np.unique(labels[labels != UNKNOWN], return_counts=True)
        self._labels = labels
        self._landmarks = known[counts > 1]
        if len(self._landmarks) < 2:
            raise DatasetError(
                f"{len(self._landmarks)} landmarks have two pictures or more, needed are two landmarks",
                "give a list with labels (path,landmark), or a folder with a sub-folder for each landmark",
            )
        order = np.argsort(labels, kind="stable")
        starts = np.searchsorted(labels[order], self._landmarks, side="left")
        stops = np.searchsorted(labels[order], self._landmarks, side="right")
        self._rows = [order[start:stop] for start, stop in zip(starts, stops, strict=True)]
        self._per_batch = min(landmarks, len(self._landmarks))
        self._images = images
        self._seed = seed

    @property
    def pictures(self) -> int:
        """Pictures that take part."""
        return sum(map(len, self._rows))

    @property
    def landmarks(self) -> int:
        """Landmarks that take part."""
        return len(self._landmarks)

    def rows(self, step: int) -> IntArray:
        """(B,) int64 rows of the pictures of a step."""
        random = np.random.default_rng((self._seed, step))
        chosen = random.choice(len(self._rows), self._per_batch, replace=False)
        return np.concatenate([random.permutation(self._rows[index])[: self._images] for index in chosen])

    def labels(self, rows: IntArray) -> IntArray:
        """Landmarks of rows."""
        return self._labels[rows]

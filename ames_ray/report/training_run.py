"""What `ames-ray train` left in a folder, read back for people: a line a step, a line an epoch, the card."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ames_ray.errors import DatasetError
from ames_ray.files import Storage
from ames_ray.training.log import EPOCHS, STEPS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_CARD = "card.json"
Columns = dict[str, "NDArray[np.float64]"]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRun:
    """A run, also one that is still going on.

    Attributes:
        name: What the page calls it.
        steps: By name, (S,) values of every step.
        epochs: By name, (E,) values of every epoch.
        card: Its card; empty until it is finished.
    """

    name: str
    steps: Columns
    epochs: Columns
    card: Mapping[str, Any]

    @classmethod
    def read(cls, uri: str, name: str) -> Self:
        """Read the folder of a run.

        Raises:
            DatasetError: A file is not as `ames-ray train` writes it, or there is no step yet.
        """
        folder = Storage.at(uri)
        run = cls(name, _columns(folder, STEPS), _columns(folder, EPOCHS), _card(folder))
        if not len(run.steps.get("total", [])):
            raise DatasetError(f"{uri}/{STEPS} has no step yet", "the first lines come with a checkpoint")
        return run

    @property
    def result(self) -> Mapping[str, Any]:
        """What was reached, by the card."""
        found: Mapping[str, Any] = self.card.get("result", {})
        return found

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the means that validation found."""
        return tuple(name for name in self.epochs if "_mAP" in name)

    @property
    def best_epoch(self) -> int | None:
        """Epoch of the weights that were kept as the best, or none."""
        found: int | None = self.result.get("best_epoch")
        return found


def read_runs(uris: Sequence[str]) -> list[TrainingRun]:
    """Runs with short names that tell them apart.

    Raises:
        DatasetError: See `TrainingRun.read`.
    """
    parts = [uri.rstrip("/").split("/") for uri in uris]
    count = 1
    while len({"/".join(p[-count:]) for p in parts}) < len(set(uris)):
        count += 1
    return [TrainingRun.read(uri, "/".join(p[-count:])) for uri, p in zip(uris, parts, strict=True)]


def thinned(x: NDArray[np.float64], y: NDArray[np.float64], width: float) -> tuple[NDArray[np.float64], ...]:
    """Means, lowest and highest values over equal parts of the x axis.

    Args:
        x: (N,) ascending.
        y: (N,)
        width: Of a part; parts start at 0, so that those of several runs are the same.

    Returns:
        Four arrays: the end of each part that holds a value, mean, lowest, highest.
    """
    part = np.ceil(x / width).astype(np.int64)
    starts = np.flatnonzero(np.r_[True, part[1:] != part[:-1]])
    counts = np.diff(np.r_[starts, len(x)])
    sums, low, high = (add.reduceat(y, starts) for add in (np.add, np.minimum, np.maximum))
    return part[starts] * np.float64(width), sums / counts, low, high


def _card(folder: Storage) -> dict[str, Any]:
    if not folder.exists(_CARD):
        return {}
    try:
        card: dict[str, Any] = json.loads(folder.read(_CARD))
        if isinstance(card["config"], dict) and isinstance(card["result"], dict):
            return card
    except (ValueError, KeyError, TypeError):
        pass
    raise DatasetError(f"{folder.address(_CARD)} is no card of `ames-ray train`")


def _columns(folder: Storage, name: str) -> Columns:
    if not folder.exists(name):
        return {}
    rows = list(csv.DictReader(io.StringIO(folder.read(name).decode())))
    try:
        return {
            key: np.array([float(row[key]) for row in rows], np.float64) for key in (rows[0] if rows else {})
        }
    except (TypeError, ValueError):
        raise DatasetError(f"{folder.address(name)} is no log of `ames-ray train`") from None

"""Revisited Oxford and Paris (Radenović et al., CVPR 2018): Easy, Medium and Hard, with mP@1, 5, 10."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ames_ray.errors import ConfigError
from ames_ray.evaluation.protocol import Group, Protocol, Setup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ames_ray.evaluation.ground_truth import GroundTruth
    from ames_ray.types import IntArray

SETUPS = {
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}
"""Of each setup, the lists that are positive and the lists that are ignored."""


def revisited(ground_truth: GroundTruth, setups: Sequence[str] = ("easy", "medium", "hard")) -> Protocol:
    """The protocol of Revisited Oxford and Paris.

    Figures: `{easy,medium,hard}_mAP` (trapezoid rule over the whole ranking), `…_mP@1`, `@5`, `@10`.

    Args:
        ground_truth: With the lists easy, hard and junk.
        setups: Which of the three to report.

    Raises:
        ConfigError: A setup has another name, or is named twice.
        DatasetError: A list is missing, or no query has positives in any setup.
    """
    if not setups or set(setups) - set(SETUPS) or len(set(setups)) < len(setups):
        raise ConfigError(
            f"setups={list(setups)}: allowed are {', '.join(SETUPS)}", "name at least one, each once"
        )
    return Protocol(
        name="revisited",
        setups=tuple(
            Setup(name, *(_union(ground_truth, lists) for lists in SETUPS[name])) for name in setups
        ),
        groups=tuple(Group(name, number, slice(None)) for number, name in enumerate(setups)),
        precision_at=(1, 5, 10),
    )


def _union(ground_truth: GroundTruth, lists: Sequence[str]) -> tuple[IntArray, ...]:
    columns = [ground_truth.of(name) for name in lists]
    return tuple(np.unique(np.concatenate(query)) for query in zip(*columns, strict=True))

"""Google Landmarks v2 retrieval (Weyand et al., CVPR 2020): mAP@100."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ames_ray.errors import ConfigError
from ames_ray.evaluation.protocol import Group, Protocol, Setup

if TYPE_CHECKING:
    from ames_ray.evaluation.ground_truth import GroundTruth

PUBLIC_QUERIES = 379
"""The public queries come first in the query list, the 750 private ones last."""
CUTOFF = 100
"""Ranks that count."""


def gldv2(ground_truth: GroundTruth, split: str = "test", public: int = PUBLIC_QUERIES) -> Protocol:
    """The protocol of GLDv2 retrieval, the authors' gldv2-test and gldv2-val.

    Figures: `public_mAP@100`, `private_mAP@100` and `combined_mAP@100` of "test"; `val_mAP@100`, the public
    queries alone, of "val", on which λ and γ are tuned.

    Args:
        ground_truth: With the list ok: the positives of every query, public queries first. For "val" it may
            end with the public queries.
        split: "test" or "val".
        public: Number of public queries at the head of the list.

    Raises:
        ConfigError: Another split.
        DatasetError: The list is missing, or no query has positives.
    """
    positives = ground_truth.of("ok")
    junk = sum(map(len, ground_truth.lists.get("junk", ())))
    if split == "val":
        positives = positives[:public]
        groups: tuple[Group, ...] = (Group("val", 0, slice(None)),)
    elif split == "test":
        groups = (
            Group("public", 0, slice(0, public)),
            Group("private", 0, slice(public, None)),
            Group("combined", 0, slice(None)),
        )
    else:
        raise ConfigError(f"split={split}: allowed are test, val")
    nothing = (np.empty(0, np.int64),) * len(positives)
    remark = f"{junk} images are junk in the ground truth; mAP@{CUTOFF} of GLDv2 leaves no image out"
    remarks = (remark,) if junk else ()
    return Protocol("gldv2", (Setup("retrieval", positives, nothing),), groups, CUTOFF, remarks=remarks)

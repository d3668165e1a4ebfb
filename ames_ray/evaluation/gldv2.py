"""Google Landmarks v2 retrieval (Weyand et al., CVPR 2020): mAP@100."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ames_ray.errors import ConfigError
from ames_ray.evaluation.ground_truth import image_rows_per_query
from ames_ray.evaluation.protocol import Group, Protocol, Setup

if TYPE_CHECKING:
    from collections.abc import Sequence

PUBLIC_QUERIES = 379
"""The public queries come first in the query list, the 750 private ones last."""


def gldv2(
    positives: Sequence[Any],
    split: Literal["test", "val"] = "test",
    public: int = PUBLIC_QUERIES,
    cutoff: int = 100,
) -> Protocol:
    """The protocol of GLDv2 retrieval.

    Figures: `public_mAP@100`, `private_mAP@100` and `combined_mAP@100` of "test"; `val_mAP@100`, the public
    queries alone, of "val", on which λ and γ are tuned. The authors' gldv2-test and gldv2-val.

    Args:
        positives: For each query its positive gallery rows, in any form that `image_rows` takes.
        split: "test" or "val".
        public: Number of public queries at the head of the list.
        cutoff: Ranks that count.

    Raises:
        ConfigError: Another split, or a cutoff below 1.
        DatasetError: An entry of `positives` is not a row number.
    """
    if cutoff < 1:
        raise ConfigError(f"cutoff={cutoff}: allowed are whole numbers from 1 on")
    groups = {
        "test": (
            Group("public", 0, slice(0, public)),
            Group("private", 0, slice(public, None)),
            Group("combined", 0, slice(None)),
        ),
        "val": (Group("val", 0, slice(0, public)),),
    }
    if split not in groups:
        raise ConfigError(f"split={split}: allowed are {', '.join(groups)}")
    rows = image_rows_per_query(positives, "positives")
    nothing = (np.empty(0, np.int64),) * len(rows)
    return Protocol("gldv2", (Setup("retrieval", rows, nothing),), groups[split], cutoff)

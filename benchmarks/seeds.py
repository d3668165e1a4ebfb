"""Several training seeds of one network as one line: mean and deviation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def over_seeds(lines: Sequence[dict[str, Any]], tiers: Sequence[str]) -> list[dict[str, Any]]:
    """Networks of several training seeds: mean and deviation of their figures by tier, and the mean gains."""
    groups: dict[tuple[str, int, int], list[dict[str, Any]]] = {}
    for line in lines:
        name, comma, rest = line["method"].partition(",")
        if name[-1].isdecimal():
            key = name.rstrip("0123456789") + comma + rest, line["descriptors"], line["K"]
            groups.setdefault(key, []).append(line)
    found = []
    for (method, count, depth), seeds in groups.items():
        if len(seeds) > 1:
            told = {tier: _spread([line[tier] for line in seeds]) for tier in tiers}
            found.append({"method": method, "descriptors": count, "K": depth, "seeds": len(seeds), **told})
    return found


def _spread(figures: Sequence[dict[str, Any]]) -> str:
    values = [figure["mAP"] for figure in figures]
    gains = (np.mean([figure[name]["mAP"] for figure in figures]) for name in ("over_global", "over_mutual"))
    over_global, over_mutual = (f"{gain:+.1f}" for gain in gains)
    deviation = np.std(values, ddof=1)
    return f"{np.mean(values):.1f} ± {deviation:.1f}; {over_global} over global, {over_mutual} over mutual"

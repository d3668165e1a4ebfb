"""Whether a command is to run on a cluster."""

from __future__ import annotations

import os


def names_cluster(address: str | None) -> bool:
    """Whether `address=` names a cluster or, as in a submitted job, the environment does."""
    return bool(address or os.environ.get("RAY_ADDRESS"))

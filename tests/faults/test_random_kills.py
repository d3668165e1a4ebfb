"""The short form of `python -m benchmarks.faults`."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fault_workloads import WORKLOADS
from benchmarks.faults import disturb_often

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_random_kills_cost_nothing_but_time(name: str, tmp_path: Path) -> None:
    for disturbance in disturb_often(name, 3, 1, tmp_path):
        assert disturbance.sound, disturbance

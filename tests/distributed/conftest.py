from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import ames_ray.distributed  # noqa: F401 - before any test imports ray, which reads what this sets

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One local Ray for the whole session, with two GPUs that are only declared."""
    os.environ["PYTHONPATH"] = str(ROOT)
    import ray

    ray.init(
        address="local",
        num_cpus=6,
        num_gpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=128 << 20,
    )
    yield
    ray.shutdown()

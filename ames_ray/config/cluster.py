"""Settings of the look at a Ray cluster."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ames_ray.config.jobs import JobConfig
from ames_ray.config.paths import FolderPath


class ClusterCheckConfig(JobConfig):
    """Every node of a cluster, before a long run depends on it."""

    verb: ClassVar[str] = "cluster check"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray cluster check",
        "ames-ray cluster check expect=5 shared=/mnt/stores wait=600",
        "ames-ray cluster check address=10.0.0.5:6379 expect=5 shared=s3://bucket/stores",
    )

    address: str | None = Field(
        None, description="Ray cluster; null: RAY_ADDRESS, else the Ray that runs on this machine"
    )
    expect: int | None = Field(None, gt=0, description="nodes that should be there, the head included")
    shared: FolderPath | None = Field(
        None, description="folder or s3:// address that every node must write and the others read"
    )
    wait: float = Field(0, ge=0, description="how long expected nodes may take to come up [s]")

"""Settings of the verb that answers searches over HTTP."""

from __future__ import annotations

import ipaddress
from typing import ClassVar, Literal

from pydantic import Field

from ames_ray.config.search import SearchSettings

MOST_RESULTS = 1000
"""Largest `num_results` and `num_rerank` that one request may ask for."""


class ServeConfig(SearchSettings):
    """One store, searched by anybody who reaches the address."""

    verb: ClassVar[str] = "serve"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray serve store=store/",
        "ames-ray serve stores/dinov2 model=dinov2_ames port=8080",
        "ames-ray serve stores/dinov2 model=dinov2_ames num_replicas=4 cpus_per_replica=4 address=auto",
    )
    positional: ClassVar[tuple[str, ...]] = ("store",)
    moved: ClassVar[dict[str, str]] = {"gallery": "store", "model_path": "model", "replicas": "num_replicas"}

    host: str = Field(
        "127.0.0.1", description="address to listen on; 0.0.0.0: anybody who reaches the machine"
    )
    port: int = Field(8000, ge=0, le=65535, description="TCP port; 0: any free one")

    num_results: int = Field(
        50, gt=0, le=MOST_RESULTS, description="images to return where a request does not say"
    )
    num_rerank: int = Field(
        100, ge=0, le=MOST_RESULTS, description="images to re-rank where a request does not say"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: what Ray assigned to the replica"
    )

    max_upload_mb: float = Field(20, gt=0, le=1024, description="larger uploads are refused [MB]")
    max_pixels: int = Field(50_000_000, gt=0, description="larger photos are refused [pixels]")
    max_queued: int = Field(64, gt=0, description="searches that may wait in a replica; further ones get 503")
    timeout: float = Field(300, gt=0, description="longest wait for an answer, waiting in line included [s]")
    refresh_every: float = Field(
        5,
        ge=0,
        description="shortest time between two looks at whether the store changed [s]; 0: each request",
    )

    num_replicas: int = Field(1, gt=0, description="processes that answer; each holds the model")
    cpus_per_replica: float = Field(1, gt=0, description="CPUs that Ray reserves for a replica")
    gpus_per_replica: float | None = Field(
        None, ge=0, description="0.5: two replicas share a GPU; null: 1 if any"
    )
    address: str | None = Field(None, description="Ray cluster; null: RAY_ADDRESS, else a local one")

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

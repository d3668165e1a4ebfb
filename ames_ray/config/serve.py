"""Settings of the verb that answers searches over HTTP."""

from __future__ import annotations

import ipaddress
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from ames_ray.config.jobs import JobConfig
from ames_ray.config.paths import FileOrName, FolderPath
from ames_ray.evaluation.ensemble import Ensemble

MOST_RESULTS = 1000
"""Largest `num_results` and `num_rerank` that one request may ask for."""


class ServeConfig(JobConfig):
    """One store, searched by anybody who reaches the address."""

    verb: ClassVar[str] = "serve"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray serve store=store/",
        "ames-ray serve stores/dinov2 model=dinov2_ames port=8080",
        "ames-ray serve stores/dinov2 model=dinov2_ames num_replicas=4 cpus_per_replica=4 address=auto",
    )
    positional: ClassVar[tuple[str, ...]] = ("store",)
    moved: ClassVar[dict[str, str]] = {"gallery": "store", "model_path": "model", "replicas": "num_replicas"}

    store: FolderPath = Field(description="store to search in, from `ames-ray extract`")
    host: str = Field(
        "127.0.0.1", description="address to listen on; 0.0.0.0: anybody who reaches the machine"
    )
    port: int = Field(8000, ge=0, le=65535, description="TCP port; 0: any free one")

    model: FileOrName | None = Field(
        None, description="weights of a re-ranker, or a published name; null: mutual nearest neighbours"
    )
    reranker: str = Field("ames", description="kind of re-ranker that model= belongs to")
    lamb: float = Field(0.5, ge=0, le=1, description="λ, weight of the global similarity beside a model")
    temp: float = Field(0.5, ge=0, description="γ, factor of the model's logit")
    pooled: str = Field("global", description="global descriptor of the first ranking: global or cls")
    num_results: int = Field(
        50, gt=0, le=MOST_RESULTS, description="images to return where a request does not say"
    )
    num_rerank: int = Field(
        100, ge=0, le=MOST_RESULTS, description="images to re-rank where a request does not say"
    )
    query_desc_num: int = Field(600, gt=0, description="local descriptors of the photo, at most")
    db_desc_num: int = Field(600, gt=0, description="local descriptors of an image of the store, at most")
    weights: FileOrName | None = Field(
        None, description="weights of the backbone; null: where they lay when the store was made"
    )
    detector: FileOrName | None = Field(None, description="detector weights; null: likewise")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="arithmetic of the model")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: what Ray assigned to the replica"
    )

    max_upload_mb: float = Field(20, gt=0, le=1024, description="larger uploads are refused [MB]")
    max_pixels: int = Field(50_000_000, gt=0, description="larger photos are refused [pixels]")
    max_queued: int = Field(64, gt=0, description="searches that may wait in a replica; further ones get 503")
    timeout: float = Field(300, gt=0, description="longest wait for an answer, waiting in line included [s]")

    num_replicas: int = Field(1, gt=0, description="processes that answer; each holds the model")
    cpus_per_replica: float = Field(1, gt=0, description="CPUs that Ray reserves for a replica")
    gpus_per_replica: float | None = Field(
        None, ge=0, description="0.5: two replicas share a GPU; null: 1 if any"
    )
    address: str | None = Field(None, description="Ray cluster; null: RAY_ADDRESS, else a local one")

    @model_validator(mode="after")
    def _ranges(self) -> ServeConfig:
        Ensemble(self.lamb, self.temp, self.num_rerank)
        return self

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

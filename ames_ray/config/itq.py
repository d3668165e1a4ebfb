"""Settings of the fit of a binary projection."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from ames_ray.config.jobs import JobConfig
from ames_ray.config.paths import FolderPath
from ames_ray.errors import ConfigError
from ames_ray.files import is_remote

_ENDINGS = (".npz", ".pt")


class ItqConfig(JobConfig):
    """From a store of raw descriptors to the projection that a binary network starts from."""

    verb: ClassVar[str] = "itq"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray itq store=stores/train output=itq_dinov2_D128.npz",
        "ames-ray itq store=stores/train bits=64 sample=200000 output=itq_D64.pt",
        "ames-ray itq store=s3://bucket/gldv2_train workers=8 output=itq_cvnet_D128.npz",
    )
    moved: ClassVar[dict[str, str]] = {"dim": "bits", "num_samples": "sample", "save_path": "output"}

    store: FolderPath = Field(description="store of the training images, raw descriptors")
    bits: int = Field(
        128, gt=0, multiple_of=8, description="bits of a descriptor; the network's bits=, or its dim="
    )
    sample: int = Field(1_000_000, gt=0, description="descriptors to fit on, about; bounds the memory")
    per_image: int = Field(50, gt=0, description="descriptors of an image; more in a store of few images")
    max_desc: int = Field(400, gt=0, description="only the strongest of an image are taken")
    mean: Literal["kept", "excluded"] = Field(
        "kept",
        description="whether bits may tell what all descriptors have in common; excluded helps descriptors "
        "without negative numbers, such as RootSIFT",
    )
    iterations: int = Field(50, ge=0, description="alternations of signs and rotation")
    seed: int = Field(0, ge=0, description="decides the sample and the first rotation")
    output: FolderPath = Field(
        description="local .npz or .pt file to write, in the authors' layout; replaces only an earlier result"
    )
    address: str | None = Field(None, description="Ray cluster; null: RAY_ADDRESS, else a local one")
    workers: int | None = Field(
        None,
        gt=0,
        description="Ray tasks that read at once; null without an address or RAY_ADDRESS: this process alone "
        "up to 4 GB of reading",
    )

    @model_validator(mode="after")
    def _local_file_of_known_ending(self) -> Self:
        if is_remote(self.output):
            raise ConfigError(
                f"output={self.output}: the file is written to a local disk", "copy it afterwards"
            )
        if not self.output.endswith(_ENDINGS):
            raise ConfigError(f"output={self.output}: its name must end in {' or '.join(_ENDINGS)}")
        return self

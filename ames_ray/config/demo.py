"""Settings of the verbs that show ames-ray on photos that come with packages."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from ames_ray.config.jobs import JobConfig
from ames_ray.config.paths import FolderPath
from ames_ray.errors import ConfigError
from ames_ray.files import is_remote


class _PhotosConfig(JobConfig):
    """Where photos come from."""

    source: Literal["auto", "gcompris", "wheels"] = Field(
        "auto",
        description="gcompris: 292 photos of landmarks, animals and things from a Debian package (44 MB); "
        "wheels: the 15 that scikit-image and scikit-learn carry; auto: the first that can be had",
    )

    @field_validator("output", check_fields=False)
    @classmethod
    def _is_local(cls, output: str) -> str:
        if is_remote(output):
            raise ConfigError(
                f"output={output}: the photos are written to a local disk", "copy them afterwards"
            )
        return output


class SamplesConfig(_PhotosConfig):
    """A folder of real photos, or the benchmark that is made of them."""

    verb: ClassVar[str] = "samples"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray samples",
        "ames-ray samples output=photos/ source=wheels",
        "ames-ray samples set=landmarks_mini output=data/landmarks_mini",
    )

    output: FolderPath = Field("samples", validate_default=True, description="folder to put the photos in")
    set: Literal["photos", "landmarks_mini"] = Field(
        "photos",
        description="photos: as shipped; landmarks_mini: a benchmark with queries, galleries, ground truth "
        "and training photos (two Debian packages, 136 MB)",
    )
    seeds: int = Field(3, gt=0, description="landmarks_mini: made-up queries of each scene and tier")
    train_views: int = Field(33, gt=4, description="landmarks_mini: pictures made of each training photo")

    @model_validator(mode="after")
    def _benchmark_needs_debian(self) -> Self:
        if self.set == "landmarks_mini" and self.source == "wheels":
            raise ConfigError(
                "set=landmarks_mini cannot be made of the 15 photos in the wheels",
                "drop source=wheels: it is made of Debian's gcompris-qt-data and opencv-doc",
            )
        return self


class DemoConfig(_PhotosConfig):
    """Photos, their store, and a page of searches with some of them, start to end."""

    verb: ClassVar[str] = "demo"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray demo",
        "ames-ray demo output=demo/",
        "ames-ray demo output=demo/ source=wheels",
    )

    output: FolderPath = Field("demo", validate_default=True, description="folder of everything it makes")

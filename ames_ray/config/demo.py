"""Settings of the verbs that show ames-ray on photos that come with packages."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ames_ray.config.jobs import JobConfig
from ames_ray.config.paths import FolderPath


class SamplesConfig(JobConfig):
    """A folder of real photos."""

    verb: ClassVar[str] = "samples"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray samples",
        "ames-ray samples output=photos/",
        "ames-ray samples output=photos/ source=wheels",
    )

    output: FolderPath = Field("samples", validate_default=True, description="folder to put the photos in")
    source: Literal["auto", "gcompris", "wheels"] = Field(
        "auto",
        description="gcompris: 292 photos of landmarks, animals and things from a Debian package (44 MB); "
        "wheels: the dozen that scikit-image and scikit-learn carry; auto: the first that can be had",
    )


class DemoConfig(SamplesConfig):
    """The main job, start to end."""

    verb: ClassVar[str] = "demo"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray demo",
        "ames-ray demo output=demo/",
        "ames-ray demo output=demo/ source=wheels",
    )

    output: FolderPath = Field("demo", validate_default=True, description="folder of everything it makes")

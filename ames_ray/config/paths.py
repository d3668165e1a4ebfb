"""Paths in job objects: made absolute once, because workers run in other folders than the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from ames_ray.datasets.paths import expanded
from ames_ray.files import is_remote, refuse_password


def _absolute(value: str) -> str:
    refuse_password(value)
    return value if is_remote(value) else str(expanded(value.removeprefix("file://")).absolute())


def _absolute_if_file(value: str) -> str:
    return _absolute(value) if expanded(value).exists() else value


def _absolute_model(value: str) -> str:
    name = value.removeprefix("hf:")
    return f"hf:{_absolute_if_file(name)}" if value.startswith("hf:") else value


@dataclass(frozen=True, slots=True)
class Kind:
    """What help texts call a type."""

    name: str


FolderPath = Annotated[str, AfterValidator(_absolute), Kind("path")]
"""A local path or a `scheme://` address."""
FileOrName = Annotated[str, AfterValidator(_absolute_if_file), Kind("path or name")]
"""A path where such a file exists, else a name that something else resolves."""
BackboneName = Annotated[str, AfterValidator(_absolute_model), Kind("name")]
"""A backbone; the folder in `hf:<folder>` is made absolute."""

NAMED_BACKBONE = (
    "backbone that made the store; needed only for module:function, which is run: name what you trust"
)
"""What the setting means to those who go on with a store, or search it."""

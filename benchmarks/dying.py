"""A backbone that is slow enough to be hit, and that dies once at a named moment if it is told to.

`AMES_RAY_FAULT=MOMENT:FILE` names the moment; the first process that gets there removes FILE and dies.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ames_ray.backbones.base import PictureBackbone
from ames_ray.backbones.blank import blank
from ames_ray.store import writer
from ames_ray.types import FloatArray, LocalFeatures, Pixels

MOMENTS = ("decode", "write", "rename", "mark")
VARIABLE = "AMES_RAY_FAULT"
_SECONDS = 0.03


def slow_blank(weights: str | None = None) -> PictureBackbone:
    """The blank backbone at some thirty pictures a second."""
    plain = blank(weights)
    moment, _, token = os.environ.get(VARIABLE, "").partition(":")
    if moment in {"write", "rename", "mark"}:
        _arm(moment, Path(token))

    def describe(pixels: Pixels) -> tuple[LocalFeatures, Mapping[str, FloatArray]]:
        time.sleep(_SECONDS)
        if moment == "decode":
            die_once(Path(token))
        return plain.describe(pixels)

    return replace(plain, describe=describe)


def die_once(token: Path) -> None:
    """End this process as `kill -9` does, unless another one did so already."""
    try:
        token.unlink()
    except FileNotFoundError:
        return
    os._exit(9)


def _arm(moment: str, token: Path) -> None:
    """Put the death in front of the library's own step."""
    owner: Any = {"write": writer.ShardWriter, "rename": Path, "mark": writer}[moment]
    name = {"write": "write", "rename": "replace", "mark": "write_mark"}[moment]
    setattr(owner, name, _after_death(getattr(owner, name), token))


def _after_death(step: Callable[..., Any], token: Path) -> Callable[..., Any]:
    def dying(*args: Any) -> Any:
        die_once(token)
        return step(*args)

    return dying

"""Parts of a job that are slow enough to be hit, and that die once at a named moment if they are told to.

`AMES_RAY_FAULT=MOMENT:FILE` names the moment; the first process that gets there removes FILE and dies.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ames_ray.backbones.base import PictureBackbone
from ames_ray.backbones.blank import blank
from ames_ray.store import writer
from ames_ray.types import FloatArray, LocalFeatures, Pixels

if TYPE_CHECKING:
    from ames_ray.training.plan import StepPlan, TripletSource
    from ames_ray.training.sources import SourceInput

VARIABLE = "AMES_RAY_FAULT"
_SECONDS = 0.03
_LATE = 100
"""Steps after which a training dies, so that it has something to go on from."""


def slow_blank(weights: str | None = None) -> PictureBackbone:
    """The blank backbone at some thirty pictures a second. Moments: decode, write, rename, mark."""
    plain = blank(weights)
    moment, token = _fault()
    if moment in {"write", "rename", "mark"}:
        owner: Any = {"write": writer.ShardWriter, "rename": Path, "mark": writer}[moment]
        _die_before(owner, {"write": "write", "rename": "replace", "mark": "write_mark"}[moment], token)

    def describe(pixels: Pixels) -> tuple[LocalFeatures, Mapping[str, FloatArray]]:
        time.sleep(_SECONDS)
        if moment == "decode":
            die_once(token)
        return plain.describe(pixels)

    return replace(plain, describe=describe)


def slow_triplets(given: SourceInput) -> TripletSource:
    """The published sampler at some thirty steps a second. Moments: step, checkpoint."""
    from ames_ray.training.sampler import neighbors

    return SlowTriplets(neighbors(given))


@dataclass
class SlowTriplets:
    """A `TripletSource` around another one."""

    plain: TripletSource

    @property
    def steps_per_epoch(self) -> int:
        """Those of the other one."""
        return self.plain.steps_per_epoch

    def plan(self, epoch: int, step: int) -> StepPlan:
        """That of the other one, after a while."""
        time.sleep(_SECONDS)
        moment, token = _fault()
        if epoch * self.steps_per_epoch + step == _LATE:
            if moment == "step":
                die_once(token)
            if moment == "checkpoint":
                # Written to its temporary file, not yet named.
                _die_before(Path, "replace", token, lambda path, *_: path.name.startswith("step-"))
        return self.plain.plan(epoch, step)


def die_once(token: Path) -> None:
    """End this process as `kill -9` does, unless another one did so already."""
    try:
        token.unlink()
    except FileNotFoundError:
        return
    os._exit(9)


def _fault() -> tuple[str, Path]:
    moment, _, token = os.environ.get(VARIABLE, "").partition(":")
    return moment, Path(token)


def _die_before(owner: Any, name: str, token: Path, when: Callable[..., bool] = lambda *_: True) -> None:
    """Put the death in front of one of the library's own steps."""
    step = getattr(owner, name)

    def dying(*args: Any) -> Any:
        if when(*args):
            die_once(token)
        return step(*args)

    setattr(owner, name, dying)

"""Settings of the search for the best settings of training."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, ValidationError, model_validator

from ames_ray.config.paths import FolderPath
from ames_ray.config.sweeps import require_disk, sweep_path
from ames_ray.config.train import RECIPE, TrainConfig, TrainSettings
from ames_ray.errors import ConfigError
from ames_ray.tuning.training_sweep import TrainingSweep, parse_training_sweep

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ames_ray.tuning.space import Parameter, Point, Value


class TuneTrainingConfig(TrainSettings):
    """From a training job to the settings that train it best."""

    verb: ClassVar[str] = "tune"
    groups: ClassVar[str] = "train"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray tune sweep=training store=stores/train nn_file=nn_train.parquet val_query=stores/val_query "
        "val_gallery=stores/val_gallery val_ground_truth=gnd_val.json epochs=5 output=tuning/",
        "ames-ray tune sweep=training recipe=small source=views store=stores/train nn_file=nn_train.parquet "
        "val_query=stores/val_query val_gallery=stores/val_gallery val_ground_truth=gnd_val.json trials=40 "
        "workers=2 output=tuning/",
        "ames-ray tune sweep=training store=s3://bucket/train nn_file=s3://bucket/nn_train.parquet "
        "val_query=s3://bucket/val_query val_gallery=s3://bucket/val_gallery "
        "val_ground_truth=s3://bucket/gnd_val.json workers=8 gpus_per_worker=1 address=auto "
        "output=/mnt/shared/tuning",
    )

    sweep: str = Field(
        "training", description="training, or a YAML file of one's own with `search: training`"
    )
    trials: int | None = Field(None, gt=0, description="runs in all; null: as the sweep says")
    grace_period: int = Field(
        1, gt=0, description="epochs that every run gets; from then on ASHA stops the bad ones"
    )
    reduction_factor: int = Field(
        3, gt=1, description="one in so many runs goes on at each of ASHA's rungs; runs to come count too"
    )
    keep_best: int | None = Field(
        5, gt=0, description="runs whose networks are kept, last and best of each; null: all"
    )
    output: FolderPath = Field(
        description="local or shared folder for runs, study and results; goes on with them"
    )
    workers: int = Field(1, gt=0, description="runs at once, each in a process of its own")

    @model_validator(mode="after")
    def _can_start(self) -> Self:
        if self.val_query is None:
            raise ConfigError(
                "a search for settings of training needs val_query=, val_gallery= and val_ground_truth=",
                "each run is judged by its validation after every epoch",
            )
        require_disk(self.output)
        sweep = self.read_sweep()
        for parameter in sweep.space.parameters:
            for value in _ends(parameter):
                self._try({parameter.name: value}, f"sweep={self.sweep}: {parameter.name}={value}")
        return self

    def read_sweep(self) -> TrainingSweep:
        """The sweep; the point of the job's own settings comes first, if it is in the space.

        Raises:
            ConfigError: There is no such sweep, or its file is not as it must be; the message names the key.
        """
        path = sweep_path(self.sweep)
        sweep = parse_training_sweep(path.stem, path.read_bytes(), path.name)
        if "beta" in sweep.space and self.teacher is None:
            sweep = sweep.without("beta")
        if "max_desc" not in sweep.space:
            sweep = sweep.with_highest("min_desc", self.max_desc - 1)
        own = self.own_point(sweep)
        return sweep if own is None else replace(sweep, points=(own, *sweep.points))

    def own_point(self, sweep: TrainingSweep) -> Point | None:
        """The values that the job itself has for what is searched, or none where the space lacks one."""
        parameters = sweep.space.parameters
        own: Point = {}
        for parameter in parameters:
            value = getattr(self, parameter.name)
            if value is None or not (parameter.holds(value) or value == parameter.otherwise):
                return None
            own[parameter.name] = value
        return own

    def job(self, point: Mapping[str, Value], output: str) -> TrainConfig:
        """The training job of a point.

        Raises:
            ConfigError: Its values do not go together.
        """
        shared = set(TrainConfig.model_fields) & set(type(self).model_fields)
        values = self.model_dump(include=shared)
        values |= {"output": output, "address": None, "workers": 1, **point}
        try:
            return TrainConfig.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"{name}={first['input']!r}: {first['msg']}") from None

    def recipe_of(self, point: Mapping[str, Value]) -> dict[str, Value | bool | None]:
        """All settings of a point that a recipe holds."""
        job = self.job(point, self.output)
        return {name: getattr(job, name) for name in RECIPE}

    def _try(self, point: Mapping[str, Value], where: str) -> None:
        try:
            self.job(point, self.output)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error.message}", error.hint) from None


def _ends(parameter: Parameter) -> list[Value]:
    ends = list(parameter.values) or [parameter.low, parameter.high]
    if parameter.kind == "int":
        ends = [int(value) for value in ends]
    return ends if parameter.otherwise is None else [*ends, parameter.otherwise]

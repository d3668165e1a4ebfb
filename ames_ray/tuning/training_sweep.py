"""A sweep of training as a YAML file: `search: training`, and a space of what `ames-ray train` takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ames_ray.errors import ConfigError
from ames_ray.tuning.space import capped
from ames_ray.tuning.space_file import Option, check_known, parse_search, read_yaml

if TYPE_CHECKING:
    from ames_ray.tuning.space import Point, Space

TRAINING = "training"
OPTIONS = {
    **dict.fromkeys(("lr", "weight_decay", "beta", "clip_norm"), Option("float")),
    **dict.fromkeys(
        ("batch_size", "num_neighbors", "negatives", "min_desc", "max_desc"), Option("int", low=1)
    ),
    **dict.fromkeys(("dim", "heads", "blocks", "feedforward"), Option("int", low=1)),
    **dict.fromkeys(("source", "initialisation"), Option(text=True)),
}
"""Settings of `ames-ray train` that may be searched: all that decide the weights, epochs and files aside."""
_KEYS = ("search", "figure", "trials", "space", "points")


@dataclass(frozen=True, slots=True)
class TrainingSweep:
    """A sweep of which every trial trains a network.

    Attributes:
        name: Stem of its file's name.
        space: What may be chosen.
        figure: The figure of validation to raise where the command names none, or none.
        trials: Runs in all.
        points: Tried first.
    """

    name: str
    space: Space
    figure: str | None = None
    trials: int = 20
    points: tuple[Point, ...] = ()

    def without(self, name: str) -> TrainingSweep:
        """The sweep with a parameter left out.

        Raises:
            ConfigError: Nothing is left to search, or another parameter depends on it.
        """
        kept = tuple(p for p in self.space.parameters if p.name != name)
        if not kept or any(name in dict(p.when) for p in kept):
            raise ConfigError(f"sweep={self.name}: {name} decides nothing in this job", "leave it out")
        points = tuple({key: v for key, v in point.items() if key != name} for point in self.points)
        return replace(self, space=replace(self.space, parameters=kept), points=points)

    def with_highest(self, name: str, highest: int) -> TrainingSweep:
        """The sweep with a whole-number parameter up to `highest`; points beyond it are tried there.

        Raises:
            ConfigError: The sweep has no value so small.
        """
        if name not in self.space:
            return self
        space, points = capped(self.space, self.points, name, highest)
        return replace(self, space=space, points=points)


def is_training(text: str | bytes, where: str) -> bool:
    """Whether a YAML text describes such a sweep.

    Raises:
        ConfigError: It is no YAML, or no mapping.
    """
    return read_yaml(text, where).get("search") == TRAINING


def parse_training_sweep(name: str, text: str | bytes, where: str) -> TrainingSweep:
    """The sweep that a YAML text describes.

    Args:
        name: Its name.
        text: Content of the file.
        where: The file, for messages.

    Raises:
        ConfigError: It is no YAML, a key is unknown or missing, or a value is not allowed; the message names
            the key.
    """
    values = read_yaml(text, where)
    check_known(values, _KEYS, where)
    if values.get("search") != TRAINING:
        raise ConfigError(f"{where}: search={values.get('search')}: a sweep of training has `{TRAINING}`")
    found = parse_search(values, OPTIONS, where, trials=20)
    if not found.space.parameters:
        raise ConfigError(f"{where}: space is empty", f"it may name {', '.join(OPTIONS)}")
    return TrainingSweep(name, found.space, found.figure, found.trials, found.points)

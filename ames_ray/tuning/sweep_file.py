"""A sweep of λ, γ, K and budgets as a YAML file: what to search, how, and for which figure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ames_ray.errors import ConfigError
from ames_ray.tuning.space import capped
from ames_ray.tuning.space_file import Option, check_known, parse_search, read_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ames_ray.tuning.space import Point, Space

_SCORED = "scores are made for each value, so they must be listed"
OPTIONS = {
    "lamb": Option("float", high=1),
    "temp": Option("float"),
    "num_rerank": Option("int"),
    "model": Option(text=True, why=_SCORED),
    "query_desc_num": Option(low=1, why=_SCORED),
    "db_desc_num": Option(low=1, why=_SCORED),
}
NEEDED = ("lamb", "temp", "num_rerank")
COSTS = ("bytes_an_image", "seconds_a_query")
SEARCHES = ("optuna", "exact")
_KEYS = ("search", "figure", "minimise", "trials", "space", "points")


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep.

    Attributes:
        name: Stem of its file's name.
        search: "optuna": points one after another; "exact": a whole grid, then the optimum near its best.
        space: What may be chosen.
        figure: The figure to raise, or none for the protocol's own.
        minimise: Costs to lower as well, out of `COSTS`; the answer is then a front.
        trials: Points to try in all, the known ones included.
        points: Tried first.
    """

    name: str
    search: Literal["optuna", "exact"]
    space: Space
    figure: str | None = None
    minimise: tuple[str, ...] = ()
    trials: int = 200
    points: tuple[Point, ...] = ()

    @property
    def largest(self) -> int:
        """The largest K that it may choose."""
        parameter = self.space["num_rerank"]
        values = [parameter.high, parameter.otherwise or 0, *parameter.values]
        return int(max(float(value) for value in values))

    def with_largest(self, num_rerank: int) -> Sweep:
        """The sweep with K up to `num_rerank`; points beyond it are tried there.

        Raises:
            ConfigError: The sweep has no K so small.
        """
        space, points = capped(self.space, self.points, "num_rerank", num_rerank)
        return replace(self, space=space, points=points)


def parse_sweep(name: str, text: str | bytes, where: str) -> Sweep:
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
    search = values.get("search", "optuna")
    if search not in SEARCHES:
        raise ConfigError(f"{where}: search={search}: allowed are {', '.join((*SEARCHES, 'training'))}")
    found = parse_search(values, OPTIONS, where, trials=200)
    for needed in NEEDED:
        if needed not in found.space:
            raise ConfigError(
                f"{where}: space lacks {needed}", f"write `{needed}: 0.5`, say, to keep it at one value"
            )
    costs = _costs(values, where)
    sweep = Sweep(name, search, found.space, found.figure, costs, found.trials, found.points)
    if sweep.search == "exact":
        _check_exact(sweep, values, where)
    return sweep


def _costs(values: Mapping[str, Any], where: str) -> tuple[str, ...]:
    listed = values.get("minimise") or []
    listed = listed if isinstance(listed, list) else [listed]
    for cost in listed:
        if cost not in COSTS:
            raise ConfigError(f"{where}: minimise={cost}: allowed are {', '.join(COSTS)}")
    if len(set(listed)) < len(listed):
        raise ConfigError(f"{where}: minimise={listed}: name each cost once")
    return tuple(listed)


def _check_exact(sweep: Sweep, values: Mapping[str, Any], where: str) -> None:
    for parameter in sweep.space.parameters:
        if parameter.when:
            raise ConfigError(f"{where}: space.{parameter.name}.when: a grid has no conditions")
    for key in ("minimise", "trials", "points"):
        if values.get(key):
            raise ConfigError(f"{where}: {key}: of use with search: optuna alone")

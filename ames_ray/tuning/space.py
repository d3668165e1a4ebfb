"""What a search may choose: ranges of numbers, by ratios or not, and lists, some under conditions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ames_ray.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import optuna

Value = float | int | str
Point = dict[str, Value]
"""A value for every parameter."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter.

    Attributes:
        name: The option's name.
        kind: A range of numbers or of whole numbers, both ends included, or a list.
        low: Lowest value of a range.
        high: Highest value.
        log: Whether the range is searched by ratios.
        values: The list; one value for a constant.
        when: Names of earlier parameters with the values of each for which this one is searched; empty:
            always.
        otherwise: The value where it is not searched.
    """

    name: str
    kind: Literal["float", "int", "choice"]
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    values: tuple[Value, ...] = ()
    when: tuple[tuple[str, tuple[Value, ...]], ...] = ()
    otherwise: Value | None = None

    def active(self, point: Mapping[str, Value]) -> bool:
        """Whether it is searched, given the values of the parameters before it."""
        return all(point[name] in values for name, values in self.when)

    def holds(self, value: Value) -> bool:
        """Whether a search may choose the value."""
        if self.kind == "choice":
            return value in self.values
        if isinstance(value, str) or not self.low <= value <= self.high:
            return False
        return self.kind == "float" or value == int(value)

    def suggest(self, trial: optuna.Trial) -> Value:
        """Ask a trial for a value."""
        if self.kind == "choice":
            if len(self.values) == 1:
                return self.values[0]
            chosen: Value = trial.suggest_categorical(self.name, self.values)
            return chosen
        if self.low == self.high:
            return int(self.low) if self.kind == "int" else self.low
        if self.kind == "int":
            return int(trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log))
        return float(trial.suggest_float(self.name, self.low, self.high, log=self.log))

    def spread(self, count: int) -> tuple[Value, ...]:
        """Up to `count` values over its range, both ends included; all values of a list."""
        if self.kind == "choice":
            return self.values
        if self.log:
            values = np.geomspace(self.low, self.high, count)
        else:
            values = np.linspace(self.low, self.high, count)
        if self.kind == "int":
            return tuple(sorted({round(value) for value in values.tolist()}))
        # The ends as they were given: a power may miss them by a rounding.
        return (self.low, *sorted(set(values.tolist()[1:-1]) - {self.low, self.high}), self.high)

    def plain(self) -> dict[str, Any]:
        """As JSON holds it, only what differs from the defaults."""
        if self.kind == "choice":
            shown: dict[str, Any] = {"choice": list(self.values)}
        else:
            shown = {self.kind: [self.low, self.high]}
            if self.log:
                shown["log"] = True
        if self.when:
            shown["when"] = {name: list(values) for name, values in self.when}
            shown["else"] = self.otherwise
        return shown


@dataclass(frozen=True, slots=True)
class Space:
    """All parameters, each after those that its condition names."""

    parameters: tuple[Parameter, ...]

    def __getitem__(self, name: str) -> Parameter:
        return next(parameter for parameter in self.parameters if parameter.name == name)

    def __contains__(self, name: object) -> bool:
        return any(parameter.name == name for parameter in self.parameters)

    def suggest(self, trial: optuna.Trial) -> Point:
        """Ask a trial for a point."""
        point: Point = {}
        for parameter in self.parameters:
            if parameter.active(point):
                point[parameter.name] = parameter.suggest(trial)
            elif parameter.otherwise is not None:
                point[parameter.name] = parameter.otherwise
        return point

    def complete(self, point: Mapping[str, Value]) -> Point:
        """A point with the values that need not be named: constants, and what is not searched."""
        full: Point = {}
        for parameter in self.parameters:
            if parameter.name in point:
                full[parameter.name] = point[parameter.name]
            elif parameter.otherwise is not None and not parameter.active(full):
                full[parameter.name] = parameter.otherwise
            else:
                full[parameter.name] = parameter.values[0]
        return full

    def check(self, point: Mapping[str, Value], where: str) -> Point:
        """Refuse a point that the search could not choose; returns it with what it may leave out.

        Raises:
            ConfigError: A parameter is missing, unknown, or has a value that it cannot have there.
        """
        names = [parameter.name for parameter in self.parameters]
        for name in point:
            if name not in names:
                raise ConfigError(f"{where}.{name}: the space has no such parameter", f"known: {names}")
        full: Point = {}
        for parameter in self.parameters:
            full[parameter.name] = _checked(parameter, point, full, where)
        return full

    def with_highest(self, name: str, highest: int) -> Space:
        """The space with a whole-number parameter cut off above `highest`.

        Raises:
            ConfigError: Nothing is left of it.
        """
        parameter = self[name]
        otherwise = parameter.otherwise
        if otherwise is not None:
            otherwise = min(int(otherwise), highest)
        if parameter.kind == "choice":
            kept = tuple(value for value in parameter.values if float(value) <= highest)
            smaller = replace(parameter, values=kept, otherwise=otherwise)
            empty = not kept
        else:
            smaller = replace(parameter, high=min(parameter.high, highest), otherwise=otherwise)
            empty = smaller.high < smaller.low
        if empty:
            raise ConfigError(
                f"{name}={highest}: the sweep has no value up to that, only {parameter.plain()}"
            )
        return replace(self, parameters=tuple(smaller if p is parameter else p for p in self.parameters))

    def with_constant(self, name: str, values: Sequence[Value]) -> Space:
        """The space with a list in front for a parameter that it does not name."""
        if name in self:
            return self
        return replace(self, parameters=(Parameter(name, "choice", values=tuple(values)), *self.parameters))

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {parameter.name: parameter.plain() for parameter in self.parameters}


def capped(space: Space, points: Sequence[Point], name: str, highest: int) -> tuple[Space, tuple[Point, ...]]:
    """A space with a whole-number parameter cut off above `highest`; points beyond it move to where it ends.

    Args:
        space: What may be chosen.
        points: Points of it, each with all values.
        name: The parameter.
        highest: Its new end.

    Raises:
        ConfigError: Nothing is left of the parameter.
    """
    smaller = space.with_highest(name, highest)
    cut = smaller[name]
    top = int(max(float(value) for value in cut.values or (cut.high,)))
    moved = []
    for point in points:
        value: Value = min(int(point[name]), top)
        if cut.otherwise is not None and not cut.active(point):
            value = cut.otherwise
        moved.append({**point, name: value})
    return smaller, tuple(moved)


def _checked(parameter: Parameter, point: Mapping[str, Value], before: Point, where: str) -> Value:
    """The value of a point's parameter, given those before it."""
    name, found = parameter.name, point.get(parameter.name)
    if parameter.otherwise is not None and not parameter.active(before):
        if found not in (None, parameter.otherwise):
            raise ConfigError(f"{where}.{name}={found}: it is {parameter.otherwise} there, see its `when`")
        return parameter.otherwise
    if found is None:
        if len(parameter.values) == 1:
            return parameter.values[0]
        raise ConfigError(f"{where} lacks {name}", "a point names every parameter of the space")
    if not parameter.holds(found):
        raise ConfigError(f"{where}.{name}={found}: not in {parameter.plain()}")
    return found

"""A sweep as a YAML file: what to search, how, and for which figure; checked before anything starts."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ames_ray.errors import ConfigError
from ames_ray.tuning.space import Parameter, Point, Space, Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NEEDED = ("lamb", "temp", "num_rerank")
BUDGET = ("model", "query_desc_num", "db_desc_num")
COSTS = ("bytes_an_image", "seconds_a_query")
SEARCHES = ("optuna", "exact")
KINDS: tuple[Literal["float", "int", "choice"], ...] = ("float", "int", "choice")
_KEYS = ("search", "figure", "minimise", "trials", "space", "points")
_PARAMETER_KEYS = ("float", "int", "choice", "log", "when", "else")
_KINDS = {"lamb": ("float",), "temp": ("float",), "num_rerank": ("int",)}
_LOWEST = {"lamb": 0, "temp": 0, "num_rerank": 0, "query_desc_num": 1, "db_desc_num": 1}


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
        space = self.space.with_highest("num_rerank", num_rerank)
        top = Sweep(self.name, self.search, space).largest
        points = tuple({**point, "num_rerank": min(int(point["num_rerank"]), top)} for point in self.points)
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
    values = _mapping(_yaml(text, where), where)
    _known(values, _KEYS, where)
    search = values.get("search", "optuna")
    if search not in SEARCHES:
        raise ConfigError(f"{where}: search={search}: allowed are {', '.join(SEARCHES)}")
    space = parse_space(_mapping(values.get("space", {}), f"{where}: space"), f"{where}: space")
    trials = values.get("trials", 200)
    if not isinstance(trials, int) or isinstance(trials, bool) or trials < 1:
        raise ConfigError(f"{where}: trials={trials!r}: allowed are whole numbers from 1")
    figure = values.get("figure")
    if figure is not None and not isinstance(figure, str):
        raise ConfigError(f"{where}: figure={figure!r}: allowed is a name such as medium_mAP")
    sweep = Sweep(
        name, search, space, figure, _costs(values, where), trials, _points(values, space, f"{where}: points")
    )
    if sweep.search == "exact":
        _check_exact(sweep, where)
    return sweep


def parse_space(values: Mapping[str, Any], where: str) -> Space:
    """The parameters that a mapping describes.

    Raises:
        ConfigError: See `parse_sweep`.
    """
    _known(values, (*NEEDED, *BUDGET), where)
    for name in NEEDED:
        if name not in values:
            raise ConfigError(f"{where} lacks {name}", f"write `{name}: 0.5`, say, to keep it at one value")
    found: list[Parameter] = []
    for name, value in values.items():
        found.append(_parameter(name, value, tuple(found), f"{where}.{name}"))
    return Space(tuple(found))


def _parameter(name: str, value: Any, before: tuple[Parameter, ...], where: str) -> Parameter:
    if isinstance(value, float | int | str) and not isinstance(value, bool):
        return _checked(Parameter(name, "choice", values=(value,)), where)
    values = _mapping(value, where)
    _known(values, _PARAMETER_KEYS, where)
    kinds = [kind for kind in KINDS if kind in values]
    if len(kinds) != 1:
        raise ConfigError(f"{where}: one of float, int and choice is needed, found {kinds or 'none'}")
    kind = kinds[0]
    if kind != "choice" and kind not in _KINDS.get(name, ()):
        allowed = (*_KINDS.get(name, ()), "choice")
        hint = "scores are made for each value, so they must be listed" if name in BUDGET else None
        raise ConfigError(f"{where}.{kind}: allowed for {name} is {' or '.join(allowed)}", hint)
    when = _condition(values, before, where)
    log = values.get("log", False)
    if not isinstance(log, bool) or (log and kind == "choice"):
        raise ConfigError(f"{where}.log={log!r}: allowed is true or false, beside float or int")
    if kind == "choice":
        choice = _list(values[kind], f"{where}.choice")
        return _checked(
            Parameter(name, kind, values=tuple(choice), when=when, otherwise=values.get("else")), where
        )
    low, high = _range(values[kind], kind, log, f"{where}.{kind}")
    return _checked(Parameter(name, kind, low, high, log, when=when, otherwise=values.get("else")), where)


def _checked(parameter: Parameter, where: str) -> Parameter:
    """Refuse values that the option itself does not take."""
    name = parameter.name
    ends: list[Value] = list(parameter.values) or [parameter.low, parameter.high]
    if parameter.otherwise is not None:
        ends.append(parameter.otherwise)
    for value in ends:
        if (name == "model") != isinstance(value, str):
            raise ConfigError(f"{where}={value!r}: {name} is a {'name' if name == 'model' else 'number'}")
        if isinstance(value, str):
            continue
        whole = name not in ("lamb", "temp")
        top = 1 if name == "lamb" else float("inf")
        if not _LOWEST[name] <= value <= top or value == float("inf") or (whole and value != int(value)):
            raise ConfigError(
                f"{where}: {value} is out of range; allowed are {'whole ' if whole else ''}numbers from "
                f"{_LOWEST[name]}" + (" to 1" if name == "lamb" else "")
            )
    return parameter


def _condition(
    values: Mapping[str, Any], before: tuple[Parameter, ...], where: str
) -> tuple[tuple[str, tuple[Value, ...]], ...]:
    if ("when" in values) != ("else" in values):
        raise ConfigError(
            f"{where}: `when` and `else` belong together", "else: the value where the condition does not hold"
        )
    if "when" not in values:
        return ()
    found = []
    known = {parameter.name: parameter for parameter in before}
    for name, wanted in _mapping(values["when"], f"{where}.when").items():
        if name not in known:
            raise ConfigError(f"{where}.when.{name}: no parameter of this name stands above it")
        listed = _list(wanted if isinstance(wanted, list) else [wanted], f"{where}.when.{name}")
        if known[name].kind != "choice":
            raise ConfigError(f"{where}.when.{name}: a condition needs a parameter with `choice`")
        for value in listed:
            if value not in known[name].values:
                raise ConfigError(f"{where}.when.{name}={value}: not in {list(known[name].values)}")
        found.append((name, tuple(listed)))
    return tuple(found)


def _range(value: Any, kind: str, log: bool, where: str) -> tuple[float, float]:
    numbers = _list(value, where)
    if len(numbers) != 2 or any(isinstance(number, str) for number in numbers):
        raise ConfigError(f"{where}={value}: allowed are two numbers, [low, high]")
    low, high = (float(number) for number in numbers)
    if not low < high < float("inf"):
        raise ConfigError(f"{where}={value}: the first number must be below the second one, both finite")
    if log and low <= 0:
        raise ConfigError(f"{where}={value}: with log: true the first number must be above 0")
    if kind == "int" and (low != int(low) or high != int(high)):
        raise ConfigError(f"{where}={value}: allowed are whole numbers")
    return low, high


def _points(values: Mapping[str, Any], space: Space, where: str) -> tuple[Point, ...]:
    listed = values.get("points") or []
    if not isinstance(listed, list):
        raise ConfigError(f"{where}={listed!r}: allowed is a list of points")
    points = []
    for number, value in enumerate(listed):
        point = _mapping(value, f"{where}[{number}]")
        space.check(point, f"{where}[{number}]")
        points.append(dict(point))
    return tuple(points)


def _costs(values: Mapping[str, Any], where: str) -> tuple[str, ...]:
    listed = values.get("minimise") or []
    listed = listed if isinstance(listed, list) else [listed]
    for cost in listed:
        if cost not in COSTS:
            raise ConfigError(f"{where}: minimise={cost}: allowed are {', '.join(COSTS)}")
    if len(set(listed)) < len(listed):
        raise ConfigError(f"{where}: minimise={listed}: name each cost once")
    return tuple(listed)


def _check_exact(sweep: Sweep, where: str) -> None:
    for parameter in sweep.space.parameters:
        if parameter.when:
            raise ConfigError(f"{where}: space.{parameter.name}.when: a grid has no conditions")
    for key, found in (("minimise", sweep.minimise), ("points", sweep.points)):
        if found:
            raise ConfigError(f"{where}: {key}: of use with search: optuna alone")


def _yaml(text: str | bytes, where: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is not YAML: {' '.join(str(error).split())}") from None


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{where}: allowed are lines of `name: value`, found {value!r}")
    return value


def _list(value: Any, where: str) -> list[Value]:
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{where}={value!r}: allowed is a list with one value at least")
    for item in value:
        if isinstance(item, bool) or not isinstance(item, float | int | str):
            raise ConfigError(f"{where}: {item!r} is neither a number nor a name")
    if len(set(value)) < len(value):
        raise ConfigError(f"{where}={value}: name each value once")
    return value


def _known(values: Iterable[str], known: Iterable[str], where: str) -> None:
    known = list(known)
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
            raise ConfigError(f"{where}.{key}: there is no such key", hint)

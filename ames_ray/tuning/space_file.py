"""The space of a sweep file: which values of which settings, checked with the key in every message."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ames_ray.errors import ConfigError
from ames_ray.tuning.space import Parameter, Point, Space, Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Kind = Literal["float", "int", "choice"]
KINDS: tuple[Kind, ...] = ("float", "int", "choice")
_PARAMETER_KEYS = ("float", "int", "choice", "log", "when", "else")


@dataclass(frozen=True, slots=True)
class Option:
    """A setting that a space may name.

    Attributes:
        kind: The range that it takes, besides a list, which every setting takes; none for lists alone.
        low: Lowest value.
        high: Highest value.
        text: Whether its values are names.
        why: Why it takes no range, or none.
    """

    kind: Kind | None = None
    low: float = 0.0
    high: float = float("inf")
    text: bool = False
    why: str | None = None


def parse_space(values: Mapping[str, Any], options: Mapping[str, Option], where: str) -> Space:
    """The parameters that a mapping describes.

    Args:
        values: As the YAML gives it.
        options: What it may name.
        where: The file and the key, for messages.

    Raises:
        ConfigError: A key is unknown, or a value is not allowed; the message names the key.
    """
    check_known(values, options, where)
    found: list[Parameter] = []
    for name, value in values.items():
        found.append(_parameter(name, value, options[name], tuple(found), f"{where}.{name}"))
    return Space(tuple(found))


@dataclass(frozen=True, slots=True)
class Search:
    """What every sweep file has.

    Attributes:
        space: What may be chosen.
        figure: The figure to raise, or none.
        trials: Points in all.
        points: Tried first.
    """

    space: Space
    figure: str | None
    trials: int
    points: tuple[Point, ...]


def parse_search(values: Mapping[str, Any], options: Mapping[str, Option], where: str, trials: int) -> Search:
    """What every sweep file has.

    Args:
        values: Content of the file.
        options: Settings that its space may name.
        where: The file, for messages.
        trials: Points in all where it does not say.

    Raises:
        ConfigError: A value is not allowed; the message names the key.
    """
    named = check_mapping(values.get("space", {}), f"{where}: space")
    space = parse_space(named, options, f"{where}: space")
    figure, count = values.get("figure"), values.get("trials", trials)
    if figure is not None and not isinstance(figure, str):
        raise ConfigError(f"{where}: figure={figure!r}: allowed is a name such as medium_mAP")
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ConfigError(f"{where}: trials={count!r}: allowed are whole numbers from 1")
    return Search(space, figure, count, _points(values.get("points") or [], space, f"{where}: points"))


def _points(listed: Any, space: Space, where: str) -> tuple[Point, ...]:
    if not isinstance(listed, list):
        raise ConfigError(f"{where}={listed!r}: allowed is a list of points")
    points = []
    for number, value in enumerate(listed):
        point = check_mapping(value, f"{where}[{number}]")
        for name, chosen in point.items():
            _require_scalar(chosen, f"{where}[{number}].{name}")
        points.append(space.check(point, f"{where}[{number}]"))
    return tuple(points)


def read_yaml(text: str | bytes, where: str) -> dict[str, Any]:
    """The keys of a sweep file.

    Raises:
        ConfigError: It is no YAML, or no mapping.
    """
    import yaml

    try:
        return check_mapping(yaml.safe_load(text), where)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is not YAML: {' '.join(str(error).split())}") from None


def check_mapping(value: Any, where: str) -> dict[str, Any]:
    """Refuse what is no mapping of names.

    Raises:
        ConfigError: It is something else.
    """
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{where}: allowed are lines of `name: value`, found {value!r}")
    return value


def check_known(values: Iterable[str], known: Iterable[str], where: str) -> None:
    """Refuse keys that there are not.

    Raises:
        ConfigError: The first such key, with the one that is meant perhaps.
    """
    known = list(known)
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
            raise ConfigError(f"{where}.{key}: there is no such key", hint)


def _parameter(name: str, value: Any, option: Option, before: tuple[Parameter, ...], where: str) -> Parameter:
    if isinstance(value, float | int | str) and not isinstance(value, bool):
        return _checked(Parameter(name, "choice", values=(value,)), option, where)
    values = check_mapping(value, where)
    check_known(values, _PARAMETER_KEYS, where)
    kinds = [kind for kind in KINDS if kind in values]
    if len(kinds) != 1:
        raise ConfigError(f"{where}: one of float, int and choice is needed, found {kinds or 'none'}")
    kind = kinds[0]
    if kind not in (option.kind, "choice"):
        allowed = [*([option.kind] if option.kind else []), "choice"]
        raise ConfigError(f"{where}.{kind}: allowed for {name} is {' or '.join(allowed)}", option.why)
    when = _condition(values, before, where)
    log = values.get("log", False)
    if not isinstance(log, bool) or (log and kind == "choice"):
        raise ConfigError(f"{where}.log={log!r}: allowed is true or false, beside float or int")
    if kind == "choice":
        choice = tuple(_list(values[kind], f"{where}.choice"))
        found = Parameter(name, kind, values=choice, when=when, otherwise=values.get("else"))
    else:
        low, high = _range(values[kind], kind, log, f"{where}.{kind}")
        found = Parameter(name, kind, low, high, log, when=when, otherwise=values.get("else"))
    return _checked(found, option, where)


def _checked(parameter: Parameter, option: Option, where: str) -> Parameter:
    """Refuse values that the setting itself does not take."""
    name = parameter.name
    ends: list[Value] = list(parameter.values) or [parameter.low, parameter.high]
    if parameter.otherwise is not None:
        ends.append(parameter.otherwise)
    whole = option.kind != "float"
    for value in ends:
        if option.text != isinstance(value, str):
            raise ConfigError(f"{where}={value!r}: {name} is a {'name' if option.text else 'number'}")
        if isinstance(value, str):
            continue
        if not option.low <= value <= option.high or value == float("inf") or (whole and value != int(value)):
            top = "" if option.high == float("inf") else f" to {option.high:g}"
            raise ConfigError(
                f"{where}: {value} is out of range; allowed are {'whole ' if whole else ''}numbers from "
                f"{option.low:g}{top}"
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
    _require_scalar(values["else"], f"{where}.else")
    found = []
    known = {parameter.name: parameter for parameter in before}
    for name, wanted in check_mapping(values["when"], f"{where}.when").items():
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


def _list(value: Any, where: str) -> list[Value]:
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{where}={value!r}: allowed is a list with one value at least")
    for item in value:
        _require_scalar(item, where)
    if len(set(value)) < len(value):
        raise ConfigError(f"{where}={value}: name each value once")
    return value


def _require_scalar(value: Any, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, float | int | str):
        raise ConfigError(f"{where}: {value!r} is neither a number nor a name")

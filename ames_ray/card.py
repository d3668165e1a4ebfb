"""The card beside every result: what made it, from what, with which versions; and what sets two apart."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import ames_ray
from ames_ray.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LIBRARIES = ("ray", "torch", "transformers", "numpy", "pyarrow", "h5py", "opencv-python-headless")
_ONE_SIDE = "not there"


def make_card(
    job: str, config: Mapping[str, Any], result: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The card as a JSON object.

    Args:
        job: Verb that ran.
        config: All its settings.
        result: Counts and times.
        settings: All that decides the values of the result.
    """
    return {
        "job": job,
        "ames_ray": ames_ray.__version__,
        "config": dict(config),
        "settings": dict(settings),
        "result": dict(result),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def refuse_other(stored: Mapping[str, Any], settings: Mapping[str, Any], what: str, hint: str) -> None:
    """Refuse to go on with, or to replace, what is of other settings.

    Args:
        stored: Settings of what is there.
        settings: Those of the command.
        what: The file or folder and what it holds, for the message.
        hint: What to do about it.

    Raises:
        ConfigError: They differ; the message lists how.
    """
    found = differences(*(json.loads(json.dumps(values)) for values in (stored, settings)))
    if found:
        raise ConfigError(f"{what} of other settings:\n  " + "\n  ".join(found), hint)


def differences(before: Any, after: Any, where: str = "") -> list[str]:
    """What differs between two JSON values, one line a leaf: `name: before, now after`.

    A setting that is null is the same as none.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        found = []
        for key in sorted({*before, *after}):
            inner = f"{where}.{key}" if where else str(key)
            found += differences(before.get(key, _ONE_SIDE), after.get(key, _ONE_SIDE), inner)
        return found
    is_same = before == after or all(value in (None, _ONE_SIDE) for value in (before, after))
    return [] if is_same else [f"{where}: {_short(before)}, now {_short(after)}"]


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"

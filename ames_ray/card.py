"""The card beside every result: what made it, from what, with which versions."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import ames_ray

if TYPE_CHECKING:
    from collections.abc import Mapping

_LIBRARIES = ("ray", "torch", "transformers", "numpy", "pyarrow", "h5py", "opencv-python-headless")


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


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"

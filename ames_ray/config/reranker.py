"""The two settings that name a re-ranker, its kind and what it is made of, and those that need one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ames_ray.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ames_ray.config.jobs import JobConfig


def require_model(reranker: str, model: str | None, setting: str = "model") -> None:
    """Refuse a kind of re-ranker that nothing is given for; without both, only the default kind is meant.

    Args:
        reranker: The kind.
        model: What it is made of.
        setting: Name of the setting that says so.

    Raises:
        ConfigError: It is missing.
    """
    if reranker != "ames" and model is None:
        raise ConfigError(
            f"reranker={reranker} needs {setting}=",
            f"its ratio, such as {setting}=0.6" if reranker == "mutual" else "the weights of that re-ranker",
        )


def refuse_without_model(job: JobConfig, settings: Iterable[str]) -> None:
    """Refuse settings of a model in a job without one, where they would silently do nothing.

    Args:
        job: Job with `model=` left out.
        settings: Their names.

    Raises:
        ConfigError: One has another value than its default.
    """
    for name in settings:
        value = getattr(job, name)
        if value != type(job).model_fields[name].default:
            raise ConfigError(
                f"{name}={value} is a setting of a model, and none is given",
                f"pass model= too, or leave {name}= out",
            )

"""The two settings that name a re-ranker: its kind, and what it is made of."""

from __future__ import annotations

from ames_ray.errors import ConfigError


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

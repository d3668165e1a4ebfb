"""The command that uses what a search found, from the settings that its card holds."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from ames_ray.config.train import DECIDE_NOTHING, RECIPE, TrainSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_USUAL = {
    "protocol": None,
    "nn_file": None,
    "pooled": "global",
    "index": "exact",
    "nprobe": 64,
    "reranker": "ames",
    "precision": "float32",
}
"""Settings of `evaluate` that the figures depend on, with their defaults."""


def evaluate_command(config: Mapping[str, Any], best: Mapping[str, Any]) -> str:
    """`ames-ray evaluate` with the best setting.

    Args:
        config: Settings of `ames-ray tune`.
        best: model, query_desc_num, db_desc_num, lamb, temp, num_rerank.
    """
    words = [(name, config[name]) for name in ("query", "gallery", "ground_truth")]
    words += [(name, config[name]) for name, usual in _USUAL.items() if config.get(name, usual) != usual]
    words.append(("model", "…" if config.get("scores") else best["model"]))
    budget = ("query_desc_num", "db_desc_num", "lamb", "temp", "num_rerank")
    words += [(name, best[name]) for name in budget]
    return _line("ames-ray evaluate", [*words, ("output", config["output"])])


def train_command(config: Mapping[str, Any], recipe: str) -> str:
    """`ames-ray train` with the best recipe, and what else the job named.

    Args:
        config: Settings of `ames-ray tune sweep=training`.
        recipe: File of the recipe.
    """
    told = {*RECIPE, *DECIDE_NOTHING} - {"device"}
    named = [
        (name, config[name])
        for name, field in TrainSettings.model_fields.items()
        if name in config and name not in told and config[name] != field.default
    ]
    return _line("ames-ray train", [("recipe", recipe), *named, ("output", f"{config['output']}/best")])


def _line(command: str, words: Iterable[tuple[str, Any]]) -> str:
    return " ".join([command, *(shlex.quote(f"{name}={_word(value)}") for name, value in words)])


def _word(value: Any) -> str:
    if isinstance(value, list):
        return str(value[0]) if len(value) == 1 else f"[{','.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)

"""`experiment=published_table` gives every published network its published setting."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationKeyError

from ames_ray.config.compose import compose as compose_job
from ames_ray.config.compose import config_folder
from ames_ray.config.retrieval import EvaluateConfig
from ames_ray.errors import ConfigError
from ames_ray.model.options import PUBLISHED

SETTINGS = {
    "dinov2_ames": ("dinov2", 0.5, 0.2),
    "dinov2_ames_dist": ("dinov2_dist", 0.35, 0.1),
    "cvnet_ames": ("cvnet", 0.85, 0.8),
    "cvnet_ames_dist": ("cvnet_dist", 0.65, 0.2),
}


def published_table(*words: str) -> dict[str, Any]:
    groups = ["+ensemble=default", "+experiment=published_table"]
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        found = OmegaConf.to_container(compose(None, overrides=[*groups, *words]), resolve=True)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items() if not str(key).startswith("_")}


@pytest.mark.parametrize("model", PUBLISHED)
def test_each_row_has_its_own_setting(model: str) -> None:
    ensemble, lamb, temp = SETTINGS[model]
    assert published_table(f"++model={model}") == {
        "experiment": "published_table",
        "model": model,
        "desc_name": model.partition("_")[0],
        "nn_file": "nn_superglobal.pkl",
        "query_desc_num": 600,
        "db_desc_num": 600,
        "ensemble": ensemble,
        "lamb": [lamb],
        "temp": [temp],
        "num_rerank": [1600],
    }
    preset = yaml.safe_load((config_folder() / "ensemble" / f"{ensemble}.yaml").read_text())
    assert preset == {"ensemble": ensemble, "lamb": [lamb], "temp": [temp], "num_rerank": [1600]}


@pytest.mark.parametrize("words", [[], ["model=mine"], ["model=/weights/dinov2_ames.pt"]])
def test_a_model_without_a_row_is_told_those_that_have_one(words: list[str]) -> None:
    needed = ["query=q", "gallery=g", "ground_truth=gnd.json", "output=o"]
    with pytest.raises(ConfigError) as caught:
        compose_job(EvaluateConfig, ["experiment=published_table", *needed, *words])
    said = str(caught.value.hint)
    assert "needs one of the four names as model=" in said
    assert all(model in said for model in SETTINGS)


def test_a_word_beats_the_table_and_another_model_has_no_row() -> None:
    assert published_table("++model=cvnet_ames", "++num_rerank=[400]")["num_rerank"] == [400]
    with pytest.raises(InterpolationKeyError, match="mine"):
        published_table("++model=mine")


def test_a_preset_beside_the_table_is_refused_and_a_setting_beats_it() -> None:
    needed = ["query=q", "gallery=g", "ground_truth=gnd.json", "output=o", "model=dinov2_ames"]
    table = "experiment=published_table"
    with pytest.raises(ConfigError, match="ensemble=cvnet would do nothing"):
        compose_job(EvaluateConfig, [*needed, "ensemble=cvnet", table])
    config = compose_job(EvaluateConfig, [*needed, table, "lamb=0.9"])
    assert (config.lamb, config.temp, config.ensemble) == ([0.9], [0.2], "dinov2")

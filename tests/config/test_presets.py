"""Published settings of the ensemble as presets."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ames_ray.config.compose import compose, config_folder, group_choices
from ames_ray.config.retrieval import EvaluateConfig
from ames_ray.config.search import SearchConfig
from ames_ray.config.serve import ServeConfig
from ames_ray.errors import ConfigError


def test_published_settings_are_presets() -> None:
    needed = ["query=q", "gallery=g", "ground_truth=gnd.pkl", "model=m.pt", "output=o"]
    published = {
        "dinov2": (0.5, 0.2),
        "dinov2_dist": (0.35, 0.1),
        "cvnet": (0.85, 0.8),
        "cvnet_dist": (0.65, 0.2),
    }
    assert group_choices("ensemble") == sorted([*published, "default"])
    for name, (lamb, temp) in published.items():
        config = compose(EvaluateConfig, [*needed, f"ensemble={name}"])
        assert (config.lamb, config.temp, config.num_rerank) == ([lamb], [temp], [1600])
        values = yaml.safe_load((config_folder() / "ensemble" / f"{name}.yaml").read_text())
        assert values["ensemble"] == name
    default = compose(EvaluateConfig, needed)
    assert (default.lamb, default.temp, default.num_rerank) == ([0.5], [0.5], [100, 400])
    mixed = compose(EvaluateConfig, [*needed, "ensemble=cvnet", "lamb=[0.1,0.2]", "num_rerank=50"])
    assert (mixed.lamb, mixed.temp, mixed.num_rerank) == ([0.1, 0.2], [0.8], [50])
    assert mixed.gallery == [str(Path("g").absolute())]
    with pytest.raises(ConfigError, match="ensemble=dino: there is no such ensemble"):
        compose(EvaluateConfig, [*needed, "ensemble=dino"])
    with pytest.raises(ConfigError, match="'model_path' is called 'model' here"):
        compose(EvaluateConfig, [*needed, "model_path=x.pt"])
    with pytest.raises(ConfigError, match="temp"):
        compose(EvaluateConfig, [*needed, "temp=[]"])


@pytest.mark.parametrize("setting", ["lamb=0.2", "temp=0.1", "precision=bfloat16"])
def test_a_search_without_a_model_refuses_its_settings(setting: str) -> None:
    for job, words in ((SearchConfig, ["me.jpg", "store=s", "output=o"]), (ServeConfig, ["store=s"])):
        with pytest.raises(ConfigError, match=f"{setting} is a setting of a model, and none is given"):
            compose(job, [*words, setting])
        assert compose(job, [*words, setting, "model=m.pt"]).model == "m.pt"

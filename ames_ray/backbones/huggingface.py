"""Any Hugging Face vision transformer with patch tokens: `hf:<id or folder>`.

What differs from one to the next is read from the files beside the weights: the patch and register tokens
from `config.json`, mean and standard deviation from `preprocessor_config.json`.
"""

from __future__ import annotations

import inspect
import json
from functools import partial
from typing import TYPE_CHECKING, Any

from ames_ray.backbones.base import (
    BackboneInfo,
    LoadedNetwork,
    NetworkBackbone,
    Preprocessing,
)
from ames_ray.backbones.hub import load_pretrained, locate
from ames_ray.errors import ConfigError, WeightsError, first_line
from ames_ray.images.transform import MEAN_RGB, STD_RGB

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# Whether the first token is a class token, by model type.
_CLASS_TOKEN = {
    "clip_vision_model": True,
    "dinov2": True,
    "dinov2_with_registers": True,
    "dinov3_vit": True,
    "siglip_vision_model": False,
    "vit": True,
    "vit_msn": True,
}
_CONFIG_FILES = ("config.json", "preprocessor_config.json")


def vision_transformer(model: str | None = None) -> NetworkBackbone:
    """The vision transformer of a Hugging Face id or of a folder that `save_pretrained` wrote.

    Args:
        model: The id or the folder.

    Raises:
        ConfigError: No model is named, or it is of a type without plain patch tokens.
        WeightsError: Its `config.json` cannot be had.
    """
    if not model:
        raise ConfigError("backbone=hf: which model?", "write backbone=hf:<Hugging Face id or folder>")
    config, preprocessor = _configs(model)
    prefix = int(_CLASS_TOKEN[config.model_type]) + getattr(config, "num_register_tokens", 0)
    pooled = {"global": config.hidden_size}
    if _CLASS_TOKEN[config.model_type]:
        pooled["cls"] = config.hidden_size
    info = BackboneInfo(f"hf:{config.model_type}", config.hidden_size, pooled, "fraction", "optional")
    return NetworkBackbone(
        info,
        patch_preprocessing(
            _side(config.patch_size, model),
            mean=_three(preprocessor.get("image_mean"), MEAN_RGB),
            std=_three(preprocessor.get("image_std"), STD_RGB),
        ),
        partial(_load, model, config, prefix, has_class="cls" in pooled),
    )


def patch_preprocessing(
    patch: int,
    mean: tuple[float, float, float] = MEAN_RGB,
    std: tuple[float, float, float] = STD_RGB,
) -> Preprocessing:
    """RGB at one scale, cut into square patches."""
    return Preprocessing("rgb", mean, std, (1.0,), patch, patch, patch / 2)


def _configs(model: str) -> tuple[PretrainedConfig, dict[str, Any]]:
    """The vision tower's configuration, and what is known of the preprocessing."""
    from transformers import AutoConfig

    folder = locate(model, _CONFIG_FILES, "config.json")
    try:
        # By default transformers asks whether to run code that the model brings, and takes stdin's "y".
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{folder / 'config.json'} cannot be used: {first_line(error)}",
            f"known are {', '.join(_CLASS_TOKEN)}; code that comes with a model never runs: for another type "
            "write backbone=module:function",
        ) from None
    config = getattr(config, "vision_config", config)
    if config.model_type not in _CLASS_TOKEN:
        raise ConfigError(
            f"{model} is a '{config.model_type}', which has no plain patch tokens that are known here",
            f"known: {', '.join(_CLASS_TOKEN)}",
        )
    preprocessor = folder / "preprocessor_config.json"
    return config, json.loads(preprocessor.read_bytes()) if preprocessor.is_file() else {}


def _load(model: str, config: PretrainedConfig, prefix: int, *, has_class: bool) -> LoadedNetwork:
    from ames_ray.backbones.patch_tokens import PatchTokens

    loaded, sha256 = load_pretrained(model, config)
    network = PatchTokens(
        loaded,
        patch=config.patch_size,
        prefix=prefix,
        has_class=has_class,
        interpolate="interpolate_pos_encoding" in inspect.signature(loaded.forward).parameters,
    )
    return LoadedNetwork(network, sha256)


def _side(patch: Any, model: str) -> int:
    if isinstance(patch, int):
        return patch
    raise ConfigError(f"{model}: patch_size is {patch!r}, only square patches are known here")


def _three(found: Any, otherwise: tuple[float, float, float]) -> tuple[float, float, float]:
    if found is None:
        return otherwise
    red, green, blue = (float(value) for value in found)
    return red, green, blue

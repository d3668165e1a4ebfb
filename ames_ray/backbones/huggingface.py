"""Any Hugging Face vision transformer with patch tokens: `hf:<id or folder>`.

What differs from one to the next is read from the files beside the weights: the patch and register tokens
from `config.json`, mean and standard deviation from `preprocessor_config.json`.
"""

from __future__ import annotations

import inspect
import json
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ames_ray.backbones.base import (
    BackboneInfo,
    LoadedNetwork,
    NetworkBackbone,
    Preprocessing,
)
from ames_ray.errors import ConfigError, WeightsError
from ames_ray.images.transform import MEAN_RGB, STD_RGB

if TYPE_CHECKING:
    from collections.abc import Iterator

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
# Some files lack this layer, which is added for training and not for features.
_UNUSED = "pooler."
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


def locate(model: str, patterns: tuple[str, ...], what: str) -> Path:
    """The folder that holds files of a model, fetched once into the Hugging Face cache if it is an id.

    Args:
        model: Folder or id.
        patterns: File names to fetch, `*` allowed.
        what: Name of the file that is wanted most, for the message.

    Raises:
        WeightsError: They cannot be had; names the file, and where to put it.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    hint = (
        f"on a machine with network run `hf download {model}`, copy that folder here, "
        f"and give the folder instead of the id; it must hold {what}"
    )
    try:
        return Path(snapshot_download(model, allow_patterns=list(patterns)))
    except HFValidationError:
        raise WeightsError(f"{model} is neither a folder nor a Hugging Face id", "check the path") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = type(error).__name__
        raise WeightsError(
            f"{what} of {model} is neither in the cache nor reachable ({reason})", hint
        ) from None


def load_pretrained(model: str, config: PretrainedConfig) -> tuple[Any, str]:
    """The `transformers` model of `config` with the weights of a folder or id, every one of them matched.

    Returns:
        The model in float32 and evaluation mode, and the SHA-256 of its weights.

    Raises:
        WeightsError: There is no weights file, or it lacks a weight or holds one of another shape.
    """
    from transformers import AutoModel

    from ames_ray.backbones.weights import require_matched, sha256_files, warn_unexpected

    folder = locate(model, ("model*.safetensors", "*.json"), "model.safetensors")
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise WeightsError(
            f"{folder} holds no model.safetensors",
            "fetch it with `hf download` where there is a network, or let save_pretrained of transformers write it",
        )
    with _quiet():
        loaded, report = AutoModel.from_pretrained(
            folder,
            config=config,
            dtype="float32",
            use_safetensors=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    missing = [name for name in sorted(report["missing_keys"]) if not name.startswith(_UNUSED)]
    require_matched(loaded, missing, sorted(report["mismatched_keys"]), model)
    warn_unexpected(sorted(report["unexpected_keys"]), model)
    return loaded.eval(), sha256_files(files)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the progress bars and reports of `transformers` back; what matters in them is said by us."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _configs(model: str) -> tuple[PretrainedConfig, dict[str, Any]]:
    """The vision tower's configuration, and what is known of the preprocessing."""
    from transformers import AutoConfig

    folder = locate(model, _CONFIG_FILES, "config.json")
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise WeightsError(f"{folder / 'config.json'} cannot be used: {first}") from None
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

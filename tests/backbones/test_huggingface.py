"""Small randomly initialised models of every supported type, saved to a folder and read back."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from ames_ray.backbones.base import NetworkBackbone
from ames_ray.backbones.registry import find_backbone
from ames_ray.descriptors.extractor import ExtractorOptions, build_extractor, static_spec
from ames_ray.errors import ConfigError, WeightsError
from ames_ray.files import sha256_file
from ames_ray.types import ImageRecord

PATCH, WIDTH = 8, 32
TOWER: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 40,
    "patch_size": PATCH,
}
TEXT = {**TOWER, "vocab_size": 20, "max_position_embeddings": 8}
# Type of the folder's config → (model, tokens in front of the patches, whether there is a class token).
MODELS: dict[str, tuple[Any, int, bool]] = {
    "dinov2": (lambda: transformers.Dinov2Model(transformers.Dinov2Config(**TOWER)), 1, True),
    "dinov2_with_registers": (
        lambda: transformers.Dinov2WithRegistersModel(
            transformers.Dinov2WithRegistersConfig(**TOWER, num_register_tokens=3)
        ),
        4,
        True,
    ),
    "dinov3_vit": (
        lambda: transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**TOWER, num_register_tokens=4)),
        5,
        True,
    ),
    "siglip": (
        lambda: transformers.SiglipModel(
            transformers.SiglipConfig(text_config=dict(TEXT), vision_config=dict(TOWER))
        ),
        0,
        False,
    ),
    "siglip_vision_model": (
        lambda: transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**TOWER)),
        0,
        False,
    ),
    "clip": (
        lambda: transformers.CLIPModel(
            transformers.CLIPConfig(text_config=dict(TEXT), vision_config=dict(TOWER))
        ),
        1,
        True,
    ),
    "clip_vision_model": (
        lambda: transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**TOWER)),
        1,
        True,
    ),
    "vit": (lambda: transformers.ViTModel(transformers.ViTConfig(**TOWER)), 1, True),
    "vit_classifier": (
        lambda: transformers.ViTForImageClassification(transformers.ViTConfig(**TOWER)),
        1,
        True,
    ),
}
OWN_CODE = """
from pathlib import Path
from transformers import ViTConfig, ViTModel
Path("{mark}").touch()
class Config(ViTConfig):
    model_type = "own_type"
class Model(ViTModel):
    config_class = Config
"""


class Evil:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def save(folder: Path, kind: str) -> Any:
    torch.manual_seed(0)
    model = MODELS[kind][0]().eval()
    model.save_pretrained(folder)
    return model


def find(folder: Path) -> NetworkBackbone:
    backbone = find_backbone(f"hf:{folder}")
    assert isinstance(backbone, NetworkBackbone)
    return backbone


def tower(model: Any) -> Any:
    return getattr(model, "vision_model", getattr(model, "vit", model))


@pytest.mark.parametrize("kind", MODELS)
def test_maps_are_the_models_own_tokens(tmp_path: Path, kind: str) -> None:
    model, (_, prefix, has_class) = save(tmp_path, kind), MODELS[kind]
    backbone = find(tmp_path)
    assert set(backbone.info.pooled) == ({"global", "cls"} if has_class else {"global"})
    images = torch.randn(2, 3, 3 * PATCH, 6 * PATCH, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        maps = backbone.load().network(images)
        flexible = {} if "dino" in kind else {"interpolate_pos_encoding": True}
        tokens = tower(model)(pixel_values=images, **flexible).last_hidden_state
    assert maps.local.shape == (2, WIDTH, 3, 6)
    # Row 1, column 4 of the grid is patch 1 · 6 + 4.
    torch.testing.assert_close(maps.local[:, :, 1, 4], tokens[:, prefix + 10])
    assert set(maps.vectors) == ({"cls"} if has_class else set())
    if has_class:
        torch.testing.assert_close(maps.vectors["cls"], tokens[:, 0])


def test_any_picture_size(tmp_path: Path) -> None:
    save(tmp_path, "vit")
    extractor = build_extractor(ExtractorOptions("hf", str(tmp_path), topk=10), "cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (37, 61, 3)).astype(np.uint8)
    (features,) = extractor.extract([extractor.prepare(ImageRecord(0, "a", "a"), pixels, None)])
    assert features.local is not None
    assert features.local.descriptors.shape == (10, WIDTH)
    assert features.local.xy.min() >= 0
    assert (features.local.xy <= (61, 37)).all()
    assert (features.width, features.height) == (61, 37)


def test_settings_hold_the_hash_and_no_path(tmp_path: Path) -> None:
    save(tmp_path, "dinov2")
    options = ExtractorOptions(f"hf:{tmp_path}")
    spec = build_extractor(options, "cpu").spec
    assert spec.settings["weights"] == sha256_file(tmp_path / "model.safetensors")
    assert spec.settings["backbone"] == "hf:dinov2"
    assert str(tmp_path) not in json.dumps(spec.settings)
    plan = static_spec(options)
    assert (plan.dim, plan.pooled) == (spec.dim, spec.pooled) == (WIDTH, {"global": WIDTH, "cls": WIDTH})


def test_mean_and_deviation_come_from_the_preprocessor(tmp_path: Path) -> None:
    save(tmp_path, "vit")
    plain = find(tmp_path)
    text = json.dumps({"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]})
    (tmp_path / "preprocessor_config.json").write_text(text)
    told = find(tmp_path)
    assert plain.preprocessing.mean == (0.485, 0.456, 0.406)
    assert (told.preprocessing.mean, told.preprocessing.std) == ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))


def test_a_missing_weight_is_an_error(tmp_path: Path) -> None:
    model = save(tmp_path, "dinov2")
    state = load_file(tmp_path / "model.safetensors")
    del state["layernorm.weight"]
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    count = len(model.state_dict())
    with pytest.raises(
        WeightsError, match=f"matched {count - 1} of {count} weights; missing: layernorm.weight"
    ):
        find(tmp_path).load()


def test_a_weight_of_another_shape_is_an_error(tmp_path: Path) -> None:
    save(tmp_path, "dinov2")
    state = load_file(tmp_path / "model.safetensors")
    state["layernorm.weight"] = torch.ones(WIDTH + 1)
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match=r"layernorm.weight is 33 and must be 32"):
        find(tmp_path).load()


def test_no_weights_in_the_folder(tmp_path: Path) -> None:
    save(tmp_path, "vit")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"holds no model\.safetensors"):
        find(tmp_path).load()


def test_weights_that_are_a_pickle_are_not_read(tmp_path: Path) -> None:
    save(tmp_path, "vit")
    (tmp_path / "model.safetensors").unlink()
    torch.save({"weight": Evil(tmp_path / "ran")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"no model\.safetensors, only pickles") as caught:
        find(tmp_path).load()
    assert "save_pretrained" in (caught.value.hint or "")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("model_type", ["own_type", "vit"])
def test_code_that_comes_with_a_model_never_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_type: str
) -> None:
    """Not even where whoever started the command answers everything with yes."""
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))
    folder, mark = tmp_path / "model", tmp_path / "ran"
    save(folder, "vit")
    (folder / "own.py").write_text(OWN_CODE.format(mark=mark))
    config = json.loads((folder / "config.json").read_bytes())
    config |= {"model_type": model_type, "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    if model_type == "vit":
        find(folder).load()
    else:
        with pytest.raises(WeightsError, match=r"config\.json cannot be used") as caught:
            find(folder)
        assert "never runs" in (caught.value.hint or "")
    assert not mark.exists()


def test_offline_names_the_file_and_where_to_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        WeightsError, match=r"config\.json of nobody/nothing is neither in the cache nor"
    ) as caught:
        find_backbone("hf:nobody/nothing")
    assert caught.value.hint is not None
    assert "hf download nobody/nothing" in caught.value.hint
    assert "config.json" in caught.value.hint


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="neither a folder nor a Hugging Face id"):
        find_backbone(f"hf:{tmp_path / 'nope'}")


def test_a_model_without_patch_tokens(tmp_path: Path) -> None:
    transformers.ResNetConfig(depths=[1, 1, 1, 1]).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="is a 'resnet'"):
        find_backbone(f"hf:{tmp_path}")


def test_half_precision_files_compute_in_float32(tmp_path: Path) -> None:
    model = MODELS["vit"][0]().eval().half()
    model.save_pretrained(tmp_path)
    backbone = find(tmp_path)
    assert {p.dtype for p in backbone.load().network.parameters()} == {torch.float32}


@pytest.mark.parametrize("content", [None, "{", "{}", '{"model_type": "no_such_type"}'])
def test_a_folder_without_a_usable_config_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(WeightsError, match=r"config\.json cannot be used"):
        find_backbone(f"hf:{tmp_path}")

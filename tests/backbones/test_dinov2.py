"""Names and shapes of the published files, on the meta device, and small networks from files and folders."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch.nn import functional as F

from ames_ray.backbones import dinov2
from ames_ray.errors import WeightsError
from tests.descriptors import recipe

if TYPE_CHECKING:
    from pathlib import Path

SIZES = {size.name: size for size in (dinov2._SMALL, dinov2._BASE, dinov2._LARGE, dinov2._GIANT)}
PARAMETERS = {
    "dinov2_vits14_reg": 22_058_112,
    "dinov2_vitb14_reg": 86_583_552,
    "dinov2_vitl14_reg": 304_372_736,
    "dinov2_vitg14_reg": 1_136_486_912,
}
TINY = replace(dinov2._SMALL, width=24, depth=2, heads=2)
GATED = replace(TINY, gated=True)


def published(size: dinov2._Size) -> dict[str, torch.Tensor]:
    shapes = recipe.dinov2_shapes(size.width, size.depth, gated=size.gated)
    return recipe.state("tiny", shapes)


@pytest.mark.parametrize("name", SIZES)
def test_every_published_name_has_its_place(name: str) -> None:
    size = SIZES[name]
    with torch.device("meta"):
        model = transformers.Dinov2WithRegistersModel(dinov2._config(size))
        state = {
            key: torch.empty(shape)
            for key, shape in recipe.dinov2_shapes(size.width, size.depth, gated=size.gated).items()
        }
    ours = {key: value.shape for key, value in dinov2.to_transformers(state).items()}
    assert ours == {key: value.shape for key, value in model.state_dict().items()}
    assert sum(value.numel() for value in state.values()) == PARAMETERS[name]


def gated_by_the_book(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The authors' feed-forward layer of ViT-g: w12 gives gate and value, w3 what comes out."""
    first, second = F.linear(x, state["blocks.0.mlp.w12.weight"], state["blocks.0.mlp.w12.bias"]).chunk(
        2, dim=-1
    )
    return F.linear(F.silu(first) * second, state["blocks.0.mlp.w3.weight"], state["blocks.0.mlp.w3.bias"])


def test_gated_layer_is_the_published_one(tmp_path: Path) -> None:
    state = published(GATED)
    torch.save(state, tmp_path / "w.pth")
    model, _ = dinov2._from_file(GATED, str(tmp_path / "w.pth"))
    x = torch.randn(5, GATED.width, generator=torch.Generator().manual_seed(0))
    layer = model.get_submodule("encoder.layer.0.mlp")
    torch.testing.assert_close(layer(x), gated_by_the_book(state, x))


@pytest.mark.parametrize("size", [TINY, GATED], ids=["plain", "gated"])
def test_folder_and_files_give_the_same_network(tmp_path: Path, size: dinov2._Size) -> None:
    state = published(size)
    torch.save(state, tmp_path / "w.pth")
    save_file({f"module.{k}": v for k, v in state.items()}, tmp_path / "w.safetensors")
    model: Any = dinov2._from_file(size, str(tmp_path / "w.pth"))[0]
    model.save_pretrained(tmp_path / "hub")
    images = torch.randn(1, 3, 28, 42, generator=torch.Generator().manual_seed(0))
    maps = []
    for name in ("w.pth", "w.safetensors", "hub"):
        network = dinov2._load(size, str(tmp_path / name)).network
        with torch.inference_mode():
            maps.append(network(images))
    assert maps[0].local.shape == (1, size.width, 2, 3)
    for other in maps[1:]:
        assert torch.equal(other.local, maps[0].local)
        assert torch.equal(other.vectors["cls"], maps[0].vectors["cls"])


def test_a_file_of_another_size_is_refused(tmp_path: Path) -> None:
    torch.save(published(TINY), tmp_path / "w.pth")
    deeper = replace(TINY, depth=3)
    with pytest.raises(
        WeightsError, match=r"w\.pth: matched 44 of 62 weights; missing: encoder\.layer\.2"
    ) as caught:
        dinov2._load(deeper, str(tmp_path / "w.pth"))
    assert caught.value.hint is not None
    assert "dinov2_vits14_reg4_pretrain.pth" in caught.value.hint
    with pytest.raises(WeightsError, match=r"cls_token is 1×1×24 and must be 1×1×48"):
        dinov2._load(replace(TINY, width=48), str(tmp_path / "w.pth"))


def test_a_folder_of_another_size_is_refused(tmp_path: Path) -> None:
    config = replace(TINY, width=48)
    transformers.Dinov2WithRegistersModel(dinov2._config(config)).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"matched .* of .* weights; .* must be 1×1×24"):
        dinov2._load(TINY, str(tmp_path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nope\.pth does not exist"):
        dinov2.base(str(tmp_path / "nope.pth")).load()

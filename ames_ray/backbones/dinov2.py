"""DINOv2 with registers (Darcet et al., ICLR 2024), run by `transformers`.

The weights come from a Hugging Face id or folder, or from the `.pth` file that the authors publish. Local
descriptors are the patch tokens after the final LayerNorm.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ames_ray.backbones.base import BackboneInfo, LoadedNetwork, NetworkBackbone
from ames_ray.backbones.hub import load_pretrained
from ames_ray.backbones.huggingface import patch_preprocessing

if TYPE_CHECKING:
    import torch
    from transformers import Dinov2WithRegistersConfig

PATCH = 14
REGISTERS = 4


@dataclass(frozen=True, slots=True)
class _Size:
    name: str
    hub_id: str
    width: int
    depth: int
    heads: int
    gated: bool = False


_SMALL = _Size("dinov2_vits14_reg", "facebook/dinov2-with-registers-small", 384, 12, 6)
_BASE = _Size("dinov2_vitb14_reg", "facebook/dinov2-with-registers-base", 768, 12, 12)
_LARGE = _Size("dinov2_vitl14_reg", "facebook/dinov2-with-registers-large", 1024, 24, 16)
_GIANT = _Size("dinov2_vitg14_reg", "facebook/dinov2-with-registers-giant", 1536, 40, 24, gated=True)


def small(weights: str | None = None) -> NetworkBackbone:
    """ViT-S/14: width 384, 12 blocks."""
    return _backbone(_SMALL, weights)


def base(weights: str | None = None) -> NetworkBackbone:
    """ViT-B/14: width 768, 12 blocks; the one of the AMES paper."""
    return _backbone(_BASE, weights)


def large(weights: str | None = None) -> NetworkBackbone:
    """ViT-L/14: width 1024, 24 blocks."""
    return _backbone(_LARGE, weights)


def giant(weights: str | None = None) -> NetworkBackbone:
    """ViT-g/14: width 1536, 40 blocks with gated feed-forward layers."""
    return _backbone(_GIANT, weights)


def _backbone(size: _Size, weights: str | None) -> NetworkBackbone:
    info = BackboneInfo(
        size.name, size.width, {"global": size.width, "cls": size.width}, "fraction", "published"
    )
    return NetworkBackbone(info, patch_preprocessing(PATCH), partial(_load, size, weights or size.hub_id))


def _config(size: _Size) -> Dinov2WithRegistersConfig:
    from transformers import Dinov2WithRegistersConfig

    return Dinov2WithRegistersConfig(
        image_size=518,
        patch_size=PATCH,
        hidden_size=size.width,
        num_hidden_layers=size.depth,
        num_attention_heads=size.heads,
        num_register_tokens=REGISTERS,
        use_swiglu_ffn=size.gated,
    )


def _load(size: _Size, weights: str) -> LoadedNetwork:
    from ames_ray.backbones.patch_tokens import PatchTokens

    is_file = Path(weights).expanduser().is_file() or Path(weights).suffix in {".pth", ".pt", ".safetensors"}
    model, sha256 = _from_file(size, weights) if is_file else load_pretrained(weights, _config(size))
    network = PatchTokens(model, patch=PATCH, prefix=1 + REGISTERS, has_class=True, interpolate=False)
    return LoadedNetwork(network, sha256)


def _from_file(size: _Size, weights: str) -> tuple[torch.nn.Module, str]:
    import torch
    from transformers import Dinov2WithRegistersModel

    from ames_ray.backbones.weights import load_exactly, read_state, require_file, sha256_files

    hint = f"give the file {size.name}4_pretrain.pth of the DINOv2 authors, or a Hugging Face folder"
    purpose = f"weights of {size.name}"
    path = require_file(weights, purpose, hint)
    state = to_transformers(read_state(path, purpose=purpose, hint=hint))
    with torch.device("meta"):
        model = Dinov2WithRegistersModel(_config(size))
    load_exactly(model, state, path, hint)
    return model.eval(), sha256_files([path])


def to_transformers(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The authors' weights under the names of `transformers` 5; names that are not theirs are kept."""
    renamed: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        parts = _split(name)
        for part, piece in zip(parts, value.chunk(len(parts)), strict=True):
            renamed[part] = piece.clone() if len(parts) > 1 else piece
    return renamed


_WHOLE = {
    "cls_token": "embeddings.cls_token",
    "mask_token": "embeddings.mask_token",
    "register_tokens": "embeddings.register_tokens",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": "layernorm.weight",
    "norm.bias": "layernorm.bias",
}
# One name of theirs to one of ours, or to several that it holds one after the other.
_IN_BLOCK = {
    "attn.qkv": ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
    "attn.proj": ("attention.o_proj",),
    "mlp.w12": ("mlp.gate_proj", "mlp.up_proj"),
    "mlp.w3": ("mlp.down_proj",),
}


def _split(name: str) -> tuple[str, ...]:
    if not name.startswith("blocks."):
        return (_WHOLE.get(name, name),)
    _, block, rest = name.split(".", 2)
    layer = f"encoder.layer.{block}"
    if rest in {"ls1.gamma", "ls2.gamma"}:
        return (f"{layer}.layer_scale{rest[2]}.lambda1",)
    part, _, kind = rest.rpartition(".")
    return tuple(f"{layer}.{ours}.{kind}" for ours in _IN_BLOCK.get(part, (part,)))

"""Deterministic weights for the published networks, in the layout of the published files.

The golden arrays in `tests/golden/extraction_*.npz` were computed by the authors' code with these weights.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Shape: TypeAlias = tuple[int, ...]
BN = ("weight", "bias", "running_mean", "running_var")


def state(network: str, shapes: dict[str, Shape]) -> dict[str, torch.Tensor]:
    """Weights by published name."""
    return {name: _value(network, name, shape) for name, shape in shapes.items()}


def write(folder: Path, network: str) -> Path:
    """Write the weights file of a network as its authors publish it."""
    path = folder / f"{network}.pth"
    if network == "dinov2_vitb14_reg":
        torch.save(state(network, dinov2_shapes()), path)
    elif network == "cvnet_r101":
        published = {f"encoder_q.{k}": v for k, v in state(network, cvnet_shapes()).items()}
        published["encoder_k.stem.conv.weight"] = torch.zeros(1)
        torch.save({"epoch": 100, "model_state": published}, path)
    else:
        dim = 1024 if network == "cvnet_detector" else 768
        torch.save({"state": state(network, detector_shapes(dim)), "map": np.float64(0.7)}, path)
    return path


def dinov2_shapes(width: int = 768, depth: int = 12, *, gated: bool = False) -> dict[str, Shape]:
    """Names and shapes in the authors' DINOv2 files."""
    shapes: dict[str, Shape] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1370, width),
        "register_tokens": (1, 4, width),
        "mask_token": (1, width),
        "patch_embed.proj.weight": (width, 3, 14, 14),
        "patch_embed.proj.bias": (width,),
        **_linear("norm", width),
    }
    for i in range(depth):
        block = f"blocks.{i}"
        shapes |= _linear(f"{block}.norm1", width) | _linear(f"{block}.norm2", width)
        shapes |= _linear(f"{block}.attn.qkv", 3 * width, width) | _linear(f"{block}.attn.proj", width, width)
        shapes |= {f"{block}.ls1.gamma": (width,), f"{block}.ls2.gamma": (width,)}
        if gated:
            hidden = width * 8 // 3
            shapes |= _linear(f"{block}.mlp.w12", 2 * hidden, width)
            shapes |= _linear(f"{block}.mlp.w3", width, hidden)
        else:
            shapes |= _linear(f"{block}.mlp.fc1", 4 * width, width)
            shapes |= _linear(f"{block}.mlp.fc2", width, 4 * width)
    return shapes


def cvnet_shapes() -> dict[str, Shape]:
    """Names and shapes in the authors' CVNet file, without its prefix."""
    shapes: dict[str, Shape] = {"stem.conv.weight": (64, 3, 7, 7), **_norm("stem.bn", 64)}
    came = 64
    for stage, (depth, inner) in enumerate(zip((3, 4, 23, 3), (64, 128, 256, 512), strict=True), start=1):
        outer = 4 * inner
        for block in range(1, depth + 1):
            name = f"s{stage}.b{block}"
            shapes |= {
                f"{name}.f.a.weight": (inner, came, 1, 1),
                f"{name}.f.b.weight": (inner, inner, 3, 3),
                f"{name}.f.c.weight": (outer, inner, 1, 1),
                **_norm(f"{name}.f.a_bn", inner),
                **_norm(f"{name}.f.b_bn", inner),
                **_norm(f"{name}.f.c_bn", outer),
            }
            if block == 1:
                shapes |= {f"{name}.proj.weight": (outer, came, 1, 1), **_norm(f"{name}.bn", outer)}
            came = outer
    return shapes | {"head.pool.p": (1,), **_linear("head.fc", 2048, 2048)}


def detector_shapes(dim: int) -> dict[str, Shape]:
    """Names and shapes in a detector file."""
    return {
        "conv1.weight": (dim, dim, 1, 1),
        "conv1.bias": (dim,),
        **_norm("bn", dim),
        "conv2.weight": (1, dim, 1, 1),
        "conv2.bias": (1,),
    }


def _linear(name: str, *weight: int) -> dict[str, Shape]:
    return {f"{name}.weight": weight, f"{name}.bias": weight[:1]}


def _norm(name: str, width: int) -> dict[str, Shape]:
    return {**{f"{name}.{kind}": (width,) for kind in BN}, f"{name}.num_batches_tracked": ()}


def _value(network: str, name: str, shape: Shape) -> torch.Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    random = np.random.default_rng(zlib.crc32(f"{network}/{name}".encode()))
    return torch.from_numpy(next(_rules(network, name, shape, random)).astype(np.float32))


def _rules(
    network: str, name: str, shape: Shape, random: np.random.Generator
) -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    if name.endswith("running_var"):
        yield random.uniform(0.5, 1.5, shape) * (200 if network == "cvnet_detector" else 1)
    if name.endswith("running_mean"):
        yield 0.1 * random.standard_normal(shape)
    if name == "head.pool.p":
        yield np.full(shape, 2.7)
    if name.endswith((".gamma", "c_bn.weight")):
        yield random.uniform(0.1, 0.4, shape)
    if name.endswith(".bias"):
        yield 0.1 * random.standard_normal(shape)
    if name.endswith(".weight") and len(shape) == 1:
        yield random.uniform(0.5, 1.5, shape)
    if name.endswith(".weight"):
        gain = 2 if len(shape) == 4 else 1
        yield math.sqrt(gain / math.prod(shape[1:])) * random.standard_normal(shape)
    yield 0.3 * random.standard_normal(shape)

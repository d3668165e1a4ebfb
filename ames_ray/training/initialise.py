"""First weights: the published draw, or one in which cross-attention searches neighbours from the first step.

With the published draw a small network sees nothing for its first hundred steps: every token attends to all
others alike. `identity` starts from what a person would do: compare descriptors by their cosine. Tokens are
half-whitened principal components, and every cross-attention multiplies queries and keys by the identity, so
that a head's logit is a constant times the cosine and its softmax a soft nearest-neighbour search. What it
finds is subtracted: a token becomes its difference from its neighbour in the other image.

`teacher` starts a student as its teacher. A binary one has another projection: behind the signs stands the
linear map that comes nearest to the teacher's tokens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
import torch.nn.functional as F

from ames_ray.errors import ConfigError
from ames_ray.model.ames import Ames
from ames_ray.training.pca import normalised, pca_basis

if TYPE_CHECKING:
    from ames_ray.model.options import AmesOptions
    from ames_ray.types import AnyArray, FloatArray

Initialisation = Literal["published", "identity", "teacher"]

_SHARPNESS = 13.0
"""Logit of a head for two equal tokens. From 12 to 15 a softmax over hundreds of tokens finds the nearest."""
_NOISE = 0.1
"""What stays of the published draw in these weights, so that heads and blocks differ."""
_RANK = 1e-10
"""Share of the largest eigenvalue below which signs are taken for linearly dependent."""


def new_model(
    options: AmesOptions,
    seed: int,
    initialisation: Initialisation = "published",
    *,
    rotation: torch.Tensor | None = None,
    sample: AnyArray | None = None,
    teacher: Ames | None = None,
) -> Ames:
    """A network to train.

    Args:
        options: Sizes.
        seed: Decides every draw.
        initialisation: "published" as the authors draw; "identity" and "teacher" as this module tells.
        rotation: (D_in, D) from an ITQ file, for a binary network; without it a random rotation.
        sample: (N, D_in) training descriptors: "identity" of a full-precision network takes its principal
            components from them, "teacher" of a binary one fits its projection to them.
        teacher: What "teacher" starts from.

    Raises:
        ConfigError: A sample or the teacher is missing, the teacher has other sizes or, where it is binary,
            other signs, or a network that is not binary gets a rotation.
    """
    if rotation is not None and not options.binary:
        raise ConfigError("itq= starts a binary network; this one is not", "pass binary=true, or no itq=")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Ames(options)
    with torch.no_grad():
        if rotation is not None:
            model.get_parameter("remap_local.0.W").copy_(rotation)
        if initialisation == "identity":
            _start_as_identity(model, sample, seed)
        elif initialisation == "teacher":
            _start_as_teacher(model, teacher, sample, rotation)
    return model


def _start_as_identity(model: Ames, sample: AnyArray | None, seed: int) -> None:
    dim = model.options.dim
    if model.options.binary:
        # Signs of a rotated descriptor are spread over the heads as they are, or evenly where there are more.
        behind_signs = model.get_parameter("remap_local.1.weight")
        if model.options.payload_dim == dim:
            behind_signs.copy_(torch.eye(dim))
        else:
            torch.nn.init.orthogonal_(behind_signs, generator=torch.Generator().manual_seed(seed))
    elif sample is None:
        raise ConfigError("initialisation=identity needs a sample of training descriptors")
    else:
        projection, offset = half_whitened(sample, dim, seed)
        model.get_parameter("remap_local.0.weight").copy_(torch.from_numpy(projection.T))
        model.get_parameter("remap_local.0.bias").copy_(torch.from_numpy(offset))
    identity = torch.eye(dim)
    for block in model.blocks:
        attention = block.cross_attn
        scale = (_SHARPNESS / (dim // attention.heads) ** 0.5) ** 0.5
        query, key, value = attention.in_proj_weight.chunk(3)
        for weight, start in (
            (query, scale * identity),
            (key, scale * identity),
            (value, identity),
            (attention.out_proj.weight, -identity),
        ):
            weight.mul_(_NOISE).add_(start)


def _start_as_teacher(
    student: Ames, teacher: Ames | None, sample: AnyArray | None, rotation: torch.Tensor | None
) -> None:
    if teacher is None:
        raise ConfigError("initialisation=teacher needs a teacher")
    # A published network knows its backbone, a store of the authors does not say its own.
    ours, its = (
        replace(model.options, binary=False, bits=None, backbone=None) for model in (student, teacher)
    )
    if ours != its:
        raise ConfigError(
            f"initialisation=teacher: the network is {student.options}, its teacher {teacher.options}",
            "give both the same dim=, heads=, blocks= and feedforward=",
        )
    if teacher.options.binary:
        _require_its_signs(student, teacher, rotation)
    theirs = teacher.state_dict()
    if student.options.binary and not teacher.options.binary:
        if sample is None:
            raise ConfigError("initialisation=teacher of a binary network needs a sample of descriptors")
        # In float64 and by the normal equations, whose left side is of whole numbers: otherwise the start
        # would depend on where arrays lie in memory, widely so where a sign is the same for all descriptors.
        descriptors = torch.from_numpy(normalised(sample)).double()
        signs = (descriptors @ student.get_parameter("remap_local.0.W").double()).sign()
        weight, bias = (teacher.get_parameter(f"remap_local.0.{n}").double() for n in ("weight", "bias"))
        norm = teacher.get_submodule("remap_local.1")
        inputs, wanted = F.pad(signs, (0, 1), value=1.0), F.linear(descriptors, weight, bias)
        inverse = torch.linalg.pinv(inputs.T @ inputs, rtol=_RANK, hermitian=True)
        fitted = inverse @ (inputs.T @ wanted)
        student.get_parameter("remap_local.1.weight").copy_(fitted[:-1].T)
        student.get_parameter("remap_local.1.bias").copy_(fitted[-1])
        student.get_submodule("remap_local.2").load_state_dict(norm.state_dict())
        theirs = {name: value for name, value in theirs.items() if not name.startswith("remap_local.")}
    student.load_state_dict(theirs, strict=False)


def _require_its_signs(student: Ames, teacher: Ames, rotation: torch.Tensor | None) -> None:
    """Refuse a student that cannot have the signs of its binary teacher, or is to have others."""
    bits = teacher.options.payload_dim
    ours = student.options.payload_dim if student.options.binary else None
    if ours != bits:
        raise ConfigError(
            f"initialisation=teacher: the teacher has {bits} signs, the network {ours or 'none'}",
            f"pass binary=true and bits={bits}, or another initialisation=",
        )
    if rotation is not None and not torch.equal(rotation, teacher.get_parameter("remap_local.0.W")):
        raise ConfigError(
            "initialisation=teacher: the rotation of itq= is not that of the binary teacher",
            "leave itq= out, or pass another initialisation=",
        )


def half_whitened(sample: AnyArray, dim: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Projection to principal components around the mean, evened out by half and rotated at random.

    What all descriptors have in common tells none of them apart, and RootSIFT, which has no negative
    numbers, has much in common: kept, it would make every two tokens alike. Whitening whole would lift
    noise to the height of the signal; not at all leaves most columns without any. The rotation gives each
    attention head a fair share. Tokens of the sample get the mean norm √dim, which the LayerNorm behind the
    projection would give them anyway.

    Args:
        sample: (N, D_in) descriptors.
        dim: Width of a token; more than D_in leaves directions of it empty until training fills them.
        seed: Decides the rotation.

    Returns:
        Projection (D_in, dim) and offset (dim,), float32: a token is descriptor @ projection + offset.

    Raises:
        StoreError: There are fewer descriptors than components, or they are not finite.
    """
    components = min(dim, sample.shape[1])
    basis, variances = pca_basis(sample, components, mean="subtracted")
    spread = np.maximum(variances, 1e-6 * variances[0]) ** -0.25
    noise = np.random.default_rng((seed, 3)).standard_normal((dim, dim))
    rotation = np.linalg.qr(noise)[0][:components]
    projection = (basis * spread) @ rotation
    unit = normalised(sample)
    offset = -unit.mean(axis=0) @ projection
    scale = dim**0.5 / np.linalg.norm(unit @ projection + offset, axis=1).mean()
    return (projection * scale).astype(np.float32), (offset * scale).astype(np.float32)

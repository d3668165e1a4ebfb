"""What the identity initialisation promises, measured on a fresh network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ames_ray.errors import ConfigError
from ames_ray.model.options import AmesOptions
from ames_ray.training.initialise import half_whitened, new_model
from ames_ray.training.itq_fit import fit_itq
from ames_ray.types import FloatArray

OPTIONS = AmesOptions(24, dim=16, heads=2, blocks=3, feedforward=32)
BINARY = AmesOptions(24, binary=True, dim=16, heads=2, blocks=3, feedforward=32)


def descriptors(count: int = 3000, width: int = 24) -> FloatArray:
    """Like RootSIFT: no negative numbers, so a large mean, and columns that go together."""
    random = np.random.default_rng(0)
    mixed = random.standard_normal((count, 6)) @ random.standard_normal((6, width))
    raw = np.abs(mixed + 0.3 * random.standard_normal((count, width)))
    unit: FloatArray = (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)
    return unit


def test_tokens_have_the_promised_norm_and_even_spread() -> None:
    sample = descriptors()
    projection, offset = half_whitened(sample, 16, 0)
    tokens = sample @ projection + offset
    np.testing.assert_allclose(tokens.mean(axis=0), 0, atol=1e-4)
    assert np.linalg.norm(tokens, axis=1).mean() == pytest.approx(4, rel=1e-5)
    power = (tokens**2).mean(axis=0)
    assert power[:8].sum() / power.sum() == pytest.approx(0.5, abs=0.15)
    singular = np.linalg.svd(tokens, compute_uv=False)
    unwhitened = np.linalg.svd(sample - sample.mean(axis=0), compute_uv=False)[:16]
    assert singular[0] / singular[-1] == pytest.approx((unwhitened[0] / unwhitened[-1]) ** 0.5, rel=1e-3)


def test_cross_attention_starts_as_a_search_by_cosine() -> None:
    sample = descriptors()
    model = new_model(OPTIONS, 0, "identity", sample=sample)
    with torch.no_grad():
        tokens = model.project(torch.from_numpy(sample[None, :200]))
        for block in model.blocks:
            query, keys, _ = block.cross_attn.project(tokens)
            for head in range(2):
                part = slice(8 * head, 8 * head + 8)
                logits = (query[0, :, part] @ keys[0, :, part].T / 8**0.5).flatten()
                products = (tokens[0, :, part] @ tokens[0, :, part].T / 8).flatten()
                slope = (logits @ products / (products @ products)).item()
                assert slope == pytest.approx(13, rel=0.25)
                assert torch.corrcoef(torch.stack((logits, products)))[0, 1] > 0.97


def test_what_cross_attention_finds_is_subtracted() -> None:
    sample = descriptors()
    model = new_model(OPTIONS, 0, "identity", sample=sample)
    with torch.no_grad():
        tokens = model.project(torch.from_numpy(sample[None, :200]))
        for block in model.blocks:
            values = block.cross_attn.project(tokens)[2]
            subtracted = block.cross_attn.out_proj(values)
            assert (tokens + subtracted).norm() < 0.3 * tokens.norm()


def test_a_wider_token_than_descriptor_is_allowed() -> None:
    sample = descriptors()
    projection, offset = half_whitened(sample, 32, 0)
    tokens = sample @ projection + offset
    assert tokens.shape == (3000, 32)
    assert np.linalg.matrix_rank(tokens) == 24


def test_a_binary_network_starts_from_its_rotation() -> None:
    rotation = torch.linalg.qr(torch.randn(24, 24))[0][:, :16].contiguous()
    model = new_model(BINARY, 0, "identity", rotation=rotation)
    assert torch.equal(model.get_parameter("remap_local.0.W"), rotation)
    assert torch.equal(model.get_parameter("remap_local.1.weight"), torch.eye(16))


@pytest.mark.parametrize("bits", [8, 24])
def test_signs_fewer_or_more_than_a_token_is_wide_keep_their_angles(bits: int) -> None:
    options = replace(BINARY, bits=bits)
    weight = new_model(options, 0, "identity").get_parameter("remap_local.1.weight")
    assert weight.shape == (16, bits)
    products = weight.T @ weight if bits < 16 else weight @ weight.T
    assert torch.allclose(products, torch.eye(len(products)), atol=1e-5)
    assert torch.equal(weight, new_model(options, 0, "identity").get_parameter("remap_local.1.weight"))


@pytest.mark.parametrize(("bits", "left_at_most"), [(16, 0.5), (8, 0.8)])
def test_a_student_starts_as_its_teacher_behind_the_signs(bits: int, left_at_most: float) -> None:
    sample = descriptors()
    teacher = new_model(OPTIONS, 3, "identity", sample=sample)
    rotation = torch.from_numpy(fit_itq(sample, bits, mean="excluded").rotation)
    options = replace(BINARY, bits=bits)
    student = new_model(options, 4, "teacher", rotation=rotation, sample=sample, teacher=teacher)
    theirs, ours = teacher.state_dict(), student.state_dict()
    assert torch.equal(ours["remap_local.0.W"], rotation)
    blocks = {name for name in theirs if not name.startswith("remap_local.")}
    assert len(blocks) > 50
    assert all(torch.equal(theirs[name], ours[name]) for name in blocks)
    # The linear map is the best that there is: what it leaves is at right angles to all signs.
    signs = np.sign(sample @ rotation.numpy())
    wanted = sample @ theirs["remap_local.0.weight"].numpy().T + theirs["remap_local.0.bias"].numpy()
    left = wanted - signs @ ours["remap_local.1.weight"].numpy().T - ours["remap_local.1.bias"].numpy()
    np.testing.assert_allclose(signs.T @ left / len(sample), 0, atol=1e-3)
    np.testing.assert_allclose(left.mean(0), 0, atol=1e-3)
    assert (left**2).sum() < left_at_most * ((wanted - wanted.mean(0)) ** 2).sum()


def test_a_student_starts_alike_wherever_its_sample_lies_in_memory() -> None:
    teacher = new_model(OPTIONS, 3, "identity", sample=descriptors())
    # Directions of nothing but positive or negative numbers have the same sign for all descriptors.
    rotation = torch.eye(24)[:, :16] + 0.1
    starts = []
    for shift in range(8):
        memory = np.empty(3000 * 24 + 8, np.float32)
        sample = memory[shift : shift + 3000 * 24].reshape(3000, 24)
        sample[:] = descriptors()
        student = new_model(BINARY, 4, "teacher", rotation=rotation, sample=sample, teacher=teacher)
        starts.append(student.get_parameter("remap_local.1.weight"))
    assert all(torch.equal(start, starts[0]) for start in starts)


def test_a_student_of_the_same_kind_starts_as_a_copy() -> None:
    teacher = new_model(OPTIONS, 3)
    student = new_model(OPTIONS, 4, "teacher", teacher=teacher)
    assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), student.parameters(), strict=True))


def test_a_student_of_a_binary_teacher_starts_as_a_copy_or_not_at_all() -> None:
    teacher = new_model(replace(BINARY, bits=8), 3)
    rotation = teacher.get_parameter("remap_local.0.W").detach().clone()
    student = new_model(replace(BINARY, bits=8), 4, "teacher", teacher=teacher, rotation=rotation)
    assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), student.parameters(), strict=True))
    with pytest.raises(ConfigError, match="the rotation of itq= is not that of the binary teacher"):
        new_model(replace(BINARY, bits=8), 4, "teacher", teacher=teacher, rotation=-rotation)
    for options, signs in ((BINARY, "16"), (OPTIONS, "none")):
        with pytest.raises(ConfigError, match=f"the teacher has 8 signs, the network {signs}"):
            new_model(options, 4, "teacher", teacher=teacher, sample=descriptors())


def test_a_teacher_that_knows_its_backbone_fits_a_store_that_does_not() -> None:
    teacher = new_model(replace(OPTIONS, backbone="cvnet"), 3)
    student = new_model(OPTIONS, 4, "teacher", teacher=teacher)
    assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), student.parameters(), strict=True))


def test_the_rest_is_the_published_draw() -> None:
    published, identity = new_model(OPTIONS, 5), new_model(OPTIONS, 5, "identity", sample=descriptors())
    changed = {
        name
        for (name, one), other in zip(published.named_parameters(), identity.parameters(), strict=True)
        if not torch.equal(one, other)
    }
    blocks = range(3)
    assert changed == {
        "remap_local.0.weight",
        "remap_local.0.bias",
        *(f"decoder.layers.{n}.cross_attn.in_proj_weight" for n in blocks),
        *(f"decoder.layers.{n}.cross_attn.out_proj.weight" for n in blocks),
    }


def test_a_seed_decides_everything_and_leaves_torchs_own_alone() -> None:
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    models = [new_model(OPTIONS, seed, "identity", sample=descriptors()) for seed in (2, 2, 3)]
    assert torch.equal(torch.rand(3), wanted)
    states = [torch.cat([p.flatten() for p in model.parameters()]) for model in models]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_wrong_combinations_are_refused() -> None:
    with pytest.raises(ConfigError, match="needs a sample"):
        new_model(OPTIONS, 0, "identity")
    with pytest.raises(ConfigError, match="needs a teacher"):
        new_model(OPTIONS, 0, "teacher")
    with pytest.raises(ConfigError, match="same dim="):
        new_model(OPTIONS, 0, "teacher", teacher=new_model(replace(OPTIONS, blocks=2), 0))
    with pytest.raises(ConfigError, match="starts a binary network"):
        new_model(OPTIONS, 0, rotation=torch.zeros(24, 16))

"""Both forms against numbers that the authors' own code computed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ames_ray.model.ames import Ames
from ames_ray.model.dense import dense_forward
from ames_ray.model.options import PUBLISHED, AmesOptions
from tests.model.networks import golden, golden_model

NAMES = ("ames_full_precision", "ames_binary")
TOLERANCE = 2e-6


def _inputs(values: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    return values["query"], values["gallery"], values["query_padding"], values["gallery_padding"]


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", NAMES)
def test_similarity(name: str, mode: str) -> None:
    values = golden(name)
    model = golden_model(name).train(mode == "train")
    query, gallery, query_padding, gallery_padding = _inputs(values)
    lengths = [(~padding).sum(1) for padding in (query_padding, gallery_padding)]
    with torch.no_grad():
        found = {
            "masks": model(query, gallery, query_padding, gallery_padding),
            "lengths": model(query, gallery, *lengths),
            "tokens": model(query, gallery, query_padding, gallery_padding, return_tokens=True).similarity,
            "dense": dense_forward(model, query, gallery, query_padding, gallery_padding).similarity,
        }
    for form, similarity in found.items():
        error = (similarity - values[f"similarity_{mode}"]).abs().max()
        assert error <= TOLERANCE, (form, error)


@pytest.mark.parametrize("name", NAMES)
def test_matching_token(name: str) -> None:
    values = golden(name)
    model = golden_model(name)
    with torch.no_grad():
        found = (model(*_inputs(values), return_tokens=True), dense_forward(model, *_inputs(values)))
    for output in found:
        assert (output.matching - values["match_token_eval"]).abs().max() <= TOLERANCE


def test_gallery_tokens_are_rounded_through_float16_at_inference_only() -> None:
    values = golden("ames_full_precision")
    assert (values["similarity_eval"] - values["similarity_train"]).abs().max() > 5 * TOLERANCE


@pytest.mark.parametrize("pairs", [5, 10])
def test_gradients_of_a_training_step(pairs: int) -> None:
    """Step 0 of the authors' trainer: 10 pairs of prefixes, mean binary cross-entropy."""
    values = golden("training_step")
    model = golden_model("ames_full_precision").train()
    queries, galleries = int(values["query_descriptors"]), int(values["gallery_descriptors"])
    sides = [
        torch.cat([values[name] for name in ("anchor", "anchor")]),
        torch.cat([values[name] for name in ("positive", "negative")]),
    ]
    masks = [
        torch.cat([values[f"{name}_padding"] for name in ("anchor", "anchor")]),
        torch.cat([values[f"{name}_padding"] for name in ("positive", "negative")]),
    ]
    if pairs == 5:  # the positives alone: their logits do not depend on the rest of the batch
        with torch.no_grad():
            logits = model(
                sides[0][:5, :queries],
                sides[1][:5, :galleries],
                masks[0][:5, :queries],
                masks[1][:5, :galleries],
            )
        torch.testing.assert_close(logits, values["full_precision.similarity.0"][:5], atol=2e-6, rtol=0)
        return
    logits = model(
        sides[0][:, :queries], sides[1][:, :galleries], masks[0][:, :queries], masks[1][:, :galleries]
    )
    loss = F.binary_cross_entropy_with_logits(logits, torch.tensor([1.0] * 5 + [0.0] * 5))
    torch.autograd.backward(loss)
    torch.testing.assert_close(loss.double(), values["full_precision.loss.0"], rtol=1e-5, atol=0)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        wanted = values[f"full_precision.gradient_norm.{name}"]
        torch.testing.assert_close(parameter.grad.norm().double(), wanted, rtol=1e-4, atol=1e-9)


def test_number_of_parameters() -> None:
    counts = {name: sum(p.numel() for p in Ames(options).parameters()) for name, options in PUBLISHED.items()}
    assert counts["dinov2_ames"] == 2_079_745
    assert {name: round(count / 1e6, 2) for name, count in counts.items()} == {
        "dinov2_ames": 2.08,
        "dinov2_ames_dist": 2.10,
        "cvnet_ames": 2.11,
        "cvnet_ames_dist": 2.13,
    }


def test_initial_values() -> None:
    torch.manual_seed(0)
    model = Ames(AmesOptions(768, binary=True))
    block = model.blocks[0]
    assert block.linear1.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert block.self_attn.out_proj.weight.std().item() == pytest.approx(0.02, rel=0.1)
    bound = (6 / (384 + 128)) ** 0.5
    assert 0.95 * bound < block.self_attn.in_proj_weight.abs().max().item() <= bound
    assert not torch.equal(block.linear1.weight, model.blocks[1].linear1.weight)
    for name, value in model.named_parameters():
        if name.endswith("bias"):
            assert not value.any(), name

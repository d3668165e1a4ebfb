"""Payloads hold all that the network uses of a gallery descriptor."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ames_ray.errors import StoreError
from ames_ray.model.options import PUBLISHED
from ames_ray.model.payload import pack_signs, payload, payload_tokens, unpack_signs
from tests.model.networks import SMALL, SMALL_BINARY, golden, golden_model, random_model


def test_bits_are_numpys() -> None:
    signs = torch.randn(3, 5, 16).sign()
    assert np.array_equal(pack_signs(signs).numpy(), np.packbits(signs.numpy() > 0, axis=-1))
    assert torch.equal(unpack_signs(pack_signs(signs)), signs)
    assert unpack_signs(torch.tensor([0b10000001], dtype=torch.uint8)).tolist() == [
        1,
        -1,
        -1,
        -1,
        -1,
        -1,
        -1,
        1,
    ]


@pytest.mark.parametrize("name", ["ames_full_precision", "ames_binary"])
def test_golden_scores_from_payloads(name: str) -> None:
    values, model = golden(name), golden_model(name)
    with torch.no_grad():
        query = model.image(model.project(values["query"]), ~values["query_padding"])
        stored = payload(model, values["gallery"])
        gallery = model.image(payload_tokens(model, stored), ~values["gallery_padding"])
        logits = model.compare(query, gallery)
        raw = model(values["query"], values["gallery"], values["query_padding"], values["gallery_padding"])
    assert (logits - values["similarity_eval"]).abs().max() <= 2e-6
    assert torch.equal(logits, raw)


def test_a_query_from_float16_moves_logits_by_a_thousandth_of_their_spread() -> None:
    values, model = golden("ames_full_precision"), golden_model("ames_full_precision")
    with torch.no_grad():
        query, gallery = (
            model.image(payload_tokens(model, payload(model, values[name])), ~values[f"{name}_padding"])
            for name in ("query", "gallery")
        )
        moved = model.compare(query, gallery) - values["similarity_eval"]
    assert 2e-6 < moved.abs().max() < 1e-3 * values["similarity_eval"].std()


def test_a_descriptor_of_zeros_has_no_signs_and_its_bits_are_negative() -> None:
    model = random_model(SMALL_BINARY)
    zeros = torch.zeros(1, 1, 24)
    with torch.no_grad():
        bits = payload(model, zeros)
        assert not bits.any()
        assert torch.equal(model.project(zeros), model.remap_local[1:](torch.zeros(1, 1, 16)))
        assert torch.equal(payload_tokens(model, bits), model.remap_local[1:](-torch.ones(1, 1, 16)))
        assert not torch.allclose(payload_tokens(model, bits), model.project(zeros), atol=0.1)


@pytest.mark.parametrize(
    ("name", "kind", "stored_bytes"),
    [
        ("dinov2_ames", torch.float16, 256),
        ("cvnet_ames_dist", torch.uint8, 16),
    ],
)
def test_sizes(name: str, kind: torch.dtype, stored_bytes: int) -> None:
    options = PUBLISHED[name]
    with torch.no_grad():
        stored = payload(random_model(options), torch.randn(2, 3, options.descriptor_dim))
    assert stored.dtype == kind
    assert stored.element_size() * stored.shape[-1] == stored_bytes


def test_payloads_of_the_other_kind_are_refused() -> None:
    full, binary = random_model(SMALL), random_model(SMALL_BINARY)
    numbers, bits = torch.zeros(1, 2, 16, dtype=torch.float16), torch.zeros(1, 2, 2, dtype=torch.uint8)
    assert payload_tokens(full, numbers).shape == payload_tokens(binary, bits).shape == (1, 2, 16)
    for model, stored in ((full, bits), (binary, numbers), (full, numbers.float()), (binary, bits[..., :1])):
        with pytest.raises(StoreError, match="project the store with the model that scores it"):
            payload_tokens(model, stored)

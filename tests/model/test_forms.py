"""The fast form against the textbook form, in float64, on whatever shapes hypothesis finds."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ames_ray.model.ames import Ames
from ames_ray.model.dense import dense_forward
from ames_ray.model.options import AmesOptions
from ames_ray.model.padding import LOWEST_LOGIT
from tests.model.networks import SMALL, SMALL_BINARY, random_model

TOLERANCE = 1e-10


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    heads = draw(st.sampled_from([1, 2, 4]))
    binary = draw(st.booleans())
    options = AmesOptions(
        draw(st.integers(1, 9)),
        binary=binary,
        bits=draw(st.sampled_from([None, 8, 40])) if binary else None,
        dim=8 * heads,
        heads=heads,
        blocks=draw(st.integers(1, 3)),
        feedforward=draw(st.integers(1, 8)),
    )
    return {
        "options": options,
        "pairs": draw(st.integers(1, 4)),
        "queries": draw(st.integers(0, 9)),
        "galleries": draw(st.integers(0, 9)),
        "padding": draw(st.sampled_from(["none", "query", "gallery", "both"])),
        "training": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**31)),
    }


def _side(pairs: int, count: int, width: int, padded: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    descriptors = torch.randn(pairs, count, width, dtype=torch.float64)
    if not padded:
        return descriptors, None
    mask = torch.rand(pairs, count) < 0.5
    descriptors[mask] = torch.tensor([torch.nan, torch.inf, 1e30], dtype=torch.float64)[
        torch.randint(3, (int(mask.sum()), width))
    ]
    return descriptors, mask


@settings(max_examples=120, deadline=None)
@given(cases())
def test_equal_in_float64(case: dict[str, Any]) -> None:
    model = random_model(case["options"], case["seed"]).double().train(case["training"])
    width = case["options"].descriptor_dim
    query, query_mask = _side(case["pairs"], case["queries"], width, case["padding"] in {"query", "both"})
    gallery, gallery_mask = _side(
        case["pairs"], case["galleries"], width, case["padding"] in {"gallery", "both"}
    )
    with torch.no_grad():
        dense = dense_forward(model, query, gallery, query_mask, gallery_mask)
        fast = model(query, gallery, query_mask, gallery_mask, return_tokens=True)
        alone = model(query, gallery, query_mask, gallery_mask)
    assert torch.isfinite(alone).all()
    torch.testing.assert_close(alone, dense.similarity, atol=TOLERANCE, rtol=TOLERANCE)
    for name, mask in (
        ("similarity", None),
        ("matching", None),
        ("query", query_mask),
        ("gallery", gallery_mask),
    ):
        found, wanted = getattr(fast, name), getattr(dense, name)
        if mask is not None:
            found, wanted = found[~mask], wanted[~mask]
        torch.testing.assert_close(found, wanted, atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("options", [SMALL, SMALL_BINARY])
@pytest.mark.parametrize("shared", [1, 2, 6])
def test_a_query_with_its_shortlist_equals_plain_pairs(options: AmesOptions, shared: int) -> None:
    model = random_model(options).double()
    query, query_mask = _side(shared, 7, 24, padded=True)
    gallery, gallery_mask = _side(6, 5, 24, padded=True)
    with torch.no_grad():
        together = model(query, gallery, query_mask, gallery_mask)
        assert query_mask is not None
        repeated = (x.repeat_interleave(6 // shared, 0) for x in (query, query_mask))
        dense = dense_forward(model, next(repeated), gallery, next(repeated), gallery_mask)
    torch.testing.assert_close(together, dense.similarity, atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("options", [SMALL, SMALL_BINARY])
def test_gradients_are_equal(options: AmesOptions) -> None:
    model = random_model(options).double().train()
    query, query_mask = _side(4, 7, 24, padded=True)
    gallery, gallery_mask = _side(4, 5, 24, padded=True)
    gradients = []
    for form in (
        dense_forward(model, query, gallery, query_mask, gallery_mask).similarity,
        model(query, gallery, query_mask, gallery_mask),
    ):
        model.zero_grad()
        form.square().sum().backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    dense, fast = gradients
    assert set(dense) == set(fast) == {name for name, _ in model.named_parameters()}
    for name, wanted in dense.items():
        torch.testing.assert_close(fast[name], wanted, atol=1e-9, rtol=1e-8)


def test_prepared_images_are_not_changed_by_comparing() -> None:
    model = random_model(SMALL)
    with torch.no_grad():
        query = model.image(model.project(torch.randn(1, 6, 24)))
        gallery = model.image(model.project(torch.randn(3, 5, 24)))
        assert torch.equal(model.compare(query, gallery), model.compare(query, gallery))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
def test_short_types_stay_near(dtype: torch.dtype, tolerance: float) -> None:
    """The rounding stays small against the differences between images, which is what ranks them."""
    torch.manual_seed(1)
    exact = Ames(AmesOptions(64)).double().eval()
    short = deepcopy(exact).to(dtype)
    query, gallery = torch.randn(1, 60, 64), torch.randn(24, 40, 64)
    with torch.no_grad():
        wanted, found = exact(query.double(), gallery.double()), short(query, gallery)
    assert (found.double() - wanted).std() <= tolerance * wanted.std()


def test_autocast_and_training_go_together() -> None:
    torch.manual_seed(1)
    model = Ames(AmesOptions(32, feedforward=64, blocks=2)).train()
    query, gallery = torch.randn(4, 9, 32), torch.randn(4, 8, 32)
    lengths = torch.tensor([8, 3, 0, 5])
    plain = model(query, gallery, None, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        short = model(query, gallery, None, lengths)
    short.float().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    assert (short - plain).abs().max() <= 0.02 * plain.abs().max()


def test_an_image_without_descriptors_is_lowest() -> None:
    model = random_model(SMALL)
    query, gallery = torch.randn(3, 4, 24), torch.randn(3, 5, 24)
    with torch.no_grad():
        for form in (model, lambda *a: dense_forward(model, *a).similarity):
            logits = form(query, gallery, torch.tensor([4, 0, 2]), torch.tensor([5, 5, 0]))
            assert logits[0] > LOWEST_LOGIT
            assert logits[1:].tolist() == [LOWEST_LOGIT] * 2
        assert model(query, gallery[:, :0]).tolist() == [LOWEST_LOGIT] * 3

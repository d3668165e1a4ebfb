"""What the network says to inputs that do not fit."""

from __future__ import annotations

import pytest
import torch

from ames_ray.errors import ConfigError, StoreError
from ames_ray.model.options import PUBLISHED, AmesOptions
from tests.model.networks import SMALL, random_model


def test_lengths_and_masks_mean_the_same() -> None:
    model = random_model(SMALL)
    query, gallery = torch.randn(3, 6, 24), torch.randn(3, 4, 24)
    lengths = torch.tensor([6, 2, 1])
    mask = torch.arange(6) >= lengths[:, None]
    with torch.no_grad():
        assert torch.equal(model(query, gallery, mask), model(query, gallery, lengths))
        assert torch.equal(model(query, gallery, mask), model(query, gallery, lengths.to(torch.int16)))


@pytest.mark.parametrize(
    ("mask", "found"),
    [
        (torch.zeros(3, 5, dtype=torch.bool), r"bool of shape \(3, 5\)"),
        (torch.zeros(2, 6, dtype=torch.bool), r"bool of shape \(2, 6\)"),
        (torch.zeros(3, 6), r"float32 of shape \(3, 6\)"),
        (torch.zeros(3), r"float32 of shape \(3,\)"),
        (torch.zeros(3, dtype=torch.bool), r"bool of shape \(3,\)"),
        (torch.zeros(3, 6, dtype=torch.int64), r"int64 of shape \(3, 6\)"),
    ],
)
def test_other_masks_are_refused(mask: torch.Tensor, found: str) -> None:
    with pytest.raises(StoreError, match=f"query mask is torch.{found}"):
        random_model(SMALL)(torch.randn(3, 6, 24), torch.randn(3, 4, 24), mask)


def test_lists_and_arrays_are_refused_by_name() -> None:
    model, tensor = random_model(SMALL), torch.zeros(1, 2, 24)
    for descriptors in (tensor.tolist(), tensor.numpy()):
        kind = type(descriptors).__name__
        with pytest.raises(StoreError, match=f"descriptors: the network takes tensors, this is a {kind}"):
            model(src_local=tensor, tgt_local=descriptors)
    with pytest.raises(StoreError, match="gallery mask: the network takes tensors, this is a list"):
        model(tensor, tensor, None, [[False, True]])


@pytest.mark.parametrize("shape", [(1, 5, 1024), (5, 768), (1, 1, 5, 768)])
def test_other_descriptors_are_refused(shape: tuple[int, ...]) -> None:
    model = random_model(PUBLISHED["dinov2_ames"])
    with pytest.raises(StoreError, match=r"the model takes \(images, descriptors, 768\) of dinov2"):
        model.project(torch.zeros(shape))
    with pytest.raises(StoreError, match="the model takes"):
        model(torch.zeros(1, 2, 768), torch.zeros(shape), None, torch.tensor([1]))


@pytest.mark.parametrize("queries", [0, 2, 4])
def test_queries_must_share_the_gallery_evenly(queries: int) -> None:
    with pytest.raises(StoreError, match=f"{queries} queries do not share 3 gallery images evenly"):
        random_model(SMALL)(torch.zeros(queries, 2, 24), torch.zeros(3, 2, 24))


@pytest.mark.parametrize("masked", [False, True])
def test_no_gallery_images_get_no_logits(masked: bool) -> None:
    mask = torch.zeros(0, 4, dtype=torch.bool) if masked else None
    logits = random_model(SMALL)(torch.randn(1, 6, 24), torch.randn(0, 4, 24), None, mask)
    assert logits.shape == (0,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"descriptor_dim": 0}, "descriptor_dim=0"),
        ({"descriptor_dim": 8, "blocks": 0}, "blocks=0"),
        ({"descriptor_dim": 8, "dim": 15}, "dim=15 is not a multiple of heads=2"),
        ({"descriptor_dim": 8, "dim": 12, "binary": True}, "12 signs do not fill whole bytes"),
        ({"descriptor_dim": 8, "binary": True, "bits": 4}, "4 signs do not fill whole bytes"),
        ({"descriptor_dim": 8, "binary": True, "bits": 0}, "0 signs do not fill whole bytes"),
        ({"descriptor_dim": 8, "bits": 8}, "bits=8 of a network that is not binary"),
    ],
)
def test_impossible_sizes_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AmesOptions(**options)  # type: ignore[arg-type]  # `binary` is a bool, the others are ints

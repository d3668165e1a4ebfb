from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from ames_ray.backbones.cvnet import resnet101, to_ours
from ames_ray.backbones.cvnet_network import CVNet, gem
from ames_ray.errors import WeightsError
from tests.descriptors import recipe

if TYPE_CHECKING:
    from pathlib import Path


def test_every_published_name_has_its_place() -> None:
    with torch.device("meta"):
        network = CVNet()
        state = {key: torch.empty(shape) for key, shape in recipe.cvnet_shapes().items()}
    ours = {key: value.shape for key, value in to_ours(state).items()}
    assert ours == {key: value.shape for key, value in network.state_dict().items()}
    assert len(ours) == 627


@pytest.mark.parametrize(
    "name",
    [
        "queue",
        "encoder_k.s1.b1.f.a.weight",
        "blocks.0.attn.proj.weight",
        "s9.b1.f.a.weight",
        "head.x",
        "s1.b1.f.d.weight",
    ],
)
def test_other_names_are_kept(name: str) -> None:
    assert list(to_ours({name: torch.zeros(1)})) == [name]


def test_mean_of_power_one_and_large_power() -> None:
    maps = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)) + 0.1
    torch.testing.assert_close(gem(maps, torch.tensor([1.0])), maps.mean(dim=(2, 3)))
    torch.testing.assert_close(gem(maps, torch.tensor([80.0])), maps.amax(dim=(2, 3)), rtol=0.05, atol=0)


def test_weights_must_be_named() -> None:
    with pytest.raises(WeightsError, match="cvnet needs weights=FILE") as caught:
        resnet101().load()
    assert caught.value.hint is not None
    assert "CVPR2022_CVNet_R101.pyth" in caught.value.hint


def test_a_file_with_a_weight_missing_is_refused(tmp_path: Path) -> None:
    shapes = recipe.cvnet_shapes()
    del shapes["s3.b23.f.c_bn.weight"]
    state = {f"encoder_q.{key}": torch.zeros(()).expand(shape) for key, shape in shapes.items()}
    torch.save({"model_state": state}, tmp_path / "w.pyth")
    with pytest.raises(
        WeightsError, match=r"matched 626 of 627 weights; missing: trunk\..*stages\.2\.layers\.22"
    ):
        resnet101(str(tmp_path / "w.pyth")).load()

from __future__ import annotations

import subprocess
import sys

import pytest

from ames_ray.backbones.base import NetworkBackbone, PictureBackbone
from ames_ray.backbones.registry import BACKBONES, find_backbone
from ames_ray.errors import ConfigError
from ames_ray.model.options import BUNDLED, PUBLISHED, AmesOptions

WIDTHS = {
    "dinov2": (768, {"global": 768, "cls": 768}),
    "dinov2_vits14_reg": (384, {"global": 384, "cls": 384}),
    "dinov2_vitb14_reg": (768, {"global": 768, "cls": 768}),
    "dinov2_vitl14_reg": (1024, {"global": 1024, "cls": 1024}),
    "dinov2_vitg14_reg": (1536, {"global": 1536, "cls": 1536}),
    "cvnet": (1024, {"global": 2048}),
    "sift": (128, {"global": 2048}),
    "blank": (128, {"global": 128}),
}


@pytest.mark.parametrize("name", WIDTHS)
def test_widths_are_known_without_weights(name: str) -> None:
    backbone = find_backbone(name)
    assert (backbone.info.dim, dict(backbone.info.pooled)) == WIDTHS[name]
    assert isinstance(backbone, PictureBackbone if name in {"sift", "blank"} else NetworkBackbone)


def test_every_name_is_covered() -> None:
    assert set(BACKBONES) == {*WIDTHS, "hf"}


@pytest.mark.parametrize("options", [*PUBLISHED.values(), *BUNDLED.values()], ids=[*PUBLISHED, *BUNDLED])
def test_networks_name_their_backbone_as_stores_do(options: AmesOptions) -> None:
    assert options.backbone is not None
    info = find_backbone(options.backbone).info
    assert (info.name, info.dim) == (options.backbone, options.descriptor_dim)


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(ConfigError, match="there is no backbone 'dinov2_vitb14'") as caught:
        find_backbone("dinov2_vitb14")
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("did you mean dinov2_vitb14_reg?")


def test_an_unlike_name_gets_all() -> None:
    with pytest.raises(ConfigError, match=r"known: dinov2, .*, hf:<id or folder>"):
        find_backbone("xyz")


@pytest.mark.parametrize("name", ["sift", "blank", "hf:folder"])
def test_weights_that_have_no_place(name: str) -> None:
    with pytest.raises(ConfigError, match=r"weights=some\.pth"):
        find_backbone(name, "some.pth")


def test_hf_alone_names_no_model() -> None:
    with pytest.raises(ConfigError, match="which model"):
        find_backbone("hf")


@pytest.mark.parametrize("name", ["sift", "blank", "dinov2", "cvnet"])
def test_planning_loads_neither_torch_nor_transformers(name: str) -> None:
    code = (
        "import sys\n"
        "from ames_ray.descriptors.extractor import ExtractorOptions, build_extractor, static_spec\n"
        f"options = ExtractorOptions({name!r})\n"
        "static_spec(options)\n"
        f"build_extractor(options, 'cpu') if {name!r} in ('sift', 'blank') else None\n"
        "print([m for m in ('torch', 'transformers', 'ray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_backbone_of_ones_own() -> None:
    assert find_backbone("ames_ray.backbones.blank:blank").info == find_backbone("blank").info


@pytest.mark.parametrize("name", ["nowhere.at.all:blank", "ames_ray.backbones.blank:nope"])
def test_a_backbone_of_ones_own_that_is_not_there(name: str) -> None:
    with pytest.raises(ConfigError, match=f"backbone={name} cannot be imported"):
        find_backbone(name)

"""Entry points of `torch.hub`: the four published AMES networks by their names, and two small ones of ours.

model = torch.hub.load("path/to/ames-ray", "dinov2_ames", source="local")
logits = model(src_local=torch.rand(1, 100, 768), tgt_local=torch.rand(1, 100, 768))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

dependencies = ["torch", "numpy"]

if TYPE_CHECKING:
    from ames_ray.model.ames import Ames


def _network(name: str, pretrained: bool) -> Ames:
    from ames_ray.errors import WeightsError
    from ames_ray.model.ames import Ames
    from ames_ray.model.checkpoints import load_ames
    from ames_ray.model.options import BUNDLED, PUBLISHED

    options = {**PUBLISHED, **BUNDLED}[name]
    if not pretrained:
        return Ames(options).eval()
    model = load_ames(name)
    if model.options != options:
        raise WeightsError(f"the file of {name} holds {model.options}, not {options}")
    return model


def dinov2_ames(pretrained: bool = True) -> Ames:
    """Full precision, for DINOv2 descriptors, 768 wide."""
    return _network("dinov2_ames", pretrained)


def dinov2_ames_dist(pretrained: bool = True) -> Ames:
    """Binary, distilled, for DINOv2 descriptors, 768 wide."""
    return _network("dinov2_ames_dist", pretrained)


def cvnet_ames(pretrained: bool = True) -> Ames:
    """Full precision, for CVNet descriptors, 1024 wide."""
    return _network("cvnet_ames", pretrained)


def cvnet_ames_dist(pretrained: bool = True) -> Ames:
    """Binary, distilled, for CVNet descriptors, 1024 wide."""
    return _network("cvnet_ames_dist", pretrained)


def sift_ames(pretrained: bool = True) -> Ames:
    """Full precision, 0.2 M parameters, for RootSIFT, 128 wide; the weights are in the package."""
    return _network("sift_ames", pretrained)


def sift_ames_dist(pretrained: bool = True) -> Ames:
    """Binary, 120 bits a descriptor, distilled from `sift_ames`."""
    return _network("sift_ames_dist", pretrained)

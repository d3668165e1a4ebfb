"""CVNet's ResNet-101 (Lee et al., CVPR 2022): trunk by `transformers`, pooling and last layer here.

Local descriptors are the map of stage 3 before its last ReLU; the global descriptor is GeM of stage 4 and a
fully connected layer, at three scales. The network is fed blue, green, red, as it was trained.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from ames_ray.backbones.base import (
    BackboneInfo,
    LoadedNetwork,
    NetworkBackbone,
    Preprocessing,
)
from ames_ray.errors import WeightsError
from ames_ray.images.transform import MEAN_RGB, STD_RGB

if TYPE_CHECKING:
    import torch

LOCAL_DIM = 1024
GLOBAL_DIM = 2048
SCALES = (0.7071, 1.0, 1.4142)
_HINT = "give the file CVPR2022_CVNet_R101.pyth of the CVNet authors"


def resnet101(weights: str | None = None) -> NetworkBackbone:
    """CVNet R101 with the weights of the authors' file."""
    info = BackboneInfo("cvnet", LOCAL_DIM, {"global": GLOBAL_DIM}, "pixels", "published")
    preprocessing = Preprocessing(
        channels="bgr",
        mean=MEAN_RGB,
        std=STD_RGB,
        scales=SCALES,
        patch=None,
        stride=16,
        centre=0.0,  # the receptive field's padding cancels its half width
    )
    return NetworkBackbone(info, preprocessing, partial(_load, weights))


def _load(weights: str | None) -> LoadedNetwork:
    import torch

    from ames_ray.backbones.cvnet_network import CVNet
    from ames_ray.backbones.weights import load_exactly, read_state, require_file, sha256_files

    if weights is None:
        raise WeightsError("backbone=cvnet needs weights=FILE; they are on no hub", _HINT)
    purpose = "weights of cvnet"
    path = require_file(weights, purpose, _HINT)
    state = to_ours(read_state(path, under="model_state", purpose=purpose, hint=_HINT))
    with torch.device("meta"):
        network = CVNet()
    load_exactly(network, state, path, _HINT)
    return LoadedNetwork(network.eval(), sha256_files([path]))


def to_ours(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The authors' weights under the names of our module; names that are not theirs are kept."""
    return {_rename(name): value for name, value in state.items()}


_STEM = {"conv": "convolution", "bn": "normalization"}
_IN_BLOCK = {
    "proj": "shortcut.convolution",
    "bn": "shortcut.normalization",
    "f.a": "layer.0.convolution",
    "f.a_bn": "layer.0.normalization",
    "f.b": "layer.1.convolution",
    "f.b_bn": "layer.1.normalization",
    "f.c": "layer.2.convolution",
    "f.c_bn": "layer.2.normalization",
}
_BLOCK_NAME = re.compile(r"s(?P<stage>[1-4])\.b(?P<block>[1-9]\d*)\.(?P<part>.+)\.(?P<kind>\w+)")


def _rename(name: str) -> str:
    first, _, rest = name.partition(".")
    part, _, kind = rest.rpartition(".")
    if first == "stem" and part in _STEM:
        return f"trunk.embedder.embedder.{_STEM[part]}.{kind}"
    if first == "head":
        return {"pool.p": "power", "fc.weight": "fc.weight", "fc.bias": "fc.bias"}.get(rest, name)
    found = _BLOCK_NAME.fullmatch(name)
    if found is None or found["part"] not in _IN_BLOCK:
        return name
    layer = f"stages.{int(found['stage']) - 1}.layers.{int(found['block']) - 1}"
    return f"trunk.encoder.{layer}.{_IN_BLOCK[found['part']]}.{found['kind']}"

"""What a backbone says about itself, and what it computes.

There are two kinds. A `NetworkBackbone` maps a batch of tensors to dense feature maps, from which local
descriptors are picked. A `PictureBackbone` looks at one picture and finds its features itself (SIFT).
Both are known without reading any weights, so that a run can be planned on a machine that has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from ames_ray.types import FloatArray, LocalFeatures, Pixels


@dataclass(frozen=True, slots=True)
class BackboneInfo:
    """What is known before any weights are read.

    Attributes:
        name: Canonical name; never a path.
        dim: Width D of a local descriptor.
        pooled: Width of each global descriptor by name.
        location: How the authors' files give locations: row and column as fractions of the picture's
            sides, or x and y in pixels.
        detector: Whether the published set-up has a detector (`published`), one can be trained and given
            (`optional`), or there is no place for one (`none`).
    """

    name: str
    dim: int
    pooled: Mapping[str, int]
    location: Literal["fraction", "pixels"]
    detector: Literal["published", "optional", "none"]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a picture becomes the input of a network, and how its feature map lies on the picture.

    Attributes:
        channels: Order of the colour planes that the network was trained on.
        mean: Red, green and blue; subtracted from pixels on [0, 1].
        std: Red, green and blue; divided by afterwards.
        scales: The picture is seen at each of these sizes.
        patch: Both sides are resized to multiples of this, or none for any size.
        stride: Input pixels from one cell of the feature map to the next.
        centre: Input pixels from the picture's edge to the centre of the first cell.
    """

    channels: Literal["bgr", "rgb"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    scales: tuple[float, ...]
    patch: int | None
    stride: int
    centre: float


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """What a network says about a batch of B inputs at one scale.

    Attributes:
        local: (B, D, h, w) float32 feature map.
        vectors: Global descriptors by name, each (B, D'), not normalised. Where there is no "global", it is
            the weighted mean of the local descriptors.
    """

    local: torch.Tensor
    vectors: Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class LoadedNetwork:
    """A network with its weights.

    Attributes:
        network: Normalised inputs (B, 3, H, W) to their `Maps`, none of which depends on another's; on the
            CPU, in evaluation mode, float32.
        sha256: Hash of the weights file.
    """

    network: torch.nn.Module
    sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class NetworkBackbone:
    """A backbone that computes dense feature maps.

    Attributes:
        info: What it is.
        preprocessing: What it wants to see.
        load: Reads the weights.
    """

    info: BackboneInfo
    preprocessing: Preprocessing
    load: Callable[[], LoadedNetwork]


@dataclass(frozen=True, slots=True, eq=False)
class PictureBackbone:
    """A backbone that finds features on its own.

    Attributes:
        info: What it is.
        describe: BGR uint8 pixels (H, W, 3) to features, strongest first, with x and y in these pixels, and
            to the global descriptors; no features where it finds none.
        sha256: Hash of the data that it depends on, or none.
    """

    info: BackboneInfo
    describe: Callable[[Pixels], tuple[LocalFeatures, Mapping[str, FloatArray]]]
    sha256: str | None


Backbone: TypeAlias = NetworkBackbone | PictureBackbone

"""One decoded picture to its features: what every extractor does, and how to get one.

`build_extractor` gives the extractor of a backbone by name. Its `prepare` runs in decoding threads and
touches neither weights nor device; its `extract` takes prepared pictures of one shape at a time.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ames_ray.backbones.base import NetworkBackbone
from ames_ray.backbones.registry import find_backbone
from ames_ray.errors import ConfigError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from ames_ray.backbones.base import Backbone
    from ames_ray.descriptors.views import View
    from ames_ray.types import ImageFeatures, ImageRecord, Pixels

NO_DETECTOR = "none"
HASHES = ("weights", "detector")
"""Settings that are known once the weights are read."""


@dataclass(frozen=True, slots=True)
class ExtractorOptions:
    """What decides the descriptors.

    Attributes:
        backbone: A name of `ames_ray.backbones.registry`, or `hf:<id or folder>`.
        weights: Weights file, folder or Hugging Face id; none for the published ones.
        detector: Detector weights file; "none" for descriptors picked by their norm.
        topk: Local descriptors kept per picture.
        imsize: Longer side of the whole picture after resizing [pixels], or none.
        min_side: Shortest side that a picture may have after cropping and resizing [pixels].
        precision: Arithmetic of the network; float32 is exact, without TF32.
    """

    backbone: str
    weights: str | None = None
    detector: str | None = None
    topk: int = 700
    imsize: int | None = None
    min_side: int = 1
    precision: Literal["float32", "bfloat16", "float16"] = "float32"


@dataclass(frozen=True, slots=True)
class ExtractorSpec:
    """What comes out of an extractor.

    Attributes:
        dim: Width of a local descriptor.
        pooled: Width of each global descriptor by name.
        settings: All that decides the numbers, as JSON values without paths.
        codec: How a store must keep them, or none where it may choose.
    """

    dim: int
    pooled: Mapping[str, int]
    settings: Mapping[str, Any]
    codec: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A picture that is ready for the network.

    Attributes:
        record: Its line of the list.
        key: Pictures of equal key can share a batch.
        inputs: The picture at each scale of the backbone.
        width: Width of the whole picture [pixels].
        height: Height of the whole picture [pixels].
        flag: Reason code of a suspicious picture, or none.
    """

    record: ImageRecord
    key: Hashable
    inputs: tuple[View, ...]
    width: int
    height: int
    flag: str | None


class Extractor(Protocol):
    """Pictures to features."""

    @property
    def spec(self) -> ExtractorSpec:
        """What comes out."""

    def prepare(self, record: ImageRecord, pixels: Pixels, flag: str | None) -> Prepared:
        """Crop and resize.

        Args:
            record: The line of the list; its `bbox` is cut out.
            pixels: (H, W, 3) uint8 BGR, the whole picture after its EXIF rotation.
            flag: Handed on to the features.

        Raises:
            ImageError: The box leaves nothing, or the picture is too small.
        """

    def extract(self, batch: Sequence[Prepared]) -> list[ImageFeatures]:
        """Features of pictures with equal `key`, in their order; each independent of the others."""


def build_extractor(options: ExtractorOptions, device: str) -> Extractor:
    """The extractor, its weights read and on the device.

    Args:
        options: What to extract.
        device: Torch name of the device; backbones without a network ignore it.

    Raises:
        ConfigError: There is no such backbone, or the options contradict each other.
        WeightsError: Weights or detector are missing or do not fit.
        UnsafeFileError: A weights file could run code.
    """
    backbone = find_backbone(options.backbone, options.weights)
    detector = _detector_file(options, backbone)
    if isinstance(backbone, NetworkBackbone):
        from ames_ray.descriptors.network import NetworkExtractor

        return NetworkExtractor(backbone, detector, options, device)
    from ames_ray.descriptors.picture import PictureExtractor

    return PictureExtractor(backbone, options)


def static_spec(options: ExtractorOptions) -> ExtractorSpec:
    """What an extractor would give, without reading weights; its settings lack the weights' hashes.

    Raises:
        ConfigError: There is no such backbone.
        WeightsError: The configuration of a Hugging Face model cannot be had.
    """
    return describe(find_backbone(options.backbone, options.weights), options, {})


def describe(
    backbone: Backbone, options: ExtractorOptions, hashes: Mapping[str, str | None]
) -> ExtractorSpec:
    """The spec of a backbone under the given options.

    Args:
        backbone: The backbone.
        options: The options.
        hashes: SHA-256 of `HASHES`, as far as there are any.
    """
    seen = asdict(backbone.preprocessing) if isinstance(backbone, NetworkBackbone) else {}
    settings = {
        "backbone": backbone.info.name,
        **hashes,
        "imsize": options.imsize,
        "min_side": options.min_side,
        "precision": options.precision,
        "location_convention": backbone.info.location,
        "preprocessing": {
            "resize": "factor of the whole picture's longer side, then crop",
            **{name: list(value) if isinstance(value, tuple) else value for name, value in seen.items()},
        },
    }
    return ExtractorSpec(backbone.info.dim, dict(backbone.info.pooled), settings)


def _detector_file(options: ExtractorOptions, backbone: Backbone) -> str | None:
    """Path of the detector, or none where its absence is said or implied."""
    rule = backbone.info.detector
    if options.detector == NO_DETECTOR or (options.detector is None and rule != "published"):
        return None
    if options.detector is None:
        raise WeightsError(
            f"backbone={options.backbone} is published with a detector, and none was named",
            "pass detector=FILE, or detector=none for descriptors picked by their norm",
        )
    if rule == "none":
        raise ConfigError(
            f"backbone={options.backbone} takes no detector, but detector={options.detector} was given",
            "drop detector=, or pass detector=none",
        )
    return options.detector

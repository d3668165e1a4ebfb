"""The sizes of an AMES network, and the four networks that its authors published."""

from __future__ import annotations

from dataclasses import dataclass

from ames_ray.errors import ConfigError


@dataclass(frozen=True, slots=True)
class AmesOptions:
    """Sizes of the network; the defaults are the paper's.

    Attributes:
        descriptor_dim: Width of a local descriptor as the backbone gives it.
        binary: Whether descriptors become signs, as in the distilled ("dist") networks.
        dim: Width of a token.
        heads: Attention heads.
        blocks: Transformer blocks.
        feedforward: Hidden width of a block's feed-forward part.
        bits: Signs of a descriptor in a binary network; none for `dim`, as in the published ones.
        backbone: Name that stores give the backbone whose descriptors it was trained on, or none where
            unknown.

    Raises:
        ConfigError: A size is not positive, `dim` is no multiple of `heads`, or the signs of a binary network
            do not fill whole bytes.
    """

    descriptor_dim: int
    binary: bool = False
    dim: int = 128
    heads: int = 2
    blocks: int = 5
    feedforward: int = 1024
    bits: int | None = None
    backbone: str | None = None

    def __post_init__(self) -> None:
        if self.bits == self.dim:  # Equal networks have equal options.
            object.__setattr__(self, "bits", None)
        for name in ("descriptor_dim", "dim", "heads", "blocks", "feedforward"):
            if getattr(self, name) < 1:
                raise ConfigError(f"model: {name}={getattr(self, name)}; allowed are whole numbers from 1")
        if self.dim % self.heads:
            raise ConfigError(f"model: dim={self.dim} is not a multiple of heads={self.heads}")
        if not self.binary and self.bits is not None:
            raise ConfigError(f"model: bits={self.bits} of a network that is not binary")
        if self.binary and (self.payload_dim % 8 or self.payload_dim < 1):
            raise ConfigError(
                f"model: {self.payload_dim} signs do not fill whole bytes", "use a multiple of 8, from 8 on"
            )

    @property
    def payload_dim(self) -> int:
        """Numbers or signs that a database keeps of a descriptor."""
        return self.dim if self.bits is None else self.bits


PUBLISHED = {
    "dinov2_ames": AmesOptions(768, backbone="dinov2_vitb14_reg"),
    "dinov2_ames_dist": AmesOptions(768, binary=True, backbone="dinov2_vitb14_reg"),
    "cvnet_ames": AmesOptions(1024, backbone="cvnet"),
    "cvnet_ames_dist": AmesOptions(1024, binary=True, backbone="cvnet"),
}
"""The published networks by name."""
BUNDLED = {
    "sift_ames": AmesOptions(128, dim=64, blocks=3, feedforward=256, backbone="sift"),
    "sift_ames_dist": AmesOptions(
        128, binary=True, dim=64, blocks=3, feedforward=256, bits=120, backbone="sift"
    ),
}
"""Networks of our own by name, small and for `backbone=sift`, whose weights are part of the package."""

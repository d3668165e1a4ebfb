"""Training a detector: what it is judged by, and its file.

The authors published detectors, and not how they were trained. Known of a successor: the backbone is frozen,
and a metric loss looks at the weighted mean of the descriptors. A place that tells landmarks apart earns
weight, one that all of them share loses it. Loss, start and optimiser are ours.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from ames_ray.descriptors.detector import Detector
from ames_ray.descriptors.pooling import over_scales, weighted_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from ames_ray.files import Storage


def new_detector(dim: int, seed: int) -> Detector:
    """A detector to train: it describes a place as the backbone does, and weighs all places nearly alike."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        detector = Detector(dim)
    with torch.no_grad():
        # What the backbone has learnt is not thrown away: the first convolution starts as the identity.
        detector.conv1.weight.copy_(torch.eye(dim)[:, :, None, None])
        detector.conv1.bias.zero_()  # type: ignore[union-attr] # this convolution has one
    return detector


def pool(detector: Detector, pictures: Sequence[Sequence[Tensor]]) -> Tensor:
    """The global descriptors of pictures, as extraction makes them of a detector's weights.

    Args:
        detector: In training its normalisation sees the places of all pictures together.
        pictures: For each picture its feature maps (C, h, w), one a scale; their sizes may differ.

    Returns:
        (B, C), L2-normalised.
    """
    maps = [scale for picture in pictures for scale in picture]
    # To 1×1 convolutions a row of places is as good as a map, so pictures of all shapes go through as one.
    cells = torch.cat([scale.flatten(1) for scale in maps], dim=1)[None, :, None]
    descriptors, weights = detector(cells)
    lengths = [scale[0].numel() for scale in maps]
    means = [
        weighted_mean(d, w)
        for d, w in zip(descriptors.split(lengths, dim=3), weights.split(lengths, dim=2), strict=True)
    ]
    scales = len(pictures[0])
    return over_scales([torch.cat(means[scale::scales]) for scale in range(scales)])


def contrastive_loss(vectors: Tensor, labels: Tensor, temp: float) -> Tensor:
    """Cross-entropy of finding a picture of the same landmark among all others of the batch.

    Source: Khosla et al., Supervised contrastive learning, NeurIPS 2020 (the mean outside of the logarithm).

    Args:
        vectors: (B, C), L2-normalised.
        labels: (B,) landmarks.
        temp: Divides the similarities; smaller looks at the hardest alone.

    Returns:
        The mean over the pictures that have another of their landmark in the batch; there must be some.
    """
    itself = torch.eye(len(labels), dtype=torch.bool, device=vectors.device)
    same = (labels[:, None] == labels) & ~itself
    similarities = (vectors @ vectors.T / temp).masked_fill(itself, float("-inf"))
    found = F.log_softmax(similarities, dim=1).masked_fill(~same, 0).sum(1) / same.sum(1).clamp(min=1)
    return -found[same.any(1)].mean()


def nearest_is_same(vectors: Tensor, labels: Tensor) -> float:
    """Share of pictures, among those that can, whose nearest other one shows their landmark."""
    similarities = vectors @ vectors.T
    similarities.fill_diagonal_(float("-inf"))
    right = labels[similarities.argmax(1)] == labels
    counted = (labels[:, None] == labels).sum(1) > 1
    return float(right[counted].float().mean())


def save_detector(detector: Detector, output: Storage, name: str) -> None:
    """Write the weights as the published files are laid out, whole or not at all."""
    state = {name: value.detach().cpu().contiguous() for name, value in detector.state_dict().items()}
    buffer = io.BytesIO()
    torch.save({"state": state}, buffer)
    output.publish(name, buffer.getvalue())

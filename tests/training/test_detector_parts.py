"""What a detector is trained by, against slow plain forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from ames_ray.errors import DatasetError
from ames_ray.training.detector import contrastive_loss, nearest_is_same, new_detector, pool
from ames_ray.training.landmark_batches import LandmarkBatches
from ames_ray.training.sampler import UNKNOWN

DIM = 16


@given(st.lists(st.integers(0, 3), min_size=2, max_size=8), st.integers(0, 99))
def test_the_loss_is_the_mean_cross_entropy_of_each_pair(labels: list[int], seed: int) -> None:
    vectors = F.normalize(
        torch.from_numpy(np.random.default_rng(seed).standard_normal((len(labels), 5))), dim=1
    )
    losses, right = [], []
    for i, label in enumerate(labels):
        others = [j for j in range(len(labels)) if j != i]
        logits = {j: float(vectors[i] @ vectors[j]) / 0.2 for j in others}
        total = math.log(sum(math.exp(value) for value in logits.values()))
        pairs = [total - logits[j] for j in others if labels[j] == label]
        if pairs:
            losses.append(sum(pairs) / len(pairs))
            right.append(labels[max(logits, key=lambda j: logits[j])] == label)
    if losses:
        found = contrastive_loss(vectors, torch.tensor(labels), 0.2)
        assert float(found) == pytest.approx(sum(losses) / len(losses))
        assert nearest_is_same(vectors, torch.tensor(labels)) == pytest.approx(sum(right) / len(right))


def test_the_gradient_of_the_loss_is_right() -> None:
    labels = torch.tensor([0, 0, 1, 2, 1])
    values = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: contrastive_loss(F.normalize(v, dim=1), labels, 0.3), (values,))


def test_pooling_pictures_together_is_pooling_each_alone() -> None:
    random = torch.Generator().manual_seed(0)
    detector = new_detector(DIM, 1).eval()
    pictures = [
        [torch.randn(DIM, h, w, generator=random) for h, w in shapes]
        for shapes in ([(3, 4), (5, 6)], [(2, 2), (1, 7)], [(6, 1), (3, 3)])
    ]
    together = pool(detector, pictures)
    for vector, scales in zip(together, pictures, strict=True):
        alone = torch.zeros(DIM)
        for scale in scales:
            descriptors, weights = detector(scale[None])
            mean = (descriptors[0] * weights[0]).flatten(1).mean(1)
            alone += mean / mean.norm()
        torch.testing.assert_close(vector, alone / alone.norm(), atol=1e-5, rtol=1e-4)


def test_in_training_all_places_of_a_batch_are_normalised_together() -> None:
    random = torch.Generator().manual_seed(0)
    pictures = [[torch.randn(DIM, h, 3, generator=random) * h] for h in (2, 5)]
    detector = new_detector(DIM, 1).train()
    pool(detector, pictures)
    cells = torch.cat([picture[0].flatten(1) for picture in pictures], dim=1)
    torch.testing.assert_close(detector.bn.running_mean, 0.1 * cells.mean(1))
    torch.testing.assert_close(detector.bn.running_var, 0.9 + 0.1 * cells.var(1))


@given(st.lists(st.integers(-1, 4), min_size=4, max_size=30), st.integers(0, 50))
def test_batches_hold_pictures_of_landmarks_that_have_two(labels: list[int], step: int) -> None:
    array = np.array(labels)
    counts = {label: labels.count(label) for label in set(labels) - {UNKNOWN}}
    usable = [label for label, count in counts.items() if count > 1]
    if len(usable) < 2:
        with pytest.raises(DatasetError, match="landmarks have two pictures"):
            LandmarkBatches(array, landmarks=3, images=2, seed=0)
        return
    found = LandmarkBatches(array, landmarks=3, images=2, seed=0)
    rows = found.rows(step)
    assert rows.tolist() == found.rows(step).tolist()
    assert len(set(rows.tolist())) == len(rows) == 2 * min(3, len(usable))
    assert found.labels(rows).tolist() == [labels[row] for row in rows]
    assert all(labels[row] in usable for row in rows)
    assert (found.landmarks, found.pictures) == (len(usable), sum(counts[label] for label in usable))

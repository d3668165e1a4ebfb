"""Training a detector: its parts against slow plain forms, and what it learns where the answer is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ames_ray.descriptors.detector import Detector, NormWeights, load_detector
from ames_ray.errors import ConfigError, DatasetError, RunError
from ames_ray.files import Storage
from ames_ray.training.checkpoint import Checkpoints
from ames_ray.training.detector import (
    contrastive_loss,
    nearest_is_same,
    new_detector,
    pool,
    save_detector,
)
from ames_ray.training.detector_loop import DetectorOptions, DetectorStep, fit_detector
from ames_ray.training.landmark_batches import LandmarkBatches
from ames_ray.training.output import CHECKPOINTS
from ames_ray.training.sampler import UNKNOWN
from ames_ray.types import BoolArray, IntArray

DIM, LANDMARKS, EACH = 16, 12, 6
LABELS = np.repeat(np.arange(LANDMARKS), EACH)
OPTIONS = DetectorOptions(steps=60, lr=0.01, checkpoint_every=7)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


class Synthetic:
    """Pictures of places of two kinds: some that tell the landmark, more that say the same everywhere.

    Channel 0 is high where a place is informative and channel 1 where it is not; a detector has to find that
    out. The places that say nothing are the stronger ones, so picking by norm takes the wrong ones.
    """

    dim = DIM

    def __init__(self, unreadable: frozenset[int] = frozenset(), poisoned: int | None = None) -> None:
        random = np.random.default_rng(0)
        self._signs = random.standard_normal((LANDMARKS, DIM - 2)).astype(np.float32)
        self._clutter = random.standard_normal((5, DIM - 2)).astype(np.float32)
        self._unreadable = unreadable
        self._poisoned = poisoned

    def names(self, rows: IntArray) -> list[str]:
        return [f"picture{row}" for row in rows]

    def prepare(self, rows: IntArray) -> Sequence[Any | None]:
        return [None if int(row) in self._unreadable else int(row) for row in rows]

    def trouble(self) -> str | None:
        return f"picture{min(self._unreadable)}: it is torn" if self._unreadable else None

    def maps(self, pictures: Sequence[Any]) -> list[list[Tensor]]:
        return [[self.map(row)[0]] for row in pictures]

    def map(self, row: int) -> tuple[Tensor, BoolArray]:
        """The feature map (C, h, w) of a picture, and where it is informative (h, w)."""
        random = np.random.default_rng((1, row))
        height, width = 4 + row % 3, 5
        informative = random.random((height, width)) < 0.3
        informative[0, 0] = True
        says = np.where(
            informative[..., None],
            self._signs[LABELS[row]],
            3 * self._clutter[random.integers(0, 5, (height, width))],
        )
        kinds = np.stack([informative, ~informative], axis=-1)
        cells = np.concatenate([kinds, says], axis=-1) + 0.3 * random.standard_normal((height, width, DIM))
        if row == self._poisoned:
            cells[0, 0, 0] = np.nan
        return torch.from_numpy(cells.astype(np.float32)).permute(2, 0, 1), informative


def batches(seed: int = 0) -> LandmarkBatches:
    return LandmarkBatches(LABELS, landmarks=6, images=3, seed=seed)


def fit(output: Path, source: Synthetic, options: DetectorOptions = OPTIONS, **words: Any) -> Detector:
    return fit_detector(source, batches(), options, Storage.at(output), settings={"images": "x"}, **words)


def share_picked(source: Synthetic, weigh: torch.nn.Module) -> float:
    """How many of the strongest places are informative, where as many are taken as there are such."""
    right = total = 0
    for row in range(LANDMARKS * EACH):
        maps, informative = source.map(row)
        with torch.no_grad():
            order = weigh(maps[None])[1].flatten().argsort(descending=True).numpy()
        count = int(informative.sum())
        right, total = right + int(informative.ravel()[order[:count]].sum()), total + count
    return right / total


def test_informative_places_gain_weight_and_the_file_is_read_back(tmp_path: Path) -> None:
    source = Synthetic()
    steps: list[DetectorStep] = []
    detector = fit(tmp_path, source, report=steps.append)
    save_detector(detector, Storage.at(tmp_path), "detector.pt")
    loaded, _ = load_detector(str(tmp_path / "detector.pt"), DIM, "synthetic")
    first = new_detector(DIM, OPTIONS.seed).eval()
    picked = [share_picked(source, network) for network in (NormWeights(), first, loaded)]
    assert max(picked[:2]) < 0.6
    assert picked[2] > 0.98
    assert np.mean([s.loss for s in steps[-10:]]) < np.mean([s.loss for s in steps[:10]]) / 2
    assert steps[-1].nearest > 0.9
    assert [s.step for s in steps] == list(range(1, OPTIONS.steps + 1))


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("last", [3, 14, 59])
def test_a_stopped_run_goes_on_to_the_same_weights(last: int, tmp_path: Path) -> None:
    curve: list[float] = []
    expected = fit(tmp_path / "whole", Synthetic(), report=lambda step: curve.append(step.loss))

    def stop(step: DetectorStep) -> None:
        if step.step == last:
            raise StoppedError

    with pytest.raises(StoppedError):
        fit(tmp_path / "cut", Synthetic(), report=stop)
    again: list[DetectorStep] = []
    found = fit(tmp_path / "cut", Synthetic(), report=again.append)
    # The report of a step comes before its checkpoint.
    assert again[0].step == (last - 1) // OPTIONS.checkpoint_every * OPTIONS.checkpoint_every + 1
    assert [step.loss for step in again] == curve[again[0].step - 1 :]
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, rtol=0, atol=0)
    logs = [(tmp_path / run / "log.csv").read_text().splitlines() for run in ("whole", "cut")]
    assert [line.split(",")[:3] for line in logs[0]] == [line.split(",")[:3] for line in logs[1]]


def test_a_run_with_other_settings_is_refused(tmp_path: Path) -> None:
    options = DetectorOptions(steps=2, checkpoint_every=1)
    fit(tmp_path, Synthetic(), options)
    with pytest.raises(ConfigError, match=r"lr: 0.001, now 0.5"):
        fit(tmp_path, Synthetic(), DetectorOptions(steps=2, checkpoint_every=1, lr=0.5))


@pytest.mark.parametrize("older", [False, True])
def test_a_run_goes_on_with_more_or_fewer_checkpoints(older: bool, tmp_path: Path) -> None:
    options = DetectorOptions(steps=6, checkpoint_every=4)

    def stop(step: DetectorStep) -> None:
        if step.step == 5:
            raise StoppedError

    with pytest.raises(StoppedError):
        fit(tmp_path, Synthetic(), options, report=stop)
    if older:
        _keep_as_older_versions_did(Storage.at(tmp_path), options.checkpoint_every)
    again: list[int] = []
    fit(tmp_path, Synthetic(), replace(options, checkpoint_every=1), report=lambda s: again.append(s.step))
    assert again == [5, 6]


def _keep_as_older_versions_did(output: Storage, checkpoint_every: int) -> None:
    checkpoints = Checkpoints(output.child(CHECKPOINTS))
    name = checkpoints.latest()
    assert name is not None
    position, state = checkpoints.load(name)
    output.child(CHECKPOINTS).delete(name)
    settings = {**state["settings"], "checkpoint_every": checkpoint_every}
    checkpoints.save(position, {**state, "settings": settings})


def test_unreadable_pictures_are_counted_and_left_out(tmp_path: Path) -> None:
    steps: list[DetectorStep] = []
    everything = frozenset(range(LANDMARKS * EACH))
    source = Synthetic(unreadable=everything - {0, 1, 30, 31})
    before = new_detector(DIM, 0).state_dict()
    detector = fit(tmp_path, source, DetectorOptions(steps=40), report=steps.append)
    empty = [step for step in steps if math.isnan(step.loss)]
    assert empty
    assert len(empty) < len(steps)
    assert all(14 <= step.failed <= 18 for step in steps)
    assert not torch.equal(before["conv2.weight"], detector.state_dict()["conv2.weight"])


@pytest.mark.parametrize("steps", [5, 60])
def test_a_run_that_would_learn_nothing_does_not_begin(tmp_path: Path, steps: int) -> None:
    told: list[DetectorStep] = []
    # One picture of each landmark is no pair.
    source = Synthetic(unreadable=frozenset(row for row in range(LANDMARKS * EACH) if row % EACH))
    with pytest.raises(RunError, match=rf"in {steps} steps no two pictures .* picture1: it is torn"):
        fit(tmp_path, source, replace(OPTIONS, steps=steps), report=told.append)
    assert told == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("anew", [False, True])
def test_a_run_whose_pictures_are_gone_stays_as_it_is(anew: bool, tmp_path: Path) -> None:
    """Neither does it go on without them, nor is it deleted for want of others."""

    def stop(step: DetectorStep) -> None:
        if step.step == 8:
            raise StoppedError

    with pytest.raises(StoppedError):
        fit(tmp_path, Synthetic(), report=stop)
    before = {path: path.read_bytes() for path in (tmp_path / CHECKPOINTS).iterdir()}
    nothing = Synthetic(unreadable=frozenset(range(LANDMARKS * EACH)))
    with pytest.raises(RunError, match=r"in 60 steps no two pictures .* picture0: it is torn"):
        fit(tmp_path, nothing, anew=anew)
    assert {path: path.read_bytes() for path in (tmp_path / CHECKPOINTS).iterdir()} == before


def test_a_loss_that_is_not_finite_names_the_pictures(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"step \d+: the loss is nan; .*picture7"):
        fit(tmp_path, Synthetic(poisoned=7))


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

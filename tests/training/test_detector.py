"""Training a detector where the answer is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ames_ray.descriptors.detector import Detector, NormWeights, load_detector
from ames_ray.errors import ConfigError, RunError
from ames_ray.files import Storage
from ames_ray.training.checkpoint import Checkpoints
from ames_ray.training.detector import (
    new_detector,
    save_detector,
)
from ames_ray.training.detector_loop import DetectorOptions, DetectorStep, fit_detector
from ames_ray.training.landmark_batches import LandmarkBatches
from ames_ray.training.output import CHECKPOINTS
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


class Counting(Synthetic):
    """Knows how often pictures were read."""

    times = 0

    def prepare(self, rows: IntArray) -> Sequence[Any | None]:
        self.times += 1
        return super().prepare(rows)


@pytest.mark.parametrize("anew", [False, True])
def test_each_batch_is_read_once(anew: bool, tmp_path: Path) -> None:
    source = Counting(unreadable=frozenset(range(LANDMARKS * EACH)) - {0, 1, 30, 31})
    fit(tmp_path, source, replace(OPTIONS, steps=12), anew=anew)
    assert source.times == 12


def test_a_run_whose_last_step_has_no_pair_goes_on_to_its_end(tmp_path: Path) -> None:
    source = Synthetic(unreadable=frozenset(range(LANDMARKS * EACH)) - {0, 1, 30, 31})
    whole: list[DetectorStep] = []
    fit(tmp_path / "whole", source, replace(OPTIONS, steps=40), report=whole.append)
    last = max(step.step for step in whole if math.isnan(step.loss))

    def stop(step: DetectorStep) -> None:
        if step.step == last:
            raise StoppedError

    options = replace(OPTIONS, steps=last, checkpoint_every=1)
    with pytest.raises(StoppedError):
        fit(tmp_path / "cut", source, options, report=stop)
    again: list[DetectorStep] = []
    fit(tmp_path / "cut", source, options, report=again.append)
    assert [step.step for step in again] == [last]
    assert math.isnan(again[0].loss)


def test_a_loss_that_is_not_finite_names_the_pictures(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"step \d+: the loss is nan; .*picture7"):
        fit(tmp_path, Synthetic(poisoned=7))

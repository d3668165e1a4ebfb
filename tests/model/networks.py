"""Small networks and batches that several tests use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ames_ray.model.ames import Ames
from ames_ray.model.options import AmesOptions
from ames_ray.types import AnyArray, FeatureBatch

GOLDEN = Path(__file__).parents[1] / "golden"
SMALL = AmesOptions(24, dim=16, blocks=3, feedforward=32)
SMALL_BINARY = AmesOptions(24, binary=True, dim=16, blocks=3, feedforward=32)


def golden(name: str) -> dict[str, torch.Tensor]:
    with np.load(GOLDEN / f"{name}.npz") as archive:
        return {key: torch.from_numpy(np.asarray(archive[key])) for key in archive}


def golden_model(name: str) -> Ames:
    """The network whose outputs the golden file holds."""
    model = Ames(SMALL_BINARY if name == "ames_binary" else SMALL)
    state = {k.removeprefix("state."): v for k, v in golden(name).items() if k.startswith("state.")}
    model.load_state_dict(state)
    return model.eval()


def random_model(options: AmesOptions, seed: int = 0) -> Ames:
    """A network whose every parameter is far from its initial value, so that none can be forgotten."""
    torch.manual_seed(seed)
    model = Ames(options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model.eval()


def batch(count: int, length: int, width: int, seed: int = 0, first_row: int = 0) -> FeatureBatch:
    """Random raw descriptors, float32, each image with at least one and NaN behind its last."""
    random = np.random.default_rng(seed)
    descriptors = random.standard_normal((count, length, width)).astype(np.float32)
    valid = np.arange(length) < random.integers(1, length + 1, count)[:, None]
    descriptors[~valid] = np.nan
    return FeatureBatch(np.arange(first_row, first_row + count), descriptors, valid)


def images(source: FeatureBatch, rows: AnyArray | slice) -> FeatureBatch:
    """Some images of a batch."""
    return FeatureBatch(source.rows[rows], source.descriptors[rows], source.valid[rows])

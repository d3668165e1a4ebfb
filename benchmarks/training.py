"""Training: a step against the textbook form, and two workers against one.

    python -m benchmarks.training                  a step in this process
    python -m benchmarks.training --scaling        one and two workers, by gloo
    python -m benchmarks.training --device cuda    a step on a GPU, also in bfloat16
    python -m benchmarks.training --small          a narrow network, to see that it runs; nothing is saved

Descriptors are random and in memory: how fast they are read is measured with the loader.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from copy import deepcopy
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.multiprocessing.spawn import spawn

from ames_ray.model.ames import Ames
from ames_ray.model.dense import dense_forward
from ames_ray.model.options import PUBLISHED, AmesOptions
from ames_ray.training.batch import TripletBatch
from ames_ray.training.group import Group
from ames_ray.training.options import TrainOptions
from ames_ray.training.plan import StepPlan
from ames_ray.training.step import TrainStep
from benchmarks.record import save
from benchmarks.scoring import in_turns

FULL, NARROW = PUBLISHED["dinov2_ames"], AmesOptions(32, dim=16, blocks=2, feedforward=32)
COUNTS = 205
"""Descriptors of an image: the mean of what the recipe draws."""
TRIPLETS = {"cpu": 24, "cuda": 100}
"""The textbook form keeps all attention weights: 100 triplets take 14 GB."""
SCALING_STEPS = 6


def random_batch(options: AmesOptions, triplets: int, count: int, device: torch.device) -> TripletBatch:
    """Random descriptors, no padding but the masks that a step gets."""
    torch.manual_seed(0)
    anchor = torch.randn(triplets, count, options.descriptor_dim)
    others = torch.randn(2 * triplets, count, options.descriptor_dim)
    valid = [torch.ones(len(side), count, dtype=torch.bool) for side in (anchor, others)]
    return TripletBatch(anchor, valid[0], others, valid[1]).to(device)


def plan_of(triplets: int, count: int) -> StepPlan:
    """A plan for such a batch."""
    return StepPlan(0, 0, np.arange(3 * triplets).reshape(-1, 3), count, count, count, count)


class DenseStep:
    """A step of the textbook form: one sequence, dense masks, attention weights in memory."""

    def __init__(self, model: Ames, device: torch.device, precision: str) -> None:
        self._model = model.to(device).train()
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4, weight_decay=5e-4)
        self._device, self._half = device, precision == "bfloat16"

    def __call__(self, batch: TripletBatch) -> float:
        """Do one step; returns its loss."""
        self._optimizer.zero_grad()
        anchor, padding = batch.anchor.repeat(2, 1, 1), ~batch.anchor_valid.repeat(2, 1)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            output = dense_forward(self._model, anchor, batch.others, padding, ~batch.others_valid)
        wanted = torch.tensor((1.0, 0.0), device=self._device).repeat_interleave(len(batch))
        loss = F.binary_cross_entropy_with_logits(output.similarity.float(), wanted)
        torch.autograd.backward(loss)
        self._optimizer.step()
        return loss.item()


def step(options: AmesOptions, triplets: int, count: int, device: torch.device) -> dict[str, Any]:
    """Seconds of a step in both forms, from the same weights on the same batch."""
    torch.manual_seed(0)
    model = Ames(options)
    batch, plan = random_batch(options, triplets, count, device), plan_of(triplets, count)
    group = Group(0, 1, device)
    dense = {p: DenseStep(deepcopy(model), device, p) for p in ("float32", "bfloat16")}
    ours = {
        "float32": TrainStep(deepcopy(model), TrainOptions(), 1000, group),
        "bfloat16": TrainStep(deepcopy(model), TrainOptions(precision="bfloat16"), 1000, group),
    }
    difference = abs(dense["float32"](batch) - ours["float32"](plan, batch).loss)
    seconds = in_turns(
        {
            "dense float32": lambda: dense["float32"](batch),
            "dense bfloat16": lambda: dense["bfloat16"](batch),
            "float32": lambda: ours["float32"](plan, batch),
            "bfloat16": lambda: ours["bfloat16"](plan, batch),
        },
        device.type,
    )
    return {
        "triplets": triplets,
        "descriptors": count,
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "triplets_per_s": {name: round(triplets / value, 2) for name, value in seconds.items()},
        "times_dense": {p: round(seconds[f"dense {p}"] / seconds[p], 2) for p in ours},
        "bfloat16_over_dense_float32": round(seconds["dense float32"] / seconds["bfloat16"], 2),
        "difference_of_first_losses": float(f"{difference:.1e}"),
    }


def scaling(options: AmesOptions, triplets: int, count: int) -> dict[str, Any]:
    """Triplets a second of one and of two processes with a thread each, which share each batch."""
    rates = {}
    for world in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            where = Path(folder)
            spawn(  # type: ignore[no-untyped-call]  # torch leaves it untyped
                _worker, args=(world, options, triplets, count, where), nprocs=world, join=True
            )
            rates[world] = triplets / median(json.loads((where / "seconds.json").read_text()))
    return {
        "triplets": triplets,
        "descriptors": count,
        "threads_a_worker": 1,
        "triplets_per_s": {str(world): round(rate, 2) for world, rate in rates.items()},
        "efficiency": round(rates[2] / rates[1] / 2, 3),
    }


def _worker(rank: int, world: int, options: AmesOptions, triplets: int, count: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=world
    )
    group = Group.current(torch.device("cpu"))
    torch.manual_seed(0)
    train = TrainStep(Ames(options), TrainOptions(), 1000, group)
    plan = plan_of(triplets, count).share(rank, world)
    batch = random_batch(options, len(plan.triplets), count, group.device)
    seconds = []
    for _ in range(SCALING_STEPS + 1):
        began = time.perf_counter()
        train(plan, batch)
        seconds.append(time.perf_counter() - began)
    if rank == 0:
        (folder / "seconds.json").write_text(json.dumps(seconds[1:]))
    torch.distributed.destroy_process_group()


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=sorted(TRIPLETS), default="cpu")
    parser.add_argument("--scaling", action="store_true", help="one and two workers")
    parser.add_argument("--triplets", type=int, help="triplets of a step; the recipe has 100")
    parser.add_argument("--small", action="store_true", help="a narrow network; nothing is saved")
    asked = parser.parse_args()
    options, count = (NARROW, 20) if asked.small else (FULL, COUNTS)
    if asked.scaling:
        section, result = "scaling", scaling(options, asked.triplets or 16, count)
    else:
        section = f"step {asked.device}"
        triplets = asked.triplets or TRIPLETS[asked.device]
        result = step(options, triplets, count, torch.device(asked.device))
    if asked.small:
        print(json.dumps({section: result}, indent=2))
        return
    save("training", section, result)


if __name__ == "__main__":
    main()

"""Pairs a second of AMES: the textbook form against the one that everything uses, in turns in one run.

python -m benchmarks.scoring                # some minutes on two cores
python -m benchmarks.scoring --device cuda
python -m benchmarks.scoring --kernels      # the measurement behind ames_ray.model.attention
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from copy import deepcopy
from itertools import product
from statistics import median
from typing import Any, get_args

import numpy as np
import torch

from ames_ray.model.ames import Ames
from ames_ray.model.ames_reranker import AmesReranker
from ames_ray.model.attention import Kernel, attend, choose_kernel
from ames_ray.model.dense import dense_forward
from ames_ray.model.options import PUBLISHED, AmesOptions
from ames_ray.types import FeatureBatch
from benchmarks.record import save

Work = Callable[[], object]

OPTIONS = PUBLISHED["dinov2_ames"]
SHAPES = ((600, 50), (600, 100), (100, 100), (600, 600))
ROUNDS = 7
# Pairs of a call: of the textbook form as many as fit the caches or the GPU's memory, of ours a shortlist.
PAIRS = {"cpu": (4, 32), "cuda": (32, 1600)}
PRODUCT_SIDE = {"cpu": 2048, "cuda": 8192}


def pair_flops(options: AmesOptions, queries: int, galleries: int) -> float:
    """What one more gallery image of a shortlist needs, its projection included; a multiply-add is two."""
    dim, tokens = options.dim, queries + galleries
    projections = 16 * tokens * dim**2  # query, key, value and output of both attentions
    feed_forward = 4 * tokens * dim * options.feedforward
    own, across = 4 * dim * (queries**2 + galleries**2), 8 * dim * queries * galleries
    everything = options.blocks * (projections + feed_forward + own + across)
    last_block = projections / 2 + feed_forward + across
    shared = 8 * queries * dim**2 + 4 * dim * queries**2
    return everything - last_block - shared + 2 * galleries * options.descriptor_dim * dim


def in_turns(works: dict[str, Work], device: str) -> dict[str, float]:
    """Median seconds of each; in turns, so that a slow moment of the machine hits all alike."""

    def seconds(work: Work) -> float:
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    for work in works.values():
        seconds(work)
    turns = [{name: seconds(work) for name, work in works.items()} for _ in range(ROUNDS)]
    return {name: median(turn[name] for turn in turns) for name in works}


def scoring(queries: int, galleries: int, device: str) -> dict[str, Any]:
    """One shape: pairs a second, ratios to the textbook form, and shares of the machine's product rate."""
    torch.manual_seed(0)
    model = Ames(OPTIONS).eval().to(device)
    dense_pairs, pairs = PAIRS[device]
    query, gallery = descriptors(1, queries), descriptors(pairs, galleries)
    source = torch.from_numpy(query.descriptors).to(device).expand(dense_pairs, -1, -1)
    target = torch.from_numpy(gallery.descriptors[:dense_pairs]).to(device)
    float32 = AmesReranker(deepcopy(model), device=device)
    bfloat16 = AmesReranker(deepcopy(model), device=device, precision="bfloat16")
    projected = float32.project(gallery)
    with torch.inference_mode():
        difference = dense_forward(model, source, target).similarity.cpu().numpy()
        difference -= float32(query, gallery)[:dense_pairs]
        times = in_turns(
            {
                "dense": lambda: dense_forward(model, source, target),
                "float32": lambda: float32(query, gallery),
                "bfloat16": lambda: bfloat16(query, gallery),
                "float32 projected": lambda: float32(query, projected),
                "bfloat16 projected": lambda: bfloat16(query, projected),
                "product float32": product_of(torch.float32, device),
                "product bfloat16": product_of(torch.bfloat16, device),
            },
            device,
        )
    rates = {name: pairs / times[name] for name in ("float32", "bfloat16", "float32 projected")}
    rates |= {
        "dense": dense_pairs / times["dense"],
        "bfloat16 projected": pairs / times["bfloat16 projected"],
    }
    peaks = {t: 2 * PRODUCT_SIDE[device] ** 3 / times[f"product {t}"] for t in ("float32", "bfloat16")}
    work = pair_flops(OPTIONS, queries, galleries)
    return {
        "queries": queries,
        "galleries": galleries,
        "pairs_per_s": {name: round(rate, 1) for name, rate in sorted(rates.items())},
        "times_dense": {name: round(rate / rates["dense"], 2) for name, rate in sorted(rates.items())},
        "bfloat16_over_float32": round(rates["bfloat16"] / rates["float32"], 2),
        "gflop_per_pair": round(work / 1e9, 3),
        "product_gflops": {name: round(rate / 1e9, 1) for name, rate in peaks.items()},
        "share_of_product": {name: round(rates[name] * work / rate, 2) for name, rate in peaks.items()},
        "largest_difference_to_dense": float(f"{np.abs(difference).max():.1e}"),
    }


def kernels(device: str) -> list[dict[str, Any]]:
    """GFLOP/s of both attention kernels by size and type, and which of them is chosen."""
    rows = []
    for dtype, long, wide in product(
        (torch.float32, torch.bfloat16), (51, 101, 301, 601), (51, 101, 301, 601)
    ):
        images = max(1, PAIRS[device][1] * 100 // max(long, wide))
        query, keys, values = (
            torch.randn(images, n, 128, dtype=dtype, device=device) for n in (long, wide, wide)
        )
        works: dict[str, Work] = {
            kernel: _attention(query, keys, values, kernel) for kernel in get_args(Kernel)
        }
        with torch.inference_mode():
            times = in_turns(works, device)
        operations = 4 * images * long * wide * 128
        rates = {kernel: round(operations / seconds / 1e9, 1) for kernel, seconds in times.items()}
        shape = {"dtype": str(dtype).removeprefix("torch."), "queries": long, "keys": wide}
        rows.append(shape | {"gflops": rates, "chosen": choose_kernel(query)})
    return rows


def _attention(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, kernel: Kernel) -> Work:
    return lambda: attend(query, keys, values, None, OPTIONS.heads, kernel)


def product_of(dtype: torch.dtype, device: str) -> Work:
    """A large square product, whose rate is taken for that of the machine."""
    left, right = torch.randn(2, PRODUCT_SIDE[device], PRODUCT_SIDE[device], dtype=dtype, device=device)
    return lambda: left @ right


def descriptors(count: int, length: int) -> FeatureBatch:
    """Random ones of so many images, no padding."""
    random = np.random.default_rng(length)
    descriptors = random.standard_normal((count, length, OPTIONS.descriptor_dim), np.float32)
    return FeatureBatch(np.arange(count), descriptors, np.ones((count, length), bool))


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=sorted(PAIRS), default="cpu")
    parser.add_argument("--kernels", action="store_true", help="attention kernels alone")
    asked = parser.parse_args()
    if asked.kernels:
        save("scoring", f"kernels {asked.device}", {"kernels": kernels(asked.device)})
        return
    what = f"medians of {ROUNDS} turns, (textbook, ours) pairs a call: {PAIRS[asked.device]}"
    save("scoring", asked.device, {"what": what, "shapes": [scoring(*s, asked.device) for s in SHAPES]})


if __name__ == "__main__":
    main()

"""What torch's kernels alone would take for the work of the network, beside the network, in turns in one run.

    python -m benchmarks.scoring_parts

Products without their biases, and attention: no network of these kernels is faster than their sum. How far
that sum stays below the rate of a large product is what the kernels lose; what the network takes beyond it,
for biases, sums, norms and the matching token, is its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F

from ames_ray.model.ames import Ames
from ames_ray.model.ames_reranker import TOKENS_PER_STEP, AmesReranker
from ames_ray.model.attention import attend
from benchmarks.record import save
from benchmarks.scoring import OPTIONS, PAIRS, PRODUCT_SIDE, descriptors, in_turns, pair_flops, product_of

if TYPE_CHECKING:
    from benchmarks.scoring import Work

SHAPES = ((600, 100), (600, 600))


class Kernel(NamedTuple):
    """A kernel alone.

    Attributes:
        work: Runs it on some pairs.
        flops: Its operations on one pair.
        calls: How often a pair needs it.
    """

    work: Work
    flops: float
    calls: int


def kernels(pairs: int, queries: int, galleries: int) -> dict[str, Kernel]:
    """Everything that one more gallery image of a shortlist needs, counted as in `pair_flops`."""
    dim, feedforward, blocks = OPTIONS.dim, OPTIONS.feedforward, OPTIONS.blocks
    whole = blocks - 1  # of the last block nothing but the self-attention is done for all tokens
    found = {"projection": _linear(pairs, galleries, OPTIONS.descriptor_dim, dim, 1)}
    # A query's first self-attention is shared by its shortlist.
    for side, count, own in (("query", queries + 1, whole), ("gallery", galleries + 1, blocks)):
        for name, inputs, outputs, calls in (
            ("in", dim, 3 * dim, own + whole),
            ("out", dim, dim, own + whole),
            ("up", dim, feedforward, whole),
            ("down", feedforward, dim, whole),
        ):
            found[f"{side} {name}"] = _linear(pairs, count, inputs, outputs, calls)
        found[f"{side} to itself"] = _attention(pairs, count, count, own)
    found["query to gallery"] = _attention(pairs, queries + 1, galleries + 1, whole)
    found["gallery to query"] = _attention(pairs, galleries + 1, queries + 1, whole)
    return found


def _linear(pairs: int, count: int, inputs: int, outputs: int, calls: int) -> Kernel:
    tokens, weight = torch.randn(pairs, count, inputs), torch.randn(outputs, inputs)
    return Kernel(lambda: F.linear(tokens, weight), 2 * count * inputs * outputs, calls)


def _attention(pairs: int, count: int, others: int, calls: int) -> Kernel:
    # Cut out of one result, as the network has them.
    query, keys, values = (
        torch.randn(pairs, n, 3 * OPTIONS.dim).chunk(3, -1)[0] for n in (count, others, others)
    )
    flops = 4 * count * others * OPTIONS.dim
    return Kernel(lambda: attend(query, keys, values, None, OPTIONS.heads), flops, calls)


def parts(queries: int, galleries: int) -> dict[str, Any]:
    """One shape in float32."""
    torch.manual_seed(0)
    reranker = AmesReranker(Ames(OPTIONS).eval())
    query, gallery = descriptors(1, queries), descriptors(PAIRS["cpu"][1], galleries)
    pairs = TOKENS_PER_STEP["cpu"] // (queries + galleries)
    alone = kernels(pairs, queries, galleries)
    works: dict[str, Work] = {name: kernel.work for name, kernel in alone.items()}
    works |= {"network": lambda: reranker(query, gallery), "product": product_of(torch.float32, "cpu")}
    with torch.inference_mode():
        times = in_turns(works, "cpu")
    peak = 2 * PRODUCT_SIDE["cpu"] ** 3 / times["product"]
    an_image = {name: kernel.calls * times[name] / pairs for name, kernel in alone.items()}
    bound, ours = sum(an_image.values()), times["network"] / len(gallery.rows)
    ideal = pair_flops(OPTIONS, queries, galleries) / peak
    return {
        "queries": queries,
        "galleries": galleries,
        "product_gflops": round(peak / 1e9, 1),
        "kernels_share_of_product": round(ideal / bound, 2),
        "network_share_of_product": round(ideal / ours, 2),
        "network_share_of_kernels": round(bound / ours, 2),
        "gflops": {
            name: round(kernel.flops * pairs / times[name] / 1e9, 1) for name, kernel in alone.items()
        },
        "share_of_time": {name: round(seconds / bound, 3) for name, seconds in an_image.items()},
    }


def main() -> None:
    """Measure, print and write."""
    save("scoring", "kernels alone", {"shapes": [parts(*shape) for shape in SHAPES]})


if __name__ == "__main__":
    main()

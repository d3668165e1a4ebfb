"""Which device a worker computes on: the one that Ray assigned, never a guess."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ames_ray.errors import ResourceError

if TYPE_CHECKING:
    from collections.abc import Sequence


def choose_device(wanted: Literal["auto", "cpu", "cuda"], assigned: Sequence[int | str]) -> str:
    """Torch name of the device for this process.

    Args:
        wanted: What the user asked for.
        assigned: Ids of the GPUs that the scheduler reserved for this process; it sees no others.

    Raises:
        ResourceError: A GPU is wanted but none was reserved, or torch does not see the reserved one.
    """
    if wanted == "cpu" or (wanted == "auto" and not assigned):
        return "cpu"
    if not assigned:
        raise ResourceError(
            "device=cuda, but no GPU was reserved for the worker",
            "pass gpus_per_worker=1, on a machine or cluster that has GPUs",
        )
    import torch

    if not torch.cuda.is_available():
        ids = ", ".join(str(gpu) for gpu in assigned)
        raise ResourceError(
            f"GPU {ids} is reserved for the worker, but torch {torch.__version__} sees no CUDA device there",
            "install a CUDA build of torch on that node, or pass device=cpu",
        )
    return "cuda:0"

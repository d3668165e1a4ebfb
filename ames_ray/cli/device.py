"""Which device this process computes on."""

from __future__ import annotations

from ames_ray.errors import ResourceError


def local_device(wanted: str) -> str:
    """Torch name of the device. Nobody assigns GPUs to this process, so the first that it sees is its own.

    Args:
        wanted: auto, cpu or cuda.

    Raises:
        ResourceError: A GPU is wanted where torch sees none.
    """
    if wanted == "cpu":
        return "cpu"
    import torch

    has_gpu = torch.cuda.is_available()
    if wanted == "cuda" and not has_gpu:
        raise ResourceError(
            f"device=cuda, but torch {torch.__version__} sees no CUDA device", "pass device=cpu"
        )
    return "cuda:0" if has_gpu else "cpu"

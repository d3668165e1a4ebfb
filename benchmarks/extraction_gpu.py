"""Extraction with a GPU, for whoever has one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ames_ray.errors import ResourceError
from benchmarks import pictures
from benchmarks.extraction_rate import extract, random_dinov2
from benchmarks.record import save

CORES = len(os.sched_getaffinity(0))


def gpu(folder: Path, count: int = 4096) -> None:
    """DINOv2 ViT-B/14 at 770 pixels in float32 and bfloat16: images a second, how busy, what limits."""
    import torch

    if not torch.cuda.is_available():
        raise ResourceError(f"torch {torch.__version__} sees no GPU here")
    pictures.make(folder / "photos", count, 1024, 768)
    weights = random_dinov2(folder / "weights")
    results = {}
    for precision in ("float32", "bfloat16"):
        shutil.rmtree(folder / "store", ignore_errors=True)
        report = extract(
            *(
                f"images={folder / 'photos'}",
                f"output={folder / 'store'}",
                "backbone=dinov2",
                "detector=none",
            ),
            *(f"weights={weights}", f"precision={precision}", "workers=1", f"decode_threads={CORES}"),
            *("batch_size=16", "imsize=770", "topk=700"),
        )
        rate = report.computed / report.seconds
        results[precision] = {"images_per_s": round(rate, 1), "limit": report.limit}
    what = f"{count} JPEGs of 1024 × 768 at 770 pixels, one worker, {CORES} decoding threads"
    save("extraction", "gpu", {"what": what, **results})

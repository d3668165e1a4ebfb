"""Reading a sample of descriptors with Ray tasks; the fit itself takes seconds, where it arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ray

from ames_ray.distributed.runtime import connected, local_cpus, size_pool
from ames_ray.distributed.stream import readable
from ames_ray.training.sample import gather, take

if TYPE_CHECKING:
    from collections.abc import Callable

    from ames_ray.retrieval.gallery import Gallery
    from ames_ray.training.sample import SamplePlan
    from ames_ray.types import AnyArray, IntArray


def gather_with_ray(
    gallery: Gallery,
    plan: SamplePlan,
    *,
    workers: int | None,
    address: str | None,
    report: Callable[[int, int], None] | None = None,
) -> AnyArray:
    """The sample of a plan (M, D), the same for any number of workers.

    Args:
        gallery: The store.
        plan: What to take.
        workers: Tasks at work at once; none for as many as the cluster has CPUs.
        address: Address of a cluster; none for RAY_ADDRESS, else a new local Ray.
        report: Told how many images are read, and how many there are in all.

    Raises:
        StoreError: The store is damaged, or holds sign bits.
        ResourceError: The workers do not fit.
        RunError: A task died, again and again.
    """
    with connected(address, workers or local_cpus()):
        pool = size_pool(workers, 1, 0, wants_gpu=False)
        task = ray.remote(num_cpus=1)(take)
        source, wanted = ray.put(gallery), ray.put(plan)

        def read(rows: IntArray) -> AnyArray:
            try:
                part: AnyArray = ray.get(task.remote(source, wanted, rows))
            except ray.exceptions.RayError as error:
                raise readable(error) from None
            return part

        return gather(plan, read, readers=pool.workers, report=report)

"""The page of a search beside its result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ames_ray.report.found import PAGE
from ames_ray.report.tuning_page import tuning_page
from ames_ray.report.tuning_run import TuningRun

if TYPE_CHECKING:
    from ames_ray.files import Storage
    from ames_ray.tuning.grid import GridTable


def publish_page(folder: Storage, grid: GridTable | None = None) -> str:
    """Write the page about the result that a folder holds.

    Args:
        folder: Of the sweep.
        grid: Its figures over λ, γ and K, if there are any.

    Returns:
        Where the page is, or why there is none: the result is worth more than its page.
    """
    try:
        folder.publish(PAGE, tuning_page(TuningRun.read(folder.uri), grid))
    except Exception as error:  # noqa: BLE001 - whatever a drawing does, the result has to be told
        return f"none, {error}; make it by: ames-ray report {folder.uri}"
    return folder.address(PAGE)

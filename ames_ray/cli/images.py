"""The verbs that look at images: check, plan, extract, store retry."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ames_ray.backbones.registry import require_named, uses_network
from ames_ray.cli.display import Display, duration
from ames_ray.cli.tables import counts, facts
from ames_ray.config.extract import ExtractConfig
from ames_ray.config.options import dataset_options, planned_spec, store_meta
from ames_ray.datasets.continued import Continued, continued
from ames_ray.datasets.manifest import Manifest
from ames_ray.datasets.registry import build_manifest
from ames_ray.errors import FailedRowsError, StoreError
from ames_ray.extraction.plan import (
    average_file_bytes,
    cheaper,
    make_pace,
    plan_further,
    require_room,
    size,
)
from ames_ray.files import Storage
from ames_ray.store.job import read_job
from ames_ray.store.meta import FAILED, JOB, MANIFEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ames_ray.config.extract import CheckConfig, PlanConfig
    from ames_ray.config.store import RetryConfig
    from ames_ray.distributed.extract import ExtractReport
    from ames_ray.distributed.measure import Measured
    from ames_ray.extraction.plan import Plan


_SHOWN = 20
_NOTHING_TO_DO = "nothing to do: every image is in the store"


def check(config: CheckConfig) -> None:
    """Print what is wrong with the files of a data set; exit code 3 if anything is."""
    from ames_ray.datasets.check import check_manifest

    report = check_manifest(
        build_manifest(dataset_options(config)),
        deep=config.deep,
        threads=config.threads,
        max_pixels=config.max_pixels,
        truncated=config.truncated,
    )
    looked = "read and decoded" if report.deep else "looked up; deep=true also reads and decodes them"
    facts(
        "check",
        {
            "images": f"{report.rows:,}, {looked}",
            "usable": f"{report.found:,}",
            **counts(report.counts),
            "listed twice": f"{len(report.duplicates):,}",
            **({"equal content": f"{len(report.same_content):,}"} if report.deep else {}),
            "bytes": size(report.total_bytes),
        },
    )
    lines = [f"row {p.row}: {p.path}: {p.reason} {p.detail}".rstrip() for p in report.problems]
    repeats = (*report.duplicates, *report.same_content)
    lines += [f"row {r.row}: {r.path}: the same as row {r.first_row}: {r.first_path}" for r in repeats]
    print("\n".join(lines[:_SHOWN]))  # noqa: T201
    if lines:
        more = f"; the first {_SHOWN} are listed above" if len(lines) > _SHOWN else ""
        raise FailedRowsError(
            f"{len(lines):,} of {report.rows:,} rows are missing, unreadable or repeated{more}",
            "; ".join(report.hints) or None,
        )


def plan(config: PlanConfig) -> None:
    """Print the size, time and bandwidth of an extraction; an error where the store cannot fit."""
    storage = Storage.at(config.output)
    manifest = _continued(config, storage, build_manifest(dataset_options(config))).manifest
    meta = store_meta(config, manifest, planned_spec(config))
    found = plan_further(meta, storage, manifest, overwrite=config.overwrite)
    there = found.rows - found.missing_rows
    image_bytes, looked = average_file_bytes(manifest)
    free = "unknown (object store)" if found.free_bytes is None else size(found.free_bytes)
    # What cannot fit is not worth measuring.
    pace = _pace_rows(config, manifest, found, image_bytes) if found.fits else {}
    facts(
        "plan",
        {
            "images": f"{found.rows:,}" + (f", {there:,} of them are in the store already" if there else ""),
            "shards": f"{found.shards:,} of {config.shard_rows:,} rows",
            "a file": f"{_or_unknown(image_bytes)} on average of {looked:,} files",
            "an image": f"{size(found.row_bytes)} in the store",
            "store": size(found.missing_bytes) + (" more" if there else ""),
            "free space": f"{free} in {config.output}",
            **{f"with {words}": size(total) for words, total in cheaper(meta).items()},
            **pace,
        },
    )
    require_room(found, meta, config.output)


def _pace_rows(
    config: PlanConfig, manifest: Manifest, found: Plan, image_bytes: float | None
) -> dict[str, str]:
    if not found.missing_rows:
        return {"time": _NOTHING_TO_DO}
    if config.rate is None:
        return {"time": "unknown; rate= (images/s of a worker, or measure) also gives hours and bandwidth"}
    rows = {}
    if isinstance(config.rate, str):
        tried = _tried(config, manifest, found.shards)
        rate, workers, gpus = tried.rate, config.workers or tried.workers, tried.gpus
        rows["measured"] = (
            f"{rate:,.2f} images/s a worker ({tried.images:,} images, {tried.workers:,} workers)"
        )
    else:
        rate, workers = config.rate, config.workers or 1
        on_gpu = config.device != "cpu" and uses_network(config.backbone, config.weights)
        gpus = (1 if config.gpus_per_worker is None else config.gpus_per_worker) if on_gpu else 0
    pace = make_pace(found, image_bytes, rate, workers)
    return {
        **rows,
        "time": f"{duration(pace.seconds)} at {pace.images_per_second:,.1f} images/s by {workers:,} workers",
        f"{'GPU' if gpus else 'CPU'} hours": f"{pace.worker_hours * (gpus or config.cpus_per_worker):,.2f}",
        "reading": f"{_or_unknown(pace.read_per_second)}/s of image files",
        "writing": f"{size(pace.written_per_second)}/s to the store",
    }


def _tried(config: PlanConfig, manifest: Manifest, shards: int) -> Measured:
    from ames_ray.distributed.measure import measure

    with Display() as display:
        return measure(config, manifest, shards, display)


def _or_unknown(count: float | None) -> str:
    return "unknown" if count is None else size(count)


def extract(config: ExtractConfig) -> None:
    """Extract descriptors and print what was written."""
    manifest = build_manifest(dataset_options(config))
    for note in manifest.notes:
        print(note, file=sys.stderr)  # noqa: T201
    found = _continued(config, Storage.at(config.output), manifest)
    show(run(config, found.manifest, removed=found.removed), removed=len(found.removed or ()))


def _continued(config: ExtractConfig, storage: Storage, manifest: Manifest) -> Continued:
    """The list as the store in the output goes on with it."""
    if config.dataset != "folder" or config.overwrite or not storage.exists(MANIFEST):
        return Continued(manifest)
    # A folder has no order that a new photo could not disturb: known photos keep their rows.
    return continued(Manifest.read(storage, MANIFEST), manifest)


def retry(config: RetryConfig) -> None:
    """Compute the failed rows of a store again."""
    from ames_ray.store.reader import Store

    storage = Storage.at(config.store)
    how = read_job(storage)
    if not how:
        raise StoreError(
            f"{storage.address(JOB)} does not exist: the store was not made by `ames-ray extract`",
            "imported and merged stores have no failed rows to redo",
        )
    how |= {"output": config.store, "overwrite": False, "strict": config.strict}
    how |= {"address": config.address, "workers": config.workers}
    how |= {"backbone": config.backbone} if config.backbone else {}
    try:
        job = ExtractConfig.model_validate(how)
    except ValidationError as error:
        odd = ", ".join(str(found["loc"][0]) for found in error.errors() if found["loc"])
        raise StoreError(
            f"{storage.address(JOB)} holds settings that this version of ames-ray does not take: {odd}",
            "use the version that made the store",
        ) from None
    if config.backbone is None:
        require_named(job.backbone, storage.uri)
    show(run(job, Store.open(config.store, allow_partial=True).manifest, retry=True))


def run(
    config: ExtractConfig, manifest: Manifest, *, retry: bool = False, removed: Sequence[int] | None = None
) -> ExtractReport:
    """Run an extraction with a progress display."""
    from ames_ray.distributed import extract as distributed

    with Display() as display:
        return distributed.run(config, manifest, display, retry=retry, removed=removed)


def show(report: ExtractReport, removed: int = 0) -> None:
    """Print the table of what was written and where."""
    failed = sum(report.failed.values())
    rows = {
        "images": f"{report.rows:,}, {failed:,} of them failed",
        **counts(report.failed),
        **counts(report.flagged, "kept, but"),
        **({"removed": f"{removed:,}, not found any more; their rows stay"} if removed else {}),
        "store": report.output,
        "bytes": f"{size(report.stored_bytes)}, {size(report.stored_bytes / max(1, report.rows))} an image",
    }
    if failed:
        rows["failed images"] = Storage.at(report.output).address(FAILED)
    if report.computed:
        rate = report.computed / max(report.seconds, 1e-9)
        rows["time"] = f"{duration(report.seconds)}, {rate:.1f} images/s by {len(report.workers)} workers"
        rows["limit"] = report.limit
    else:
        rows["time"] = _NOTHING_TO_DO
    facts("extract", rows)

"""The verb that fetches real photos out of packages: samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ames_ray.cli.tables import facts
from ames_ray.samples.build import build_samples

if TYPE_CHECKING:
    from ames_ray.config.demo import SamplesConfig


def samples(config: SamplesConfig) -> None:
    """Put real photos, or a benchmark made of them, into a folder and say where they come from."""
    if config.set == "landmarks_mini":
        _landmarks_mini(config)
        return
    report = build_samples(Path(config.output), config.source)
    rows = {"photos": f"{report.photos:,}", "from": report.source, "folder": report.folder}
    if report.fallback:
        rows["instead of more"] = report.fallback
    facts("samples", {**rows, "credits": f"{report.folder}/CREDITS.md"})


def _landmarks_mini(config: SamplesConfig) -> None:
    from rich.console import Console

    from ames_ray.samples.landmarks_mini import build_landmarks_mini

    with Console(stderr=True).status("photos from Debian packages") as status:
        index, _ = build_landmarks_mini(
            Path(config.output),
            seeds=config.seeds,
            train_views=config.train_views,
            report=lambda done: status.update(f"{done:,} pictures"),
        )
    pictures = {name: f"{count:,} pictures" for name, count in index["pictures"].items()}
    facts("landmarks_mini", {"from": index["source"], **pictures, "card": f"{config.output}/README.md"})

"""Settings of the verbs that explain results: report and compare."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ames_ray.config.jobs import JobConfig
from ames_ray.config.paths import FolderPath
from ames_ray.config.retrieval import Uris


class ReportConfig(JobConfig):
    """A page about an evaluation, a search for settings, or training."""

    verb: ClassVar[str] = "report"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray report results/evaluation-1a2b3c4d.json",
        "ames-ray report tuning/ensemble output=report.html",
        "ames-ray report runs/full runs/binary output=runs.html",
    )
    positional: ClassVar[tuple[str, ...]] = ("run", "also")

    run: FolderPath = Field(
        description="result file of `ames-ray evaluate`; or the folder of an evaluation, of a sweep of "
        "`tune`, of a run of `train`; or a folder around sweeps or runs"
    )
    also: Uris = Field(
        [], description="further training runs to draw over the first: one, or [runs/b,runs/c]"
    )
    output: FolderPath | None = Field(
        None, description="HTML file to write; null: beside the result, or report.html in the folder"
    )
    pictures: bool = Field(True, description="of an evaluation: put photos into the page")
    worst: int = Field(
        50, ge=0, description="queries of each setup that get photos, those of the lowest average precision"
    )
    num_results: int = Field(6, ge=0, description="first results that such a query shows of each ranking")


class CompareConfig(JobConfig):
    """Two evaluations side by side."""

    verb: ClassVar[str] = "compare"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray compare results/evaluation-1a2b3c4d.json results/evaluation-5e6f7a8b.json",
        "ames-ray compare a/evaluation-1a2b3c4d.json b/evaluation-5e6f7a8b.json output=compare.json",
        "ames-ray compare a/evaluation-1a2b3c4d.json b/evaluation-5e6f7a8b.json queries=70",
    )
    positional: ClassVar[tuple[str, ...]] = ("first", "second")

    first: FolderPath = Field(description="result file that `ames-ray evaluate` named, or a folder with one")
    second: FolderPath = Field(description="result of the other run")
    output: FolderPath | None = Field(None, description="JSON file to write as well")
    queries: int = Field(10, ge=0, description="queries to print of each setup, the largest changes first")

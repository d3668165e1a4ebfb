"""Settings of the verbs that explain results: report and compare."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ames_ray.config.jobs import JobConfig
from ames_ray.config.paths import FolderPath


class ReportConfig(JobConfig):
    """A page about one evaluation."""

    verb: ClassVar[str] = "report"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray report results/evaluation-1a2b3c4d.json",
        "ames-ray report run=results/evaluation-1a2b3c4d.json output=report.html",
        "ames-ray report run=results/evaluation-1a2b3c4d.json pictures=false output=report.html",
    )
    positional: ClassVar[tuple[str, ...]] = ("run",)

    run: FolderPath = Field(description="result file that `ames-ray evaluate` named")
    output: FolderPath | None = Field(None, description="HTML file to write; null: beside the result")
    pictures: bool = Field(True, description="put the query photos into the page")


class CompareConfig(JobConfig):
    """Two evaluations side by side."""

    verb: ClassVar[str] = "compare"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray compare results/evaluation-1a2b3c4d.json results/evaluation-5e6f7a8b.json",
        "ames-ray compare a/evaluation-1a2b3c4d.json b/evaluation-5e6f7a8b.json output=compare.json",
        "ames-ray compare a/evaluation-1a2b3c4d.json b/evaluation-5e6f7a8b.json queries=70",
    )
    positional: ClassVar[tuple[str, ...]] = ("first", "second")

    first: FolderPath = Field(description="result file that `ames-ray evaluate` named")
    second: FolderPath = Field(description="result file of the other run")
    output: FolderPath | None = Field(None, description="JSON file to write as well")
    queries: int = Field(10, ge=0, description="queries to print of each setup, the largest changes first")

"""Settings of the jobs that look at images: check, plan and extract."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from ames_ray.config.jobs import JobConfig
from ames_ray.config.paths import BackboneName, FileOrName, FolderPath
from ames_ray.config.reranker import require_model

_AUTHORS_NAMES = {
    "desc_name": "backbone",
    "descriptors": "backbone",
    "save_path": "output",
    "data_path": "data_root",
    "file_name": "list_file",
    "pretrained": "detector",
    "num_workers": "workers",
    "resume": "output",
    "model": "projection",
    "model_path": "projection",
    "cpu": "device=cpu",
}


class ImagesConfig(JobConfig):
    """Which images: a folder, a list, or a published data set."""

    moved: ClassVar[dict[str, str]] = _AUTHORS_NAMES

    dataset: str = Field("folder", description="data set; `folder` takes every picture below images=")
    images: FolderPath | None = Field(None, description="folder of photos, searched recursively")
    split: str | None = Field(None, description="part of the data set: gallery, query, train …")
    data_root: FolderPath | None = Field(
        None, description="folder that holds the data sets, laid out as the authors' is"
    )
    list_file: FolderPath | None = Field(
        None, description="text list, one image a line: path[,label][,width,height]"
    )
    crop: bool = Field(True, description="cut queries to their box, as the protocol wants")
    allow_outside: bool = Field(False, description="let list paths leave data_root")
    truncated: Literal["fail", "keep"] = Field(
        "fail", description="half-downloaded pictures: fail the row, or keep what decodes and flag it"
    )
    max_pixels: int = Field(100_000_000, gt=0, description="larger pictures become failed rows [pixels]")

    @model_validator(mode="before")
    @classmethod
    def _images_mean_a_folder(cls, values: dict[str, Any]) -> dict[str, Any]:
        if values.get("dataset", "folder") == "folder" and not values.get("images"):
            raise ValueError("nothing to read: pass images=FOLDER or dataset=NAME")
        if values.get("dataset", "folder") != "folder" and values.get("images"):
            raise ValueError(f"images= goes with dataset=folder, not with dataset={values['dataset']}")
        return values


class CheckConfig(ImagesConfig):
    """A look at the files before anything is computed."""

    verb: ClassVar[str] = "check"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray check images=photos/",
        "ames-ray check dataset=roxford5k split=gallery data_root=/data",
        "ames-ray check dataset=list list_file=photos.txt data_root=/data deep=true",
    )

    deep: bool = Field(False, description="read every byte, find equal contents under two names")
    threads: int = Field(8, gt=0, description="files looked at at once")


class ExtractConfig(ImagesConfig):
    """Everything that decides an extraction."""

    verb: ClassVar[str] = "extract"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray extract images=photos/ output=store/",
        "ames-ray extract dataset=roxford5k split=gallery data_root=/data backbone=dinov2 "
        "detector=dinov2_detector.pt output=stores/roxford5k",
        "ray job submit --working-dir . -- python jobs/extract.py dataset=r1m data_root=/data "
        "backbone=dinov2 detector=/data/networks/dinov2_detector.pt output=s3://bucket/r1m",
        "ames-ray extract dataset=r1m data_root=/data backbone=dinov2 detector=dinov2_detector.pt "
        "projection=dinov2_ames_dist output=stores/r1m_bits",
    )
    instead: ClassVar[dict[str, str]] = {
        "desc_type": "leave it out: local and all global descriptors of a backbone are written together",
    }

    backbone: BackboneName = Field(
        "sift", description="network that describes: one of the names, hf:<id or folder>, or module:function"
    )
    weights: FileOrName | None = Field(
        None, description="weights file or Hugging Face id; null: the published ones"
    )
    detector: FileOrName | None = Field(
        None, description="detector weights file; `none` for descriptors picked by their norm"
    )
    topk: int = Field(
        700, gt=0, description="local descriptors kept per image, strongest first; where not given, sift: 300"
    )
    imsize: int | None = Field(
        None,
        gt=0,
        description="longer side after resizing [pixels]; null: as it is; where not given, sift: 640, "
        "dinov2: 770",
    )
    min_side: int = Field(
        1, gt=0, description="smaller pictures (after resizing) become failed rows [pixels]"
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="arithmetic of the network; float32 switches autocast off"
    )

    output: FolderPath = Field(description="folder or s3:// address of the store")
    format: Literal["parquet", "hdf5"] = Field("parquet", description="file format of the shards")
    codec: Literal["float16", "float32"] = Field(
        "float16", description="how a raw descriptor is stored; with projection=: rounded before it"
    )
    projection: FileOrName | None = Field(
        None,
        description="weights of a re-ranker, or a published name: store what it needs, 128 float16 or bits "
        "a descriptor, as `store project` does; null: raw descriptors",
    )
    reranker: str = Field("ames", description="kind of re-ranker that projection= belongs to")
    shard_rows: int = Field(64, gt=0, description="rows of a shard: the unit of work, retry and resume")
    overwrite: bool = Field(False, description="delete what lies in output and start anew")

    address: str | None = Field(None, description="Ray cluster; null: RAY_ADDRESS, else a local one")
    workers: int | None = Field(None, gt=0, description="worker processes; null: all GPUs, else all CPUs")
    gpus_per_worker: float | None = Field(
        None, ge=0, description="0.5: two workers share a GPU; null: 1 if any"
    )
    cpus_per_worker: float = Field(1, gt=0, description="CPUs that Ray reserves for a worker")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: what Ray assigned to the worker"
    )
    batch_size: int = Field(8, gt=0, description="images of equal shape that the network sees at once")
    wait: float = Field(0, ge=0, description="how long nodes for workers= may take to come up [s]")
    decode_threads: int = Field(2, gt=0, description="threads a worker that decode ahead of the network")
    strict: bool = Field(False, description="exit with code 3 where a row failed")
    stall_timeout: float = Field(
        1800, gt=0, description="stop, resumable, where no image was finished for so long [s]"
    )

    @model_validator(mode="after")
    def _reranker_has_a_projection(self) -> Self:
        require_model(self.reranker, self.projection, "projection")
        return self


class PlanConfig(ExtractConfig):
    """An extraction that is only counted."""

    verb: ClassVar[str] = "plan"
    groups: ClassVar[str] = "extract"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray plan images=photos/ output=store/",
        "ames-ray plan dataset=r1m data_root=/data backbone=dinov2 output=/big/r1m rate=60 workers=8",
        "ames-ray plan dataset=r1m data_root=/data backbone=dinov2 output=/big/r1m rate=measure workers=8",
        "ames-ray plan dataset=r1m data_root=/data backbone=dinov2 output=/big/r1m topk=100 codec=float32",
    )

    rate: float | Literal["measure"] | None = Field(
        None,
        description="what one worker does with these settings [images/s]: time, hours and bandwidth follow; "
        "measure: extract a sample of the images where `extract` would run, half a minute to three, into a "
        "folder beside output= that is deleted again; null: sizes alone",
    )
    workers: int | None = Field(
        None, gt=0, description="workers that keep up rate= at once; null: 1, or all that were measured"
    )

    @field_validator("rate")
    @classmethod
    def _is_a_rate(cls, rate: float | str | None) -> float | str | None:
        if isinstance(rate, float) and not 0 < rate < math.inf:
            raise ValueError("a rate is above 0; `measure` finds it out")
        return rate

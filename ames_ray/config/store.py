"""Settings of the verbs that work on stores that are there already."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ames_ray.config.jobs import JobConfig
from ames_ray.config.paths import FolderPath


class StoreConfig(JobConfig):
    """One store."""

    positional: ClassVar[str | None] = "store"

    store: FolderPath = Field(description="folder or s3:// address of the store")


class InfoConfig(StoreConfig):
    """Describe a store."""

    verb: ClassVar[str] = "store info"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray store info store/",
        "ames-ray store info s3://bucket/r1m",
    )


class VerifyConfig(StoreConfig):
    """Read a store again and compare."""

    verb: ClassVar[str] = "store verify"
    examples: ClassVar[tuple[str, ...]] = ("ames-ray store verify store/",)


class RetryConfig(StoreConfig):
    """Redo failed rows."""

    verb: ClassVar[str] = "store retry"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray store retry store/",
        "ames-ray store retry store/ workers=1",
    )

    address: str | None = Field(None, description="Ray cluster; null: RAY_ADDRESS, else a local one")
    workers: int | None = Field(None, gt=0, description="worker processes; null: as many as fit")
    strict: bool = Field(False, description="exit with code 3 where rows still fail")


class ExportConfig(StoreConfig):
    """Write the authors' files."""

    verb: ClassVar[str] = "store export"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray store export store/ output=dinov2_gallery_local.hdf5",
        "ames-ray store export store/ output=gallery.hdf5 layout=packed",
    )

    output: FolderPath = Field(description="HDF5 file to write")
    layout: Literal["plain", "compound", "packed"] = Field(
        "plain", description="plain, compound: as the authors' releases; packed: for random reads"
    )


class ImportConfig(JobConfig):
    """Read the authors' files."""

    verb: ClassVar[str] = "store import"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray store import inputs=[dinov2_gallery_local.hdf5] list_file=test_gallery.txt data_root=/data "
        "output=store/",
        "ames-ray store import inputs=[dinov2_xaa_local.hdf5,dinov2_xab_local.hdf5] list_file=imlist.txt "
        "data_root=/data output=r1m/",
    )

    inputs: list[FolderPath] = Field(min_length=1, description="HDF5 files in order, plain or compound")
    globals: dict[str, FolderPath] = Field(
        default_factory=dict, description="HDF5 files of global descriptors by name: {cls: FILE}"
    )
    list_file: FolderPath = Field(description="the text list that the rows belong to")
    data_root: FolderPath = Field(description="folder that the list's paths start from")
    output: FolderPath = Field(description="folder of the new store")
    shard_rows: int = Field(64, gt=0, description="rows of a shard")


class MergeConfig(JobConfig):
    """Join stores."""

    verb: ClassVar[str] = "store merge"
    examples: ClassVar[tuple[str, ...]] = ("ames-ray store merge stores=[a/,b/] output=both/",)

    stores: list[FolderPath] = Field(min_length=2, description="stores made with equal settings, in order")
    output: FolderPath = Field(description="folder of the new store")

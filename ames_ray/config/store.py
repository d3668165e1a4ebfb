"""Settings of the verbs that work on stores that are there already."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, create_model

from ames_ray.config.address import names_cluster
from ames_ray.config.jobs import JobConfig
from ames_ray.config.paths import NAMED_BACKBONE, BackboneName, FileOrName, FolderPath


class StoreConfig(JobConfig):
    """One store."""

    positional: ClassVar[tuple[str, ...]] = ("store",)

    store: FolderPath = Field(description="folder or s3:// address of the store")


class InfoConfig(StoreConfig):
    """Describe a store."""

    verb: ClassVar[str] = "store info"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray store info store/",
        "ames-ray store info s3://bucket/r1m",
        "ames-ray store info /data/roxford5k/dinov2_gallery_local.hdf5",
    )


class VerifyConfig(StoreConfig):
    """Read a store again and compare."""

    verb: ClassVar[str] = "store verify"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray store verify store/",
        "ames-ray store verify stores/r1m",
        "ames-ray store verify s3://bucket/r1m",
    )


class RetryConfig(StoreConfig):
    """Redo failed rows."""

    verb: ClassVar[str] = "store retry"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray store retry store/",
        "ames-ray store retry store/ workers=1 strict=true",
        "ames-ray store retry s3://bucket/r1m address=auto",
    )

    backbone: BackboneName | None = Field(None, description=NAMED_BACKBONE)
    address: str | None = Field(None, description="Ray cluster; null: RAY_ADDRESS, else a local one")
    workers: int | None = Field(None, gt=0, description="worker processes; null: as many as fit")
    strict: bool = Field(False, description="exit with code 3 where rows still fail")


class ExportConfig(StoreConfig):
    """Write the authors' files."""

    verb: ClassVar[str] = "store export"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray store export store/ output=dinov2_gallery_local.hdf5",
        "ames-ray store export stores/r1m output=/data/revisitop1m/dinov2_local.hdf5 layout=compound",
        "ames-ray store export store/ output=gallery.hdf5 layout=packed",
    )

    output: FolderPath = Field(description="HDF5 file to write")
    layout: Literal["plain", "compound", "packed"] = Field(
        "plain", description="plain, compound: as the authors' releases; packed: for random reads"
    )


_AUTHORS_CHUNKS = dict.fromkeys(
    ("dataset", "desc_name", "data_root"),
    "name the parts: `store merge stores=[A,B]`; the authors' files: `store import inputs=[…_xaa…,…_xab…]`",
)


class ImportConfig(JobConfig):
    """Read the authors' files."""

    verb: ClassVar[str] = "store import"
    instead: ClassVar[dict[str, str]] = _AUTHORS_CHUNKS
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray store import inputs=[dinov2_gallery_local.hdf5] list_file=test_gallery.txt data_root=/data "
        "output=store/",
        "ames-ray store import inputs=[dinov2_xaa_local.hdf5,dinov2_xab_local.hdf5] list_file=imlist.txt "
        "data_root=/data output=r1m/",
        "ames-ray store import inputs=[cvnet_query_local.hdf5] globals={global:cvnet_query_global.hdf5} "
        "list_file=test_query.txt data_root=/data output=queries/",
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
    instead: ClassVar[dict[str, str]] = _AUTHORS_CHUNKS
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray store merge stores=[a/,b/] output=both/",
        "ames-ray store merge stores=[stores/2024,stores/2025,stores/2026] output=stores/all",
        "ames-ray store merge stores=[s3://bucket/r1m_1,s3://bucket/r1m_2] output=s3://bucket/r1m",
    )

    stores: list[FolderPath] = Field(min_length=2, description="stores made with equal settings, in order")
    output: FolderPath = Field(description="folder of the new store")


class ProjectJob(JobConfig):
    """Project descriptors to what a database stores."""

    verb: ClassVar[str] = "store project"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray store project model=dinov2_ames_dist in=stores/r1m out=stores/r1m_bits",
        "ames-ray store project model=dinov2_ames.pt in=stores/r1m out=s3://bucket/r1m_128 workers=8",
        "ames-ray store project model=dinov2_ames in=dinov2_gallery_local.hdf5 out=stores/roxford5k_128",
    )
    positional: ClassVar[tuple[str, ...]] = ("in",)
    moved: ClassVar[dict[str, str]] = {
        "store": "in",
        "output": "out",
        "model_path": "model",
        "projection": "model",
    }

    model: FileOrName = Field(description="weights file, or a published name such as dinov2_ames")
    out: FolderPath = Field(description="folder or s3:// address of the new store")
    reranker: str = Field("ames", description="kind of re-ranker that model= belongs to")
    address: str | None = Field(None, description="Ray cluster; null: RAY_ADDRESS, else a local one")
    workers: int | None = Field(
        None,
        gt=0,
        description="Ray workers; null: threads of this process, or with an address or RAY_ADDRESS the "
        "cluster's CPUs",
    )

    @property
    def here(self) -> bool:
        """Whether this process does the work, without Ray."""
        return self.workers is None and not names_cluster(self.address)

    @property
    def source(self) -> str:
        """The setting `in`."""
        return str(getattr(self, "in"))


# No class body can hold a field of the name `in`.
_IN: dict[str, Any] = {
    "in": (FolderPath, Field(description="store of raw descriptors, or an HDF5 file of the authors"))
}
ProjectConfig = create_model("ProjectConfig", __base__=ProjectJob, **_IN)

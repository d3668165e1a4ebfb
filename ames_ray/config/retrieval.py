"""Settings of the verbs that search: neighbors, score and evaluate."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ames_ray.config.address import names_cluster
from ames_ray.config.jobs import JobConfig
from ames_ray.config.paths import FileOrName, FolderPath
from ames_ray.config.reranker import refuse_without_model, require_model
from ames_ray.datasets.authors_layout import find_benchmark
from ames_ray.errors import ConfigError
from ames_ray.evaluation.ensemble import Ensemble
from ames_ray.retrieval.benchmark import ProtocolName

_AUTHORS_NAMES = {
    "model_path": "model",
    "resume": "model",
    "query_sequence_len": "query_desc_num",
    "sequence_len": "db_desc_num",
    "desc_type": "pooled",
    "descriptors": "desc_name",
    "dataset@test_dataset": "test_dataset",
    "dataset": "test_dataset",
    "num_workers": "workers",
    "cpu": "device=cpu",
}
_FILES = (
    "query= and gallery= take stores, or the authors' files: query=/data/roxford5k/dinov2_query_local.hdf5"
)
_INSTEAD = {
    **dict.fromkeys(("dataset", "dataset@test_dataset", "test_dataset"), _FILES),
    **dict.fromkeys(("desc_name", "descriptors", "data_root"), _FILES),
    "seed": "leave it out: nothing is drawn, and equal inputs give equal figures",
    "model.binarized": "leave it out: the weights file tells whether the network is binary",
    "multirun": "leave it out: a list is a sweep, as in lamb=[0.35,0.55]",
}
_ENDINGS = (".parquet", ".pkl")
_OF_A_MODEL = ("ensemble", "lamb", "temp", "query_desc_num", "db_desc_num", "batch_size", "precision")
"""Settings of `evaluate` that mean nothing without one; `num_rerank` also decides the length of a ranking."""


def as_list(value: Any) -> Any:
    """One value as a list of one; none stays none."""
    return value if value is None or isinstance(value, list | tuple) else [value]


Uris = Annotated[list[FolderPath], BeforeValidator(as_list)]
Numbers = Annotated[list[float], BeforeValidator(as_list)]
Counts = Annotated[list[int], BeforeValidator(as_list)]


class PairsConfig(JobConfig):
    """Queries and a gallery."""

    moved: ClassVar[dict[str, str]] = _AUTHORS_NAMES
    instead: ClassVar[dict[str, str]] = _INSTEAD

    query: FolderPath = Field(description="store of the queries, or the authors' HDF5 file")
    gallery: Uris = Field(
        min_length=1, description="store or HDF5 file of the gallery, or several, counted on: [roxford5k,r1m]"
    )

    address: str | None = Field(None, description="Ray cluster; null: RAY_ADDRESS, else a local one")
    workers: int | None = Field(
        1,
        gt=0,
        description="worker processes; 1 without an address or RAY_ADDRESS: this one, without Ray; "
        "null: all that fit",
    )
    cpus_per_worker: float = Field(1, gt=0, description="CPUs that Ray reserves for a worker")
    stall_timeout: float = Field(
        1800, gt=0, description="replace a worker on Ray that finishes nothing for so long [s]"
    )

    @property
    def here(self) -> bool:
        """Whether this process does the work, without Ray."""
        return self.workers == 1 and not names_cluster(self.address)


class RankingConfig(PairsConfig):
    """How the first ranking is found."""

    pooled: str = Field("global", description="global descriptor of the first ranking: global or cls")
    index: Literal["exact", "ivf"] = Field(
        "exact", description="ivf: approximate, for tens of millions; in this process, in memory"
    )
    nprobe: int = Field(64, gt=0, description="cells of an ivf index that a query looks into")

    @model_validator(mode="after")
    def _ivf_is_here(self) -> Self:
        if self.index == "ivf" and (self.workers != 1 or self.address is not None):
            raise ConfigError("index=ivf is built in this process", "leave out workers= and address=")
        return self


class NeighborsConfig(RankingConfig):
    """The nearest images by global descriptor."""

    verb: ClassVar[str] = "neighbors"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray neighbors query=stores/queries gallery=stores/gallery output=nn.parquet",
        "ames-ray neighbors query=stores/queries gallery=[stores/roxford5k,stores/r1m] pooled=cls "
        "shortlist_size=null output=nn_dinov2.pkl",
        "ames-ray neighbors query=stores/train gallery=stores/train exclude_self=true shortlist_size=100 "
        "workers=8 output=nn_train.pkl",
    )

    shortlist_size: int | None = Field(1600, gt=0, description="images a query; null: the whole gallery")
    exclude_self: bool = Field(False, description="query and gallery are one list; no image is its own hit")
    output: FolderPath = Field(
        description="file to write: .parquet, or .pkl as the authors' is; replaces only an earlier result"
    )

    @model_validator(mode="after")
    def _known_ending(self) -> Self:
        if not self.output.endswith(_ENDINGS):
            raise ConfigError(f"output={self.output}: its name must end in {' or '.join(_ENDINGS)}")
        return self


class ModelConfig(PairsConfig):
    """A network, its budgets and its device."""

    reranker: str = Field(
        "ames",
        description="kind of re-ranker: ames; or mutual, which counts mutual nearest neighbours of RootSIFT, "
        "where model= is the largest ratio, such as 0.7",
    )
    query_desc_num: int = Field(600, gt=0, description="local descriptors of a query, at most")
    db_desc_num: int = Field(600, gt=0, description="local descriptors of a gallery image, at most")
    batch_size: int = Field(300, gt=0, description="gallery images scored at once; bounds the memory")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="arithmetic of the network")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU where there is one")
    gpus_per_worker: float | None = Field(
        None, ge=0, description="0.5: two workers share a GPU; null: 1 if any"
    )


class ScoreConfig(ModelConfig):
    """The network's scores of a shortlist."""

    verb: ClassVar[str] = "score"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray score query=stores/queries gallery=stores/gallery nn_file=nn.parquet "
        "model=dinov2_ames_dist output=scores.parquet",
        "ames-ray score query=stores/queries gallery=stores/roxford5k nn_file=nn_dinov2.pkl "
        "model=dinov2_ames.pt ground_truth=/data/roxford5k/gnd_roxford5k.pkl num_rerank=1600 "
        "output=scores.parquet",
        "ames-ray score query=s3://bucket/queries "
        "gallery=s3://bucket/r1m nn_file=s3://bucket/nn.parquet model=/data/networks/dinov2_ames.pt "
        "workers=null output=s3://bucket/scores.parquet",
    )

    nn_file: FolderPath = Field(description="shortlist: .parquet of `neighbors`, or the authors' .pkl")
    model: FileOrName = Field(description="weights file, or a published name such as dinov2_ames")
    num_rerank: int = Field(1600, gt=0, description="images of each list to score")
    ground_truth: FolderPath | None = Field(
        None, description="score what its protocol needs: ignored images leave a list before it is cut"
    )
    protocol: ProtocolName | None = Field(
        None, description="null: revisited where the ground truth has easy, hard and junk, else gldv2-test"
    )
    output: FolderPath = Field(description=".parquet file to write; replaces only an earlier result")

    @model_validator(mode="after")
    def _known_ending(self) -> Self:
        if not self.output.endswith(_ENDINGS[0]):
            raise ConfigError(f"output={self.output}: its name must end in {_ENDINGS[0]}")
        return self

    @model_validator(mode="after")
    def _protocol_has_a_truth(self) -> Self:
        if self.protocol is not None and self.ground_truth is None:
            raise ConfigError(
                f"protocol={self.protocol} reads a ground truth, and none is given",
                "pass ground_truth= too, or leave out protocol=",
            )
        return self


class BenchmarkConfig(ModelConfig, RankingConfig):
    """Stores, ground truth and first ranking of a benchmark, one by one or as the authors name its files."""

    in_data_root: ClassVar[str | None] = None
    """Data set that is meant where `data_root=` stands alone."""

    test_dataset: str | None = Field(
        None,
        description="the authors' files of roxford5k, rparis6k (also with +1m), gldv2-test or gldv2-val, in "
        "place of query=, gallery=, ground_truth= and nn_file=",
    )
    desc_name: str = Field("dinov2", description="how the names of those files begin: dinov2 or cvnet")
    data_root: FolderPath | None = Field(None, description="folder laid out as the authors' is")
    ground_truth: FolderPath = Field(description="gnd_*.pkl of a benchmark, or JSON of the same structure")
    protocol: ProtocolName | None = Field(
        None, description="null: revisited where the ground truth has easy, hard and junk, else gldv2-test"
    )
    nn_file: FolderPath | None = Field(
        None, description="first ranking: .parquet of `neighbors`, or the authors' .pkl; null: computed"
    )

    @model_validator(mode="before")
    @classmethod
    def _authors_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Put the files of a data set where they would have been named one by one."""
        name, root = values.get("test_dataset"), values.get("data_root")
        if name is None and root and "query" not in values:
            name = cls.in_data_root
        if name is None and root:
            raise ConfigError(
                f"data_root={root} holds several data sets, and none is named",
                "pass test_dataset= too, or leave out data_root= beside query= and gallery=",
            )
        if name is None:
            return values
        if not root:
            raise ConfigError(
                f"test_dataset={name} needs data_root=", "the folder laid out as the authors' is"
            )
        desc_name = values.get("desc_name") or "dinov2"
        found = find_benchmark(name, desc_name, root, values.get("nn_file"))
        pooled = "cls" if desc_name.startswith("dinov2") else "global"
        return {"pooled": pooled, **asdict(found), **values, "nn_file": found.nn_file}

    @model_validator(mode="after")
    def _ranks_once(self) -> Self:
        if self.nn_file is not None and self.index != "exact":
            raise ConfigError(
                f"index={self.index} makes a first ranking, and nn_file={self.nn_file} is one",
                "leave one of them out",
            )
        return self


class EvaluateConfig(BenchmarkConfig):
    """From stores and a ground truth to a table of mAP."""

    verb: ClassVar[str] = "evaluate"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray evaluate query=stores/queries gallery=stores/gallery ground_truth=gnd.json output=results/",
        "ames-ray evaluate query=stores/roxford5k_query gallery=[stores/roxford5k,stores/r1m] "
        "ground_truth=/data/roxford5k/gnd_roxford5k.pkl model=dinov2_ames_dist ensemble=dinov2_dist "
        "output=results/",
        "ames-ray evaluate query=stores/gldv2_query gallery=stores/gldv2_index protocol=gldv2-val "
        "ground_truth=/data/gldv2-test/gnd_gldv2-test.pkl model=dinov2_ames.pt lamb=[0.35,0.55] "
        "temp=[0.1,0.3] num_rerank=[100,400,1600] workers=null output=results/",
    )

    experiment: str | None = Field(None, description="published_table: all settings of the row of model=")
    model: FileOrName | None = Field(
        None, description="weights file, or a published name; null: the global ranking alone"
    )
    ensemble: str = Field(
        "default", description="λ, γ and K: published ones of a model, or a file of `ames-ray tune`"
    )
    lamb: Numbers = Field(
        [0.5], min_length=1, description="λ, weight of the global similarity; a list sweeps"
    )
    temp: Numbers = Field([0.5], min_length=1, description="γ, factor of the logit; a list sweeps")
    num_rerank: Counts = Field([100, 400], min_length=1, description="K, images to re-rank; a list sweeps")
    figure: str | None = Field(
        None, description="what marks the best row; null: medium_mAP, public_mAP@100 or val_mAP@100"
    )
    output: FolderPath = Field(
        description="folder for ranking, scores and results; used again, not overwritten"
    )

    @model_validator(mode="after")
    def _reranker_has_a_model(self) -> Self:
        require_model(self.reranker, self.model)
        return self

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        # Asked here, hours before the sweep would.
        for lamb in self.lamb:
            Ensemble(lamb, 0, 0)
        for temp in self.temp:
            Ensemble(0, temp, 0)
        for num_rerank in self.num_rerank:
            Ensemble(0, 0, num_rerank)
        return self

    @model_validator(mode="after")
    def _settings_have_a_model(self) -> Self:
        if self.model is None:
            refuse_without_model(self, _OF_A_MODEL)
        return self

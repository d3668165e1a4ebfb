"""Settings of the verbs that search: neighbors, score and evaluate."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ames_ray.config.jobs import JobConfig
from ames_ray.config.paths import FileOrName, FolderPath
from ames_ray.errors import ConfigError
from ames_ray.evaluation.ensemble import Ensemble

_AUTHORS_NAMES = {
    "model_path": "model",
    "resume": "model",
    "query_sequence_len": "query_desc_num",
    "sequence_len": "db_desc_num",
    "desc_type": "pooled",
}
_ENDINGS = (".safetensors", ".pkl")


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


Uris = Annotated[list[FolderPath], BeforeValidator(_as_list)]
Numbers = Annotated[list[float], BeforeValidator(_as_list)]
Counts = Annotated[list[int], BeforeValidator(_as_list)]


class PairsConfig(JobConfig):
    """Queries and a gallery."""

    moved: ClassVar[dict[str, str]] = _AUTHORS_NAMES

    query: FolderPath = Field(description="store of the queries")
    gallery: Uris = Field(
        min_length=1, description="store of the gallery, or several, counted on: [roxford5k,r1m]"
    )


class NeighborsConfig(PairsConfig):
    """The nearest images by global descriptor."""

    verb: ClassVar[str] = "neighbors"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray neighbors query=stores/queries gallery=stores/gallery output=nn.safetensors",
        "ames-ray neighbors query=stores/queries gallery=[stores/roxford5k,stores/r1m] pooled=cls "
        "shortlist_size=null output=nn_dinov2.pkl",
        "ames-ray neighbors query=stores/train gallery=stores/train exclude_self=true shortlist_size=100 "
        "output=nn_train.pkl",
    )

    pooled: str = Field("global", description="which global descriptor: global or cls")
    shortlist_size: int | None = Field(1600, gt=0, description="images a query; null: the whole gallery")
    exclude_self: bool = Field(False, description="query and gallery are one list; no image is its own hit")
    output: FolderPath = Field(description="file to write: .safetensors, or .pkl as the authors' is")

    @model_validator(mode="after")
    def _known_ending(self) -> Self:
        if not self.output.endswith(_ENDINGS):
            raise ConfigError(f"output={self.output}: its name must end in {' or '.join(_ENDINGS)}")
        return self


class _ModelConfig(PairsConfig):
    """A network and its budgets."""

    reranker: str = Field("ames", description="kind of re-ranker")
    query_desc_num: int = Field(600, gt=0, description="local descriptors of a query, at most")
    db_desc_num: int = Field(600, gt=0, description="local descriptors of a gallery image, at most")
    batch_size: int = Field(300, gt=0, description="gallery images scored at once; bounds the memory")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="arithmetic of the network")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU where there is one")


class ScoreConfig(_ModelConfig):
    """The network's scores of a shortlist."""

    verb: ClassVar[str] = "score"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray score query=stores/queries gallery=stores/gallery nn_file=nn.safetensors "
        "model=dinov2_ames_dist output=scores.safetensors",
        "ames-ray score query=stores/queries gallery=stores/roxford5k nn_file=nn_dinov2.pkl "
        "model=dinov2_ames.pt ground_truth=/data/roxford5k/gnd_roxford5k.pkl num_rerank=1600 "
        "output=scores.safetensors",
    )

    nn_file: FolderPath = Field(description="shortlist: .safetensors of `neighbors`, or the authors' .pkl")
    model: FileOrName = Field(description="weights file, or a published name such as dinov2_ames")
    num_rerank: int = Field(1600, gt=0, description="images of each list to score")
    ground_truth: FolderPath | None = Field(
        None, description="score what its protocol needs: ignored images leave a list before it is cut"
    )
    protocol: Literal["revisited", "gldv2-test", "gldv2-val"] | None = Field(
        None, description="null: revisited where the ground truth has easy, hard and junk, else gldv2-test"
    )
    output: FolderPath = Field(description=".safetensors file to write")

    @model_validator(mode="after")
    def _known_ending(self) -> Self:
        if not self.output.endswith(_ENDINGS[0]):
            raise ConfigError(f"output={self.output}: its name must end in {_ENDINGS[0]}")
        return self


class EvaluateConfig(_ModelConfig):
    """From stores and a ground truth to a table of mAP."""

    verb: ClassVar[str] = "evaluate"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray evaluate query=stores/queries gallery=stores/gallery ground_truth=gnd.json output=results/",
        "ames-ray evaluate query=stores/roxford5k_query gallery=[stores/roxford5k,stores/r1m] "
        "ground_truth=/data/roxford5k/gnd_roxford5k.pkl model=dinov2_ames_dist ensemble=dinov2_dist "
        "output=results/",
        "ames-ray evaluate query=stores/gldv2_query gallery=stores/gldv2_index protocol=gldv2-val "
        "ground_truth=/data/gldv2-test/gnd_gldv2-test.pkl model=dinov2_ames.pt lamb=[0.35,0.55] "
        "temp=[0.1,0.3] num_rerank=[100,400,1600] output=results/",
    )

    ground_truth: FolderPath = Field(description="gnd_*.pkl of a benchmark, or JSON of the same structure")
    protocol: Literal["revisited", "gldv2-test", "gldv2-val"] | None = Field(
        None, description="null: revisited where the ground truth has easy, hard and junk, else gldv2-test"
    )
    pooled: str = Field("global", description="global descriptor of the first ranking: global or cls")
    nn_file: FolderPath | None = Field(
        None, description="first ranking: .safetensors of `neighbors`, or the authors' .pkl; null: computed"
    )
    model: FileOrName | None = Field(
        None, description="weights file, or a published name; null: the global ranking alone"
    )
    ensemble: str = Field("default", description="published λ, γ and K of a model")
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
    def _ranges(self) -> Self:
        # Asked here, hours before the sweep would.
        for lamb in self.lamb:
            Ensemble(lamb, 0, 0)
        for temp in self.temp:
            Ensemble(0, temp, 0)
        for num_rerank in self.num_rerank:
            Ensemble(0, 0, num_rerank)
        return self

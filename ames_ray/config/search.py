"""Settings of the verbs that search with photos, and of `search`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ames_ray.config.jobs import JobConfig
from ames_ray.config.paths import NAMED_BACKBONE, BackboneName, FileOrName, FolderPath
from ames_ray.config.reranker import refuse_without_model, require_model
from ames_ray.evaluation.ensemble import Ensemble


class SearchSettings(JobConfig):
    """What is searched, and how; the base of the verbs that search with photos."""

    store: FolderPath = Field(description="store to search in, from `ames-ray extract`")
    pooled: str = Field("global", description="global descriptor of the first ranking: global or cls")
    num_results: int = Field(50, gt=0, description="images to show of a query")
    num_rerank: int = Field(100, ge=0, description="images to re-rank; 0: the global ranking alone")
    model: FileOrName | None = Field(
        None, description="weights of a re-ranker, or a published name; null: mutual nearest neighbours"
    )
    reranker: str = Field("ames", description="kind of re-ranker that model= belongs to")
    lamb: float = Field(0.5, ge=0, le=1, description="λ, weight of the global similarity beside a model")
    temp: float = Field(0.5, ge=0, description="γ, factor of the model's logit")
    query_desc_num: int = Field(600, gt=0, description="local descriptors of the photo, at most")
    db_desc_num: int = Field(600, gt=0, description="local descriptors of an image of the store, at most")
    backbone: BackboneName | None = Field(None, description=NAMED_BACKBONE)
    weights: FileOrName | None = Field(
        None, description="weights of the backbone; null: where they lay when the store was made"
    )
    detector: FileOrName | None = Field(None, description="detector weights; null: likewise")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="arithmetic of the model")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU where there is one")

    @model_validator(mode="after")
    def _reranker_has_a_model(self) -> Self:
        require_model(self.reranker, self.model)
        if self.model is None:
            refuse_without_model(self, ("lamb", "temp", "precision"))
        return self

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        _ = self.ensemble_settings
        return self

    @property
    def ensemble_settings(self) -> Ensemble:
        """λ, γ and K."""
        return Ensemble(self.lamb, self.temp, self.num_rerank)

    @property
    def budgets(self) -> dict[str, Any]:
        """How much is looked at and shown, by the names of `ames_ray.search.searcher.SearchOptions`."""
        names = {"pooled", "num_results", "num_rerank", "query_desc_num", "db_desc_num"}
        return self.model_dump(include=names)


class SearchConfig(SearchSettings):
    """One photo, or a folder of them, against a store."""

    verb: ClassVar[str] = "search"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray search me.jpg store=store/ output=page/",
        "ames-ray search query=queries/ store=stores/photos num_results=200 num_rerank=400 output=page/",
        "ames-ray search me.jpg store=stores/dinov2 model=dinov2_ames bbox=[120,80,640,560] output=page/",
    )
    positional: ClassVar[tuple[str, ...]] = ("query",)
    moved: ClassVar[dict[str, str]] = {"gallery": "store", "images": "query", "model_path": "model"}

    query: FolderPath = Field(description="photo to search with, or a folder of photos")
    output: FolderPath = Field(description="folder for index.html and results.jsonl; both are replaced")
    bbox: tuple[float, float, float, float] | None = Field(
        None, description="part of the photo to search with: [left,top,right,bottom] [pixels]"
    )
    ground_truth: FolderPath | None = Field(
        None, description="gnd_*.pkl or JSON with qimlist: frames right and wrong images on the page"
    )

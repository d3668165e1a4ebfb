"""Settings of the search for the best settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import BeforeValidator, Field, model_validator

from ames_ray.config.paths import FileOrName, FolderPath
from ames_ray.config.retrieval import BenchmarkConfig, as_list
from ames_ray.config.sweeps import require_disk, sweep_path
from ames_ray.config.tune_training import TuneTrainingConfig
from ames_ray.errors import ConfigError
from ames_ray.tuning.sweep_file import Sweep, parse_sweep
from ames_ray.tuning.training_sweep import is_training

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ames_ray.config.jobs import JobConfig

Models = Annotated[list[FileOrName], BeforeValidator(as_list)]

_BUDGET = ("model", "query_desc_num", "db_desc_num")
"""Settings that each set of scores has one value of."""
_SCORED_WITH = ("reranker", "precision", "query_desc_num", "db_desc_num")
"""Settings that a file of scores tells."""


class TuneConfig(BenchmarkConfig):
    """From stores and a ground truth to the best λ, γ and K, or to a front of budgets."""

    verb: ClassVar[str] = "tune"
    in_data_root: ClassVar[str | None] = "gldv2-val"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray tune query=stores/queries gallery=stores/gallery ground_truth=gnd.json "
        "model=dinov2_ames_dist output=tuning/",
        "ames-ray tune sweep=exact query=stores/gldv2_query gallery=stores/gldv2_index protocol=gldv2-val "
        "ground_truth=/data/gldv2-test/gnd_gldv2-test.pkl nn_file=nn.parquet scores=scores.parquet "
        "output=tuning/",
        "ames-ray tune sweep=budget query=stores/queries gallery=stores/gallery ground_truth=gnd.json "
        "model=[dinov2_ames,dinov2_ames_dist] output=tuning/",
    )
    instead: ClassVar[dict[str, str]] = {
        **BenchmarkConfig.instead,
        "store": "settings of training are searched by `ames-ray tune sweep=training store=…`",
    }

    sweep: str = Field(
        "ensemble",
        description="what to search: ensemble, exact, budget, training (with settings of its own), or a YAML "
        "file of one's own",
    )
    model: Models | None = Field(
        None,
        min_length=1,
        description="weights file or published name; a list compares them; null: those of the sweep's space",
    )
    scores: FolderPath | None = Field(
        None, description=".parquet of `score` with ground_truth=, in place of model="
    )
    figure: str | None = Field(
        None, description="what to raise; null: that of the sweep, else medium_mAP or that of GLDv2"
    )
    num_rerank: int | None = Field(None, gt=0, description="largest K; null: that of the sweep")
    trials: int | None = Field(None, gt=0, description="points to try in all; null: as the sweep says")
    points_per_trial: int = Field(10, gt=0, description="points that one Ray Tune trial takes")
    seed: int = Field(0, ge=0, description="decides the points, with the number of those already tried")
    output: FolderPath = Field(
        description="local folder for scores, study and results, with sweep=exact also an s3:// address; "
        "goes on with them"
    )

    @classmethod
    def for_words(cls, words: Sequence[str]) -> type[JobConfig]:
        """Another class where `sweep=` names a sweep of training."""
        named = [word.partition("=")[2] for word in words if word.startswith("sweep=")]
        if not named:
            return cls
        path = sweep_path(named[-1])
        return TuneTrainingConfig if is_training(path.read_bytes(), path.name) else cls

    @model_validator(mode="after")
    def _can_start(self) -> Self:
        sweep = self.read_sweep()
        chosen = [name for name in _BUDGET if name in sweep.space]
        self._refuse_ignored(sweep, chosen)
        if "model" not in chosen and (self.model is None) == (self.scores is None):
            raise ConfigError("tune needs model= or scores=, and not both")
        if self.scores is not None and self.nn_file is None:
            raise ConfigError("scores= needs nn_file=, the ranking that was scored")
        if sweep.search != "exact":
            require_disk(self.output)
        return self

    def _refuse_ignored(self, sweep: Sweep, chosen: Sequence[str]) -> None:
        """Refuse settings that the sweep would leave without effect."""
        if self.scores is not None and sweep.minimise:
            raise ConfigError(f"sweep={self.sweep} weighs costs, so it needs model= in place of scores=")
        if self.scores is not None and chosen:
            raise ConfigError(
                f"sweep={self.sweep} chooses {' and '.join(chosen)}, but scores= were made with one of each",
                "leave them out of the space, or scores= out of the command",
            )
        if self.scores is not None and (made_with := self.model_fields_set.intersection(_SCORED_WITH)):
            raise ConfigError(
                f"scores={self.scores} were made already, {' and '.join(sorted(made_with))} included",
                "leave it out: it is read from them",
            )
        given = [f"{name}=" for name in chosen if name in self.model_fields_set]
        if self.trials is not None and sweep.search == "exact":
            given.append("trials=")
        if given:
            raise ConfigError(
                f"sweep={self.sweep} leaves no choice of {' and '.join(given)} to the command",
                "leave it out: the space names all values that are tried",
            )

    def read_sweep(self) -> Sweep:
        """The sweep, with the largest K of the command.

        Raises:
            ConfigError: There is no such sweep, or its file is not as it must be; the message names the key.
        """
        path = sweep_path(self.sweep)
        sweep = parse_sweep(path.stem, path.read_bytes(), path.name)
        return sweep if self.num_rerank is None else sweep.with_largest(self.num_rerank)

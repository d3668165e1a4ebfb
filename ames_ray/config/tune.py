"""Settings of the search for the best settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ames_ray.config.compose import config_folder
from ames_ray.config.paths import FileOrName, FolderPath
from ames_ray.config.retrieval import ModelConfig, RankingConfig, as_list
from ames_ray.errors import ConfigError
from ames_ray.files import is_remote
from ames_ray.tuning.sweep_file import Sweep, parse_sweep

_FOLDER = "sweeps"
Models = Annotated[list[FileOrName], BeforeValidator(as_list)]


class TuneConfig(ModelConfig, RankingConfig):
    """From stores and a ground truth to the best λ, γ and K, or to a front of budgets."""

    verb: ClassVar[str] = "tune"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray tune query=stores/queries gallery=stores/gallery ground_truth=gnd.json "
        "model=dinov2_ames_dist output=tuning/",
        "ames-ray tune sweep=exact query=stores/gldv2_query gallery=stores/gldv2_index protocol=gldv2-val "
        "ground_truth=/data/gldv2-test/gnd_gldv2-test.pkl nn_file=nn.parquet scores=scores.parquet "
        "output=tuning/",
        "ames-ray tune sweep=budget query=stores/queries gallery=stores/gallery ground_truth=gnd.json "
        "model=[dinov2_ames,dinov2_ames_dist] output=tuning/",
    )

    sweep: str = Field(
        "ensemble", description="what to search: ensemble, exact, budget, or a YAML file of one's own"
    )
    ground_truth: FolderPath = Field(description="gnd_*.pkl of a benchmark, or JSON of the same structure")
    protocol: Literal["revisited", "gldv2-test", "gldv2-val"] | None = Field(
        None, description="null: revisited where the ground truth has easy, hard and junk, else gldv2-test"
    )
    nn_file: FolderPath | None = Field(
        None, description="first ranking: .parquet of `neighbors`, or the authors' .pkl; null: computed"
    )
    model: Models | None = Field(
        None, min_length=1, description="weights file or published name; a list compares them"
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
    output: FolderPath = Field(description="local folder for scores, study and results; goes on with them")

    @model_validator(mode="after")
    def _can_start(self) -> Self:
        if (self.model is None) == (self.scores is None):
            raise ConfigError("tune needs model= or scores=, and not both")
        if self.scores is not None and self.nn_file is None:
            raise ConfigError("scores= needs nn_file=, the ranking that was scored")
        if is_remote(self.output):
            raise ConfigError(
                f"output={self.output}: a study is a file that is appended to, on a local or shared disk"
            )
        if self.scores is not None and self.read_sweep().minimise:
            raise ConfigError(f"sweep={self.sweep} weighs costs, so it needs model= in place of scores=")
        self.read_sweep()
        return self

    def read_sweep(self) -> Sweep:
        """The sweep, with the largest K of the command.

        Raises:
            ConfigError: There is no such sweep, or its file is not as it must be; the message names the key.
        """
        path = _path(self.sweep)
        sweep = parse_sweep(path.stem, path.read_bytes(), path.name)
        return sweep if self.num_rerank is None else sweep.with_largest(self.num_rerank)


def _path(sweep: str) -> Path:
    folder = config_folder() / _FOLDER
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    path = folder / f"{sweep}.yaml" if sweep in known else Path(sweep).expanduser()
    if not path.is_file():
        raise ConfigError(
            f"sweep={sweep}: there is no such sweep, and no such file",
            f"known: {', '.join(known)}; copy one of {folder} for a space of your own",
        )
    return path

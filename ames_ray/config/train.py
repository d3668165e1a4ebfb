"""Settings of training."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from ames_ray.config.jobs import JobConfig
from ames_ray.config.paths import FileOrName, FolderPath
from ames_ray.config.retrieval import Uris
from ames_ray.errors import ConfigError
from ames_ray.retrieval.benchmark import ProtocolName

RECIPE = (
    *("source", "batch_size", "num_neighbors", "negatives", "min_desc", "max_desc"),
    *(
        "binary",
        "bits",
        "dim",
        "heads",
        "blocks",
        "feedforward",
        "initialisation",
        "freeze_rotation",
        "beta",
        "padding_counts",
    ),
    *("epochs", "lr", "weight_decay", "clip_norm", "precision", "seed"),
)
"""Settings that a recipe may hold: all that decide the weights, files aside."""

DECIDE_NOTHING = {
    *("recipe", "output", "overwrite", "pack", "checkpoint_every", "accumulate", "compile"),
    *("address", "workers", "min_workers", "gpus_per_worker", "cpus_per_worker", "device", "max_failures"),
    "stall_timeout",
}
"""Settings that change no weight, beyond rounding: a run may go on with others."""


class TrainSettings(JobConfig):
    """What one run of training takes."""

    moved: ClassVar[dict[str, str]] = {
        "num_epochs": "epochs",
        "max_epoch": "epochs",
        "learning_rate": "lr",
        "teacher_path": "teacher",
        "save_path": "output",
        "resume": "output",
        "model.binarized": "binary",
        "num_candidates": "num_neighbors",
        "query_desc_num": "max_desc",
        "db_desc_num": "max_desc",
        "cpu": "device=cpu",
    }
    instead: ClassVar[dict[str, str]] = {
        **dict.fromkeys(
            ("desc_name", "descriptors", "data_root"), "store= names the store of the training images"
        ),
        "train_dataset.batch_size": "batch_size= counts triplets, three images each: 300 is batch_size=100",
        "train_dataset.train_txt": "the list is given to `ames-ray extract dataset=gldv2_train list_file=…`",
        "num_workers": "descriptors are read ahead anyway; workers= shares each batch among processes",
        "val_freq": "with val_query=, val_gallery= and val_ground_truth= every epoch is validated",
        "print_freq": "log.csv and TensorBoard's files in output= have every step",
        "multirun": "leave it out: `ames-ray tune sweep=training` tries many settings",
    }

    recipe: str = Field(
        "published",
        description="defaults of the settings: the authors', for a small network on few photos, or a file of "
        "`ames-ray tune sweep=training`",
    )
    store: FolderPath = Field(
        description="store of the training images, or the authors' HDF5 file; its list has labels"
    )
    nn_file: FolderPath = Field(
        description="neighbours of every training image: `ames-ray neighbors` with the store as query and "
        "gallery, exclude_self=true; 300 an image are enough"
    )
    source: str = Field(
        "neighbors",
        description="who chooses the triplets; neighbors: the published sampler; views: from made-up views "
        "of photos, as `ames-ray samples set=landmarks_mini` makes them",
    )
    batch_size: int = Field(100, gt=0, description="triplets of a step, on all workers together")
    num_neighbors: int = Field(300, gt=0, description="neighbours that positives and negatives come from")
    negatives: int = Field(
        1,
        gt=0,
        description="negatives of each anchor, of which a step takes one: the more alike the network finds "
        "it, the more likely; the published recipe has one",
    )
    min_desc: int = Field(10, gt=0, description="fewest local descriptors that a step sees of an image")
    max_desc: int = Field(
        400, gt=1, description="counts are drawn below it; a store that keeps fewer lowers it"
    )

    binary: bool = Field(False, description="train a network whose descriptors are signs")
    bits: int | None = Field(
        None, gt=0, description="signs of a descriptor of a binary network; null: as many as dim"
    )
    dim: int = Field(128, gt=0, description="width of a token")
    heads: int = Field(2, gt=0, description="attention heads")
    blocks: int = Field(5, gt=0, description="transformer blocks")
    feedforward: int = Field(1024, gt=0, description="hidden width of a block")
    initialisation: Literal["published", "identity", "teacher"] = Field(
        "published",
        description="first weights; identity: cross-attention starts as a search for nearest neighbours, "
        "which small networks and data sets need; teacher: those of teacher=, which shortens distillation",
    )
    itq: FolderPath | None = Field(
        None, description="file of `ames-ray itq` that a binary network starts from"
    )
    freeze_rotation: bool = Field(
        False,
        description="leave the rotation in front of the signs as itq= has it: its gradient is mostly noise, "
        "and a projected store serves every network with the same one; the released trainer trains it",
    )
    teacher: FileOrName | None = Field(
        None, description="trained full-precision network whose output tokens are to be reproduced"
    )
    beta: float = Field(10.0, ge=0, description="weight of the squared error of the tokens")
    padding_counts: bool = Field(False, description="let padding count in it, as the released trainer does")

    epochs: int = Field(15, gt=0, description="times that every anchor is seen")
    lr: float = Field(2e-4, gt=0, description="first learning rate; it falls to 0 along a cosine")
    weight_decay: float = Field(5e-4, ge=0, description="of AdamW, on all weights")
    clip_norm: float | None = Field(None, gt=0, description="longest gradient; null: no clipping")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="arithmetic of the blocks; weights and losses stay float32"
    )
    pack: bool = Field(
        True, description="give a local store its packed copy first, once: a step reads scattered rows"
    )
    accumulate: int = Field(1, gt=0, description="parts a step is computed in: less memory, equal gradient")
    compile: bool = Field(False, description="compile the network; the first steps take minutes")
    seed: int = Field(0, ge=0, description="of first weights, triplets and counts")

    val_query: FolderPath | None = Field(None, description="store of held-out queries; null: no validation")
    val_gallery: Uris | None = Field(None, description="store of their gallery, or several")
    val_ground_truth: FolderPath | None = Field(None, description="gnd_*.pkl, or JSON of that structure")
    val_protocol: ProtocolName | None = Field(
        None, description="null: revisited where the ground truth has easy, hard and junk, else gldv2-test"
    )
    val_nn_file: FolderPath | None = Field(None, description="their first ranking; null: computed")
    val_pooled: str = Field("global", description="global descriptor of the first ranking: global or cls")
    val_num_rerank: int = Field(400, gt=0, description="images that are re-ranked")
    val_desc_num: int = Field(400, gt=0, description="local descriptors of an image, at most")
    val_lamb: float = Field(0.0, ge=0, le=1, description="λ, weight of the global similarity")
    val_temp: float = Field(1.0, ge=0, description="γ, factor of the logit")
    figure: str | None = Field(
        None, description="what decides the best epoch; null: medium_mAP, public_mAP@100 or val_mAP@100"
    )

    output: FolderPath = Field(description="folder of the run; the same command goes on where it stopped")
    checkpoint_every: int = Field(500, gt=0, description="steps between checkpoints to resume from")

    address: str | None = Field(None, description="Ray cluster; null: RAY_ADDRESS, else a local one")
    workers: int = Field(
        1, gt=0, description="processes that share each batch; 1 without an address: this one, without Ray"
    )
    gpus_per_worker: float | None = Field(None, ge=0, description="null: 1 where there are GPUs")
    cpus_per_worker: float = Field(1, gt=0, description="CPUs that Ray reserves for a worker")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU where there is one")
    max_failures: int = Field(3, ge=-1, description="worker deaths to recover from; -1: any number")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.min_desc >= self.max_desc:
            raise ConfigError(f"min_desc={self.min_desc}: it must be below max_desc={self.max_desc}")
        held_out = {name: getattr(self, name) for name in ("val_query", "val_gallery", "val_ground_truth")}
        missing = [name for name, value in held_out.items() if value is None]
        if missing and len(missing) < len(held_out):
            raise ConfigError(f"validation also needs {'= and '.join(missing)}=", "or none of the three")
        if self.bits is not None and not self.binary:
            raise ConfigError("bits= are those of a binary network", "pass binary=true too, or no bits=")
        if self.itq and not self.binary:
            raise ConfigError("itq= starts a binary network", "pass binary=true too, or no itq=")
        if self.freeze_rotation and not self.itq:
            raise ConfigError("freeze_rotation=true keeps the rotation of itq=", "name its file")
        if self.initialisation == "teacher" and self.teacher is None:
            raise ConfigError("initialisation=teacher starts from the weights of teacher=", "name its file")
        return self


class TrainConfig(TrainSettings):
    """From a store with labels and its neighbours to the weights of an AMES network."""

    verb: ClassVar[str] = "train"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray train store=stores/train nn_file=nn_train.parquet output=runs/full",
        "ames-ray train store=stores/train nn_file=nn_train.pkl teacher=runs/full/last.pt binary=true "
        "itq=itq_dinov2_D128.npz workers=8 output=runs/binary",
        "ames-ray train recipe=small store=stores/train nn_file=nn_train.pkl val_query=stores/val_query "
        "val_gallery=stores/val_gallery val_ground_truth=gnd_val.json val_num_rerank=100 output=runs/small",
    )

    overwrite: bool = Field(False, description="delete the run in output and start anew")
    min_workers: int | None = Field(
        None, gt=0, description="go on with so many where nodes are lost; null: wait for all"
    )
    stall_timeout: float = Field(
        1800, gt=0, description="start workers on Ray again that finish no step or validation for so long [s]"
    )

    @model_validator(mode="after")
    def _few_enough(self) -> Self:
        if (self.min_workers or 0) > self.workers:
            raise ConfigError(f"min_workers={self.min_workers} is above workers={self.workers}")
        return self

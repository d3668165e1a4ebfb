"""Settings of the training of a detector."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from ames_ray.config.extract import ImagesConfig
from ames_ray.config.paths import BackboneName, FileOrName, FolderPath


class TrainDetectorConfig(ImagesConfig):
    """From labelled pictures to a detector for a backbone."""

    verb: ClassVar[str] = "train_detector"
    examples: ClassVar[tuple[str, ...]] = (
        "ames-ray train_detector dataset=list list_file=train.txt data_root=/data output=detector/",
        "ames-ray train_detector dataset=gldv2_train data_root=/data backbone=hf:facebook/dinov2-large "
        "steps=20000 landmarks=16 output=detector/",
        "ames-ray train_detector images=photos_by_landmark/ backbone=dinov2_vits14_reg steps=500 "
        "output=detector/",
    )
    moved: ClassVar[dict[str, str]] = {
        "desc_name": "backbone",
        "descriptors": "backbone",
        "data_path": "data_root",
        "file_name": "list_file",
        "num_workers": "decode_threads",
        "save_path": "output",
        "resume": "output",
        "batch_size": "landmarks",
        "max_iter": "steps",
        "temperature": "temp",
    }

    backbone: BackboneName = Field(
        "dinov2", description="network that stays as it is: one of the names, hf:<id>, or module:function"
    )
    weights: FileOrName | None = Field(
        None, description="weights file or Hugging Face id; null: the published ones"
    )
    imsize: int | None = Field(
        None,
        gt=0,
        description="longer side after resizing [pixels]; null: as it is; where not given, dinov2: 770",
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="arithmetic of the backbone; the detector computes in float32"
    )
    steps: int = Field(2000, gt=0, description="batches to train on")
    landmarks: int = Field(8, gt=1, description="landmarks of a batch")
    landmark_images: int = Field(4, gt=1, description="pictures of each landmark of a batch")
    lr: float = Field(1e-3, gt=0, description="learning rate at the start; falls to 0 along a cosine")
    weight_decay: float = Field(1e-4, ge=0, description="of AdamW")
    temp: float = Field(0.05, gt=0, description="temperature of the contrastive loss")
    decode_threads: int = Field(2, gt=0, description="threads that read and decode ahead of the network")
    checkpoint_every: int = Field(100, gt=0, description="steps between two checkpoints")
    seed: int = Field(0, ge=0, description="decides the first weights and what is drawn")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU where there is one")
    output: FolderPath = Field(description="folder for detector.pt, log and checkpoints; the same resumes")
    overwrite: bool = Field(False, description="delete the run in output and start anew")

    @model_validator(mode="before")
    @classmethod
    def _all_places_count(cls, values: dict[str, Any]) -> dict[str, Any]:
        # The YAML files of the backbones say how many descriptors extraction keeps; training looks at all.
        return {name: value for name, value in values.items() if name != "topk"}

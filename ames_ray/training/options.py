"""What decides a training run, besides its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ames_ray.errors import ConfigError


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Settings of the step and of the loop; the defaults are the published recipe.

    Attributes:
        epochs: Times that every anchor is seen.
        lr: Learning rate at the start; it falls to 0 along a cosine, step by step.
        weight_decay: Of AdamW, on all parameters.
        beta: Weight of the token loss where there is a teacher.
        teacher_desc_num: Descriptors of each image that the teacher sees.
        padding_counts: Tokens of padding count in the token loss, as in the released trainer.
        precision: Arithmetic of the blocks; losses, projection and weights stay float32.
        clip_norm: Longest gradient; none does not clip.
        accumulate: Parts that a worker's share of a batch is computed in, one after another: the same
            gradient in less memory.
        compile: Compile the network; the first steps take minutes.
        checkpoint_every: Steps between two checkpoints; there is one after each epoch besides.

    Raises:
        ConfigError: A value is outside its range.
    """

    epochs: int = 15
    lr: float = 2e-4
    weight_decay: float = 5e-4
    beta: float = 10.0
    teacher_desc_num: int = 400
    padding_counts: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"
    clip_norm: float | None = None
    accumulate: int = 1
    compile: bool = False
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        for name in ("epochs", "teacher_desc_num", "accumulate", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: allowed are whole numbers from 1")
        for name in ("lr", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name}={value}: allowed are numbers above 0")

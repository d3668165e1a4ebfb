"""`ames-ray extract` on the running Ray, with the smallest backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ames_ray.config.compose import compose
from ames_ray.config.extract import ExtractConfig
from ames_ray.config.options import dataset_options
from ames_ray.datasets.registry import build_manifest
from ames_ray.distributed.board import BoardState
from ames_ray.distributed.extract import ExtractReport, run
from tests.extract_here import extract_here


class Quiet:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.states: list[BoardState] = []
        self.began: tuple[int, int] | None = None

    def begin(self, rows: int, done: int) -> None:
        self.began = (rows, done)

    def update(self, state: BoardState) -> None:
        self.states.append(state)


def extract(
    images: Path, output: Path, *words: str, watcher: Any = None, retry: bool = False
) -> ExtractReport:
    config = compose(ExtractConfig, _words(images, output, words))
    return run(config, build_manifest(dataset_options(config)), watcher or Quiet(), retry=retry)


def extract_alone(images: Path, output: Path, *words: str) -> None:
    """The same store without Ray, one image after the other."""
    extract_here(_words(images, output, words))


def _words(images: Path, output: Path, words: tuple[str, ...]) -> list[str]:
    base = (
        f"images={images}",
        f"output={output}",
        "backbone=blank",
        "shard_rows=5",
        "workers=1",
        "device=cpu",
    )
    given = {word.partition("=")[0] for word in words}
    return [*(word for word in base if word.partition("=")[0] not in given), *words]

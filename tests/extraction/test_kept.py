"""Rows that a shard keeps, while other workers change the shards beside it, and after kills."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ames_ray.config.compose import compose
from ames_ray.config.extract import ExtractConfig
from ames_ray.config.options import dataset_options, make_extractor, read_options, store_meta
from ames_ray.datasets.registry import build_manifest
from ames_ray.extraction.progress import Progress
from ames_ray.extraction.shard import ShardExtractor
from ames_ray.files import Storage
from ames_ray.store.shards import withdraw
from ames_ray.store.writer import ShardTask, StoreWriter
from tests.extract_here import extract_here
from tests.photos import make_photos, shard_hashes


class Retry:
    """`ames-ray store retry`, shard by shard, of photos two of which were damaged and are good again."""

    def __init__(self, folder: Path) -> None:
        self.steps: list[Progress] = []
        words = [f"images={folder / 'photos'}", "backbone=blank", "shard_rows=4"]
        make_photos(folder / "photos", 8)
        for name in ("photo1.jpg", "photo6.jpg"):
            shutil.move(folder / "photos" / name, folder)
            (folder / "photos" / name).touch()
        extract_here([*words, f"output={folder / 'store'}"])
        for name in ("photo1.jpg", "photo6.jpg"):
            shutil.move(folder / name, folder / "photos" / name)
        extract_here([*words, f"output={folder / 'fresh'}"])
        config = compose(ExtractConfig, [*words, f"output={folder / 'store'}"])
        self.storage = Storage.at(config.output)
        self.manifest = build_manifest(dataset_options(config))
        extractor = make_extractor(config, "cpu")
        meta = store_meta(config, self.manifest, extractor.spec)
        self.writer = StoreWriter.open(self.storage, meta, self.manifest)
        self.tasks = self.writer.retry_failed()
        assert [task.keep for task in self.tasks] == [(0, 2, 3), (4, 5, 7)]
        self._work = ShardExtractor(
            self.storage,
            meta,
            extractor,
            read_options(config),
            batch_size=2,
            decode_threads=1,
            report=lambda _, rows, step: self.steps.append(step),
        )

    def __call__(self, task: ShardTask) -> None:
        self._work(task, self.manifest.records(task.start, task.stop))


@pytest.fixture
def retry(tmp_path: Path) -> Retry:
    return Retry(tmp_path)


def test_progress_counts_what_is_computed(retry: Retry) -> None:
    for task in retry.tasks:
        retry(task)
    total = sum(retry.steps, Progress())
    assert (total.rows, total.failed) == (2, 0)


def test_the_marks_of_other_shards_do_not_matter(retry: Retry, tmp_path: Path) -> None:
    first, second = retry.tasks
    mark = tmp_path / "store" / "progress" / "00001.json"
    whole = mark.read_bytes()
    mark.write_bytes(b"")
    retry(first)
    mark.write_bytes(whole)
    retry(second)
    retry.writer.finish({})
    assert shard_hashes(tmp_path / "store") == shard_hashes(tmp_path / "fresh")


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_try_that_died_while_it_published_costs_the_kept_rows(
    is_replaced: bool, retry: Retry, tmp_path: Path
) -> None:
    """Killed behind the mark's withdrawal, before or after the shard was replaced."""
    if is_replaced:
        retry(retry.tasks[0])
    withdraw(retry.storage, 0)
    for task in retry.tasks:
        retry(task)
    retry.writer.finish({})
    assert shard_hashes(tmp_path / "store") == shard_hashes(tmp_path / "fresh")

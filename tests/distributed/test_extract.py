"""Extraction on a real local Ray, with real files; small pictures, so that only the machinery is tested."""

from __future__ import annotations

import csv
import os
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
import ray

from ames_ray.distributed import extract as module
from ames_ray.distributed.board import BoardState
from ames_ray.errors import FailedRowsError, RunError
from ames_ray.store.reader import Store
from tests.distributed.backbones import POISON
from tests.distributed.extracting import Quiet, extract, extract_alone
from tests.images.bad_folder import make_bad_folder
from tests.photos import make_photos, shard_hashes

pytestmark = pytest.mark.usefixtures("local_ray")


def poison(path: Path) -> None:
    picture = np.full((32, 32, 3), 200, dtype=np.uint8)
    picture[0, 0] = POISON
    cv2.imwrite(str(path), picture)


def test_three_workers_write_the_bytes_of_one_process(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 23)
    extract_alone(tmp_path / "photos", tmp_path / "alone", "backbone=sift")
    three = extract(tmp_path / "photos", tmp_path / "three", "backbone=sift", "batch_size=3", "workers=3")
    assert shard_hashes(tmp_path / "alone") == shard_hashes(tmp_path / "three")
    assert (three.rows, three.computed, three.failed) == (23, 23, {})
    assert len(three.workers) == 3
    assert Store.open(str(tmp_path / "three")).meta.shards == 5


def test_a_finished_store_is_left_alone(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 7)
    extract_alone(tmp_path / "photos", tmp_path / "store")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "store" / "shards").iterdir()}
    report = extract(tmp_path / "photos", tmp_path / "store")
    assert report.computed == 0
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "store" / "shards").iterdir()} == before


def test_what_a_finished_store_lost_is_written_again(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 7)
    extract_alone(tmp_path / "photos", tmp_path / "store")
    (tmp_path / "store" / "card.json").write_bytes(b"{")
    (tmp_path / "store" / "shards.json").unlink()
    assert extract(tmp_path / "photos", tmp_path / "store").computed == 0
    store = Store.open(str(tmp_path / "store"))
    assert (sorted(store.summaries), store.card["job"]) == ([0, 1], "extract")


def test_only_missing_shards_are_made_again(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 17)
    extract_alone(tmp_path / "photos", tmp_path / "store")
    whole = shard_hashes(tmp_path / "store")
    (tmp_path / "store" / "progress" / "00001.json").unlink()
    (tmp_path / "store" / "card.json").unlink()
    (tmp_path / "store" / "shards" / "00002.parquet.tmp-1-0123abcd").write_bytes(b"half")
    watcher = Quiet()
    report = extract(tmp_path / "photos", tmp_path / "store", watcher=watcher)
    assert report.computed == 5
    assert watcher.began == (17, 12)
    assert shard_hashes(tmp_path / "store") == whole


def test_a_longer_list_costs_only_the_new_rows(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 7)
    extract_alone(tmp_path / "photos", tmp_path / "store")
    make_photos(tmp_path / "photos", 5, first=7)
    report = extract(tmp_path / "photos", tmp_path / "store")
    assert report.computed == 5
    extract_alone(tmp_path / "photos", tmp_path / "fresh")
    assert shard_hashes(tmp_path / "store") == shard_hashes(tmp_path / "fresh")


def test_every_kind_of_bad_file_in_one_run(tmp_path: Path) -> None:
    expected = make_bad_folder(tmp_path / "photos")
    report = extract(tmp_path / "photos", tmp_path / "store", "workers=2", "max_pixels=1000000")
    store = Store.open(str(tmp_path / "store"))
    found = {f.record.image_id: f.reason for s in range(store.meta.shards) for f in store.features(s)}
    named = {Path(name).name: reason for name, reason in found.items()}
    assert len(found) == len(expected)
    for name, reason in expected.items():
        assert named[name] == reason, name
    with (tmp_path / "store" / "failed.csv").open() as handle:
        listed = {Path(line["image_id"]).name: line["reason"] for line in csv.DictReader(handle)}
    assert listed == {name: reason for name, reason in expected.items() if reason}
    assert sum(report.failed.values()) == len(listed)
    with pytest.raises(FailedRowsError, match="rows failed"):
        extract(tmp_path / "photos", tmp_path / "store", "max_pixels=1000000", "strict=true")


def test_a_picture_on_which_the_network_raises_is_a_row_wherever_it_is(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 3)
    poison(tmp_path / "photos" / "a.png")  # the first of all
    words = ["backbone=tests.distributed.backbones:raising"]
    assert extract(tmp_path / "photos", tmp_path / "store", *words).failed == {"network_failed": 1}
    (tmp_path / "bad").mkdir()
    poison(tmp_path / "bad" / "a.png")
    with pytest.raises(RunError, match="ZeroDivisionError: no contrast"):
        extract(tmp_path / "bad", tmp_path / "never", *words)


def test_repaired_files_are_retried_alone(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    make_photos(photos, 12)
    for name in ("photo3.jpg", "photo8.jpg"):
        shutil.copy(photos / name, tmp_path / name)
        (photos / name).write_bytes(b"")
    assert extract(photos, tmp_path / "store").failed == {"empty": 2}
    shutil.copy(tmp_path / "photo3.jpg", photos)
    report = extract(photos, tmp_path / "store", retry=True)
    assert (report.computed, report.failed) == (2, {"empty": 1})
    shutil.copy(tmp_path / "photo8.jpg", photos)
    assert extract(photos, tmp_path / "store", retry=True).failed == {}
    extract_alone(photos, tmp_path / "fresh")
    assert shard_hashes(tmp_path / "store") == shard_hashes(tmp_path / "fresh")


def test_a_poison_image_is_found_and_its_neighbours_are_unharmed(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    make_photos(photos, 13, first=1)
    # First in the list, it also kills the process that tries the backbone before all workers.
    poison(photos / "photo0.png")
    words = ("backbone=tests.distributed.backbones:poisonable", "topk=4", "batch_size=1", "shard_rows=10")
    report = extract(photos, tmp_path / "store", *words)
    assert report.failed == {"worker_died": 1}
    store = Store.open(str(tmp_path / "store"))
    rows = {f.record.image_id: f for s in range(store.meta.shards) for f in store.features(s)}
    assert next(iter(rows)) == "photo0.png"
    assert rows["photo0.png"].reason == "worker_died"
    extract_alone(photos, tmp_path / "blank", "topk=4", "batch_size=1", "shard_rows=10")
    plain = Store.open(str(tmp_path / "blank"))
    for shard in range(plain.meta.shards):
        for features in plain.features(shard):
            if features.record.image_id != "photo0.png":
                ours = rows[features.record.image_id].local
                assert ours is not None
                assert features.local is not None
                assert np.array_equal(ours.descriptors, features.local.descriptors)


def test_a_model_that_kills_its_process_ends_the_run_before_it_begins(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 3)
    words = ("backbone=tests.distributed.backbones:deadly", f"weights={os.getpid()}")
    with pytest.raises(RunError, match="a worker could not go on"):
        extract(tmp_path / "photos", tmp_path / "store", *words)
    assert not (tmp_path / "store" / "meta.json").exists()


class KillOneWorker(Quiet):
    """Kills a worker process once some rows are done."""

    killed = 0

    def update(self, state: BoardState) -> None:
        super().update(state)
        if not self.killed and state.progress.rows >= 2:
            self.killed = int(next(iter(state.workers)).rsplit("-", 1)[1])
            psutil.Process(self.killed).kill()


def test_a_killed_worker_costs_nothing(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 20)
    words = ("backbone=tests.distributed.backbones:slow", "topk=4", "batch_size=1")
    watcher = KillOneWorker()
    report = extract(tmp_path / "photos", tmp_path / "store", *words, "workers=2", watcher=watcher)
    assert watcher.killed
    assert report.failed == {}
    extract_alone(tmp_path / "photos", tmp_path / "undisturbed", *words)
    assert shard_hashes(tmp_path / "store") == shard_hashes(tmp_path / "undisturbed")


@pytest.mark.faults
def test_a_stall_names_the_rows_and_resumes(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    make_photos(photos, 9)
    poison(photos / "photo7.png")
    words = ("backbone=tests.distributed.backbones:stalling", "topk=4", "batch_size=1", "workers=1")
    with pytest.raises(RunError, match=r"no image was finished for 4 s; in hand: shard 1"):
        extract(photos, tmp_path / "store", *words, "stall_timeout=4")
    _wait_until_nothing_is_reserved()
    make_photos(photos, 1, first=100)
    (photos / "photo100.jpg").rename(photos / "photo7.png")
    # Ray Data may hand out the other shard first or second.
    left = 2 - len(list((tmp_path / "store").glob("progress/*.json")))
    assert extract(photos, tmp_path / "store", *words).computed == 5 * left


class Hasty(Quiet):
    """Takes the time that workers have to start, once one of them waits for its weights."""

    def __init__(self, waiting: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self._waiting, self._patch = waiting, patch

    def update(self, state: BoardState) -> None:
        super().update(state)
        if self._waiting.exists():
            self._patch.setattr(module, "START_SECONDS", 0)


def test_workers_that_never_begin_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, store = tmp_path / "photos", tmp_path / "store"
    make_photos(photos, 3)
    words = ("backbone=tests.distributed.backbones:waiting", f"weights={store}", "stall_timeout=2")
    with pytest.raises(RunError, match="no worker began within 2 s, and there is room for 1"):
        extract(photos, store, *words, watcher=Hasty(tmp_path / "waiting", monkeypatch))
    _wait_until_nothing_is_reserved()


def _wait_until_nothing_is_reserved() -> None:
    deadline = time.monotonic() + 60
    while ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"]:
        assert time.monotonic() < deadline, "the worker that hangs still holds its CPU"
        time.sleep(0.1)


def test_each_worker_gets_the_gpu_that_ray_assigned(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 12)
    report = extract(
        tmp_path / "photos",
        tmp_path / "store",
        "workers=2",
        "gpus_per_worker=1",
        "backbone=sift",
        "shard_rows=3",
    )
    reserved = sorted(line.partition(": ")[2] for line in report.workers)
    assert reserved == ["cpu, GPU 0 reserved", "cpu, GPU 1 reserved"]


def test_hdf5_shards_hold_the_same_and_are_joined_in_one_file(tmp_path: Path) -> None:
    import h5py

    make_photos(tmp_path / "photos", 12)
    extract_alone(tmp_path / "photos", tmp_path / "parquet", "backbone=sift", "topk=20")
    words = ("backbone=sift", "topk=20", "format=hdf5")
    extract_alone(tmp_path / "photos", tmp_path / "one", *words)
    extract(tmp_path / "photos", tmp_path / "two", *words, "workers=2")
    assert shard_hashes(tmp_path / "one") == shard_hashes(tmp_path / "two")
    plain, other = Store.open(str(tmp_path / "parquet")), Store.open(str(tmp_path / "one"))
    rows = [11, 0, 5, 5]
    assert np.array_equal(plain.read(rows).descriptors, other.read(rows).descriptors)
    assert np.array_equal(plain.pooled("global"), other.pooled("global"))
    joined = list((tmp_path / "one").glob("*.hdf5"))
    assert len(joined) == 1
    with h5py.File(joined[0]) as file:
        assert file["features"].shape[0] == 12

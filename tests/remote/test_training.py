"""Training from a store in a bucket, and into one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ames_ray.config.train import TrainConfig
from ames_ray.config.train_parts import prepare
from ames_ray.errors import AmesError
from ames_ray.files import Storage
from ames_ray.store.reader import Store
from ames_ray.training.loader import pack_for_training
from tests.extract_here import extract_here
from tests.photos import make_photos
from tests.remote.server import BUCKET, S3Server, contents
from tests.training.landmarks import make_training_folder
from tests.training.runs import Killed, Watching, curve, job, one_thread, run_here, validated


def test_a_remote_store_is_not_packed_and_that_is_said(
    s3: S3Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = f"s3://{BUCKET}/training"
    make_photos(tmp_path / "photos", 2, size=96)
    extract_here([f"images={tmp_path / 'photos'}", f"output={store}", "backbone=sift", "topk=20"])
    kept = contents(s3, "training/")
    pack_for_training([Store.open(store)])
    assert [record.getMessage() for record in caplog.records] == [
        f"{store} is remote: every step reads scattered rows over the network"
    ]
    assert contents(s3, "training/") == kept


def test_a_run_in_a_bucket_does_not_delete_what_it_reads(s3: S3Server, tmp_path: Path) -> None:
    here, run = make_training_folder(tmp_path), f"s3://{BUCKET}/runs/reading"
    Storage.at(run).publish("log.csv", b"neighbours")
    Storage.at(run).publish("nn.csv", b"neighbours")
    before = contents(s3, "runs/reading/")
    for name, said in (
        ("log.csv", f"nn_file={run}/log.csv would be lost"),
        ("nn.csv", "is not a file of scores"),
    ):
        config = job(here, Path("o"), f"output={run}", f"nn_file={run}/{name}", "overwrite=true")
        with pytest.raises(AmesError, match=said):
            prepare(config)
    assert contents(s3, "runs/reading/") == before


def test_a_killed_run_in_a_bucket_gives_the_files_of_an_undisturbed_one_on_disk(
    s3: S3Server, tmp_path: Path
) -> None:
    here = make_training_folder(tmp_path)
    run = f"s3://{BUCKET}/runs/full"

    def config(output: str | Path) -> TrainConfig:
        return job(here, Path("o"), *validated(here), f"output={output}")

    with one_thread():
        run_here(config(tmp_path / "run"))
        with pytest.raises(Killed):
            run_here(config(run), Watching(7))
        assert run_here(config(run)).computed == 4
    found = {key.removeprefix("runs/full/"): data for key, data in contents(s3, "runs/full/").items()}
    for name in ("last.safetensors", "best.safetensors", "epochs.csv"):
        assert found[name] == (tmp_path / "run" / name).read_bytes(), name
    (tmp_path / "fetched").mkdir()
    (tmp_path / "fetched" / "log.csv").write_bytes(found["log.csv"])
    assert curve(tmp_path / "fetched") == curve(tmp_path / "run")
    assert sum(name.startswith("checkpoints/step-") for name in found) == 2
    assert "card.json" in found

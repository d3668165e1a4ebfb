"""Training from a store in a bucket."""

from __future__ import annotations

from pathlib import Path

import pytest

from ames_ray.config.compose import compose
from ames_ray.config.train import TrainConfig
from ames_ray.config.train_parts import prepare
from tests.extract_here import extract_here
from tests.photos import make_photos
from tests.remote.server import BUCKET, S3Server, contents


def test_a_remote_store_is_not_packed_and_that_is_said(
    s3: S3Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = f"s3://{BUCKET}/training"
    make_photos(tmp_path / "photos", 2, size=96)
    extract_here([f"images={tmp_path / 'photos'}", f"output={store}", "backbone=sift", "topk=20"])
    kept = contents(s3, "training/")
    words = [f"store={store}", f"nn_file={tmp_path / 'nn.parquet'}", f"output={tmp_path / 'run'}"]
    prepare(compose(TrainConfig, words))
    assert [record.getMessage() for record in caplog.records] == [
        f"{store} is remote: every step reads scattered rows over the network"
    ]
    assert contents(s3, "training/") == kept

"""What an extraction on a real local Ray refuses before it starts."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from ames_ray.config.compose import compose
from ames_ray.config.extract import ExtractConfig
from ames_ray.config.options import dataset_options
from ames_ray.datasets.registry import build_manifest
from ames_ray.distributed.extract import ExtractReport, run
from ames_ray.errors import ConfigError, DatasetError, ResourceError, StoreError, WeightsError
from ames_ray.store.reader import Store
from tests.distributed.extracting import Quiet, extract, extract_alone
from tests.photos import make_photos, shard_hashes

pytestmark = pytest.mark.usefixtures("local_ray")


def test_changed_settings_are_refused_with_their_difference(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 3)
    extract_alone(tmp_path / "photos", tmp_path / "store")
    with pytest.raises(StoreError, match="topk"):
        extract(tmp_path / "photos", tmp_path / "store", "topk=3")
    report = extract(tmp_path / "photos", tmp_path / "store", "topk=3", "overwrite=true")
    assert report.computed == 3
    assert Store.open(str(tmp_path / "store")).meta.topk == 3


def test_what_does_not_fit_is_refused_with_the_arithmetic(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 2)
    with pytest.raises(ResourceError, match=r"3 × 1 = 3 GPUs; the cluster has 6 CPUs and 2 GPUs"):
        extract(tmp_path / "photos", tmp_path / "store", "workers=3", "gpus_per_worker=1")
    with pytest.raises(ResourceError, match=r"7 workers need 7 × 1 = 7 CPUs"):
        extract(tmp_path / "photos", tmp_path / "store", "workers=7")
    assert not (tmp_path / "store" / "meta.json").exists()


def test_overwrite_deletes_nothing_where_the_new_store_would_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photos(tmp_path / "photos", 12)
    extract_alone(tmp_path / "photos", tmp_path / "store", "topk=8")
    before = shard_hashes(tmp_path / "store")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12, 0))
    with pytest.raises(ResourceError, match=r"the store needs .* more, .* has .* free"):
        extract(tmp_path / "photos", tmp_path / "store", "overwrite=true", "topk=300")
    assert Store.open(str(tmp_path / "store")).meta.topk == 8
    assert shard_hashes(tmp_path / "store") == before


def test_a_store_that_someone_writes_is_refused(tmp_path: Path) -> None:
    from ames_ray.files import Storage

    make_photos(tmp_path / "photos", 2)
    with (
        Storage.at(tmp_path / "store").own("ames-ray merge"),
        pytest.raises(StoreError, match="is being written by ames-ray merge"),
    ):
        extract(tmp_path / "photos", tmp_path / "store")


def test_overwrite_never_deletes_a_folder_that_is_no_store(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 2)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match="precious"):
        extract(tmp_path / "photos", tmp_path / "precious", "overwrite=true")
    assert (tmp_path / "precious" / "thesis.tex").read_text() == "years of work"


def test_a_declared_gpu_that_torch_does_not_see_is_said_before_the_fan_out(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has the GPU")
    make_photos(tmp_path / "photos", 2)
    words = ("backbone=tests.training.tiny_backbone:patches", "detector=none", "topk=4", "device=auto")
    with pytest.raises(ResourceError, match=r"GPU [01] is reserved for the worker, but torch"):
        extract(tmp_path / "photos", tmp_path / "store", *words)


def test_a_module_that_does_not_exist_is_named(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 2)
    with pytest.raises(ConfigError, match=r"nowhere\.at_all:build cannot be imported"):
        extract(tmp_path / "photos", tmp_path / "store", "backbone=nowhere.at_all:build")


def test_a_precision_that_would_do_nothing_is_refused(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 2)
    with pytest.raises(ConfigError, match="precision=bfloat16 is that of a network, and backbone=sift"):
        extract(tmp_path / "photos", tmp_path / "store", "backbone=sift", "precision=bfloat16")


def test_a_missing_detector_file_is_an_error_not_no_detector(tmp_path: Path) -> None:
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    small = Dinov2WithRegistersConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, patch_size=14
    )
    Dinov2WithRegistersModel(small).save_pretrained(tmp_path / "network")
    make_photos(tmp_path / "photos", 2)
    network = f"backbone=hf:{tmp_path / 'network'}"
    with pytest.raises(WeightsError, match=r"nope\.pt"):
        extract(tmp_path / "photos", tmp_path / "store", network, "detector=nope.pt")
    with pytest.raises(WeightsError, match="is published with a detector, and none was named"):
        extract(tmp_path / "photos", tmp_path / "store", "backbone=dinov2")
    assert not (tmp_path / "store" / "meta.json").exists()


def test_overwrite_deletes_neither_the_list_that_it_reads_nor_a_store_for_pictures_that_are_gone(
    tmp_path: Path,
) -> None:
    make_photos(tmp_path / "photos", 3)
    extract_alone(tmp_path / "photos", tmp_path / "store")
    before = {path: path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()}
    own_list = tmp_path / "store" / "manifest.parquet"
    with pytest.raises(ConfigError, match=rf"list_file={own_list} would be lost"):
        _extract_listed(own_list, tmp_path / "store", "overwrite=true")
    shutil.copy(own_list, tmp_path / "list.parquet")
    with pytest.raises(DatasetError, match="none of the first 3 images can be read, such as /nowhere/"):
        _extract_listed(tmp_path / "list.parquet", tmp_path / "store", "data_root=/nowhere", "overwrite=true")
    assert {p: p.read_bytes() for p in (tmp_path / "store").rglob("*") if p.is_file()} == before
    assert _extract_listed(tmp_path / "list.parquet", tmp_path / "store", "overwrite=true").computed == 3


def _extract_listed(list_file: Path, output: Path, *more: str) -> ExtractReport:
    words = [
        f"list_file={list_file}",
        "dataset=list",
        f"output={output}",
        "backbone=blank",
        "workers=1",
        *more,
    ]
    config = compose(ExtractConfig, words)
    return run(config, build_manifest(dataset_options(config)), Quiet())

"""`ames-ray plan rate=measure`: a real run of a sample, and nothing left of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ames_ray.cli.main import main
from ames_ray.config.compose import compose
from ames_ray.config.extract import PlanConfig
from ames_ray.config.options import dataset_options
from ames_ray.datasets.registry import build_manifest
from ames_ray.distributed import measure as module
from ames_ray.distributed.measure import measure
from ames_ray.files import Storage
from tests.distributed.extracting import Quiet
from tests.photos import make_photos
from tests.remote.server import BUCKET, contents, running_s3

pytestmark = pytest.mark.usefixtures("local_ray")


def test_the_plan_of_a_short_list_is_measured_on_all_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_photos(tmp_path / "photos", 12)
    words = [f"images={tmp_path / 'photos'}", f"output={tmp_path / 'store'}", "backbone=blank"]
    assert main(["plan", *words, "shard_rows=5", "workers=2", "device=cpu", "rate=measure"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    found = re.search(r"measured ([\d.,]+) images/s a worker \(12 images, 2 workers\)", printed)
    assert found is not None, printed
    together = re.search(r"at ([\d.,]+) images/s by 2 workers", printed)
    assert together is not None
    rate, both = (float(match[1].replace(",", "")) for match in (found, together))
    assert both == pytest.approx(2 * rate, rel=0.02)
    assert "CPU hours" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_long_list_is_left_when_enough_was_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_photos(tmp_path / "photos", 160)
    monkeypatch.setattr(module, "_SECONDS", 0.2)
    monkeypatch.setattr(module, "_WINDOWS", 1)
    words = [f"images={tmp_path / 'photos'}", f"output={tmp_path / 'store'}", "shard_rows=4"]
    words += ["batch_size=1", "workers=1", "device=cpu"]
    config = compose(PlanConfig, [*words, "backbone=tests.distributed.backbones:slow"])
    found = measure(config, build_manifest(dataset_options(config)), 40, Quiet())
    # Windows of 4 × batch_size rows are what a worker reports.
    assert 0 < found.images < 160
    assert found.images % 4 == 0
    assert (found.workers, found.gpus) == (1, 0)
    assert found.rate == found.images / found.seconds
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_what_cannot_be_extracted_cannot_be_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_photos(tmp_path / "photos", 2)
    words = [f"images={tmp_path / 'photos'}", f"output={tmp_path / 'store'}", "rate=measure"]
    assert main(["plan", *words, "backbone=blank", "weights=none.pt", "cpus_per_worker=1"]) == 2
    assert "backbone=blank has no weights" in capsys.readouterr().err
    assert main(["plan", *words, "backbone=blank", "cpus_per_worker=4000"]) == 2
    assert "4000 CPUs" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_only_samples_of_killed_runs_are_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photos(tmp_path / "photos", 2)
    killed, others = "store.tmp-0123abcd", ["other.tmp-0123abcd", "store.tmp-89abcdef", "store.tmp-mine"]
    with running_s3() as server:
        for variable, value in server.environment.items():
            monkeypatch.setenv(variable, value)
        for place in (str(tmp_path), f"s3://{BUCKET}/some"):
            folder = Storage.at(place)
            for name in (killed, *others):
                folder.child(name).publish("shards/00000.parquet", b"made before the kill")
            folder.child(killed).publish("meta.json", b"{}")
            words = [f"images={tmp_path / 'photos'}", f"output={folder.address('store')}", "rate=measure"]
            with folder.child("store.tmp-89abcdef").own("another plan"):
                assert main(["plan", *words, "backbone=blank", "cpus_per_worker=4000"]) == 2
            assert "4000 CPUs" in capsys.readouterr().err
        kept = sorted({key.split("/")[1] for key in contents(server, "some/")})
    assert kept == others
    assert sorted(path.name for path in tmp_path.iterdir()) == [others[0], "photos", *others[1:]]

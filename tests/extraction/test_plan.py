"""`ames-ray plan`, against arithmetic by hand."""

from __future__ import annotations

import re
from collections import namedtuple
from pathlib import Path

import pytest

from ames_ray.cli.main import main
from ames_ray.config.compose import compose
from ames_ray.config.extract import ExtractConfig
from ames_ray.config.options import dataset_options, planned_spec, store_meta
from ames_ray.datasets.manifest import Manifest
from ames_ray.datasets.registry import build_manifest
from ames_ray.extraction.plan import Plan, average_file_bytes, cheaper, make_pace
from ames_ray.model.checkpoints import save_ames
from ames_ray.model.options import AmesOptions
from ames_ray.store.meta import StoreMeta
from ames_ray.types import ImageRecord
from tests.extract_here import extract_here
from tests.model.networks import random_model
from tests.photos import make_photos

MILLION = Plan(
    rows=1_000_000,
    missing_rows=1_000_000,
    shards=15_625,
    row_bytes=1_000_000,
    file_bytes=1_020_000,
    missing_bytes=0,
    free_bytes=None,
)
Usage = namedtuple("Usage", "total used free")


def listed(folder: Path, sizes: list[int]) -> Manifest:
    """A list of files of these sizes; a negative one is missing."""
    for number, count in enumerate(sizes):
        if count >= 0:
            (folder / f"{number}.jpg").write_bytes(b"x" * count)
    return Manifest.from_records([ImageRecord(n, f"{n}", f"{n}.jpg") for n in range(len(sizes))], folder)


def test_a_million_images() -> None:
    pace = make_pace(MILLION, 150_000, rate=50, workers=8)
    assert pace.images_per_second == 400
    assert pace.seconds == 2_500
    assert pace.worker_hours == pytest.approx(8 * 2_500 / 3600)
    assert pace.read_per_second == 60_000_000
    assert pace.written_per_second == pytest.approx(408_000_000)


def test_more_workers_cost_the_same_hours() -> None:
    one, many = (make_pace(MILLION, None, rate=50, workers=workers) for workers in (1, 100))
    assert one.worker_hours == pytest.approx(many.worker_hours) == pytest.approx(1_000_000 / 50 / 3600)
    assert one.seconds == pytest.approx(100 * many.seconds)
    assert one.read_per_second is None


def test_the_average_is_that_of_the_files_that_are_there(tmp_path: Path) -> None:
    assert average_file_bytes(listed(tmp_path, [10, 0, -1, 50])) == (20, 3)
    assert average_file_bytes(listed(tmp_path, [-1] * 4).at(tmp_path / "elsewhere")) == (None, 0)


def test_of_a_long_list_two_hundred_files_are_looked_at_end_to_end(tmp_path: Path) -> None:
    # Twice as many as are looked at, growing evenly: a sample of one end would be off by half.
    average, looked = average_file_bytes(listed(tmp_path, list(range(400))))
    assert looked == 200
    assert average == pytest.approx(199.5, abs=1)


def test_the_command_adds_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_photos(tmp_path / "photos", 5)
    words = ["plan", f"images={tmp_path / 'photos'}", f"output={tmp_path / 'store'}"]
    assert main(words) == 0
    assert "rate=" in capsys.readouterr().out

    assert main([*words, "topk=100", "rate=0.5", "workers=2", "cpus_per_worker=3", "shard_rows=2"]) == 0
    printed = {
        name: value
        for line in capsys.readouterr().out.splitlines()
        for name, value in re.findall(r"^ ([\w ]+?)  +(\S.*?) *$", line)
    }
    # RootSIFT: 100 descriptors of 128 float16 and 13 bytes beside, a global descriptor of 2,048 float32.
    row = 100 * (2 * 128 + 13) + 4 * 2048
    files = sum(path.stat().st_size for path in (tmp_path / "photos").iterdir())
    assert printed["images"] == "5"
    assert printed["shards"] == "3 of 2 rows"
    assert printed["a file"] == f"{files / 5 / 1000:.1f} kB on average of 5 files"
    assert printed["an image"] == f"{row / 1000:.1f} kB in the store"
    # Parquet's own 2 %, 100 bytes of names beside each row, 5 kB of schema and settings in each shard of 2.
    stored = row * 1.02 + 100 + 5000 / 2
    assert printed["store"] == f"{5 * stored / 1000:.1f} kB"
    assert printed["time"] == "5 s at 1.0 images/s by 2 workers"
    # 5 s times 2 workers times 3 CPUs.
    assert printed["CPU hours"] == f"{30 / 3600:.2f}"
    assert printed["reading"] == f"{files / 5 / 1000:.1f} kB/s of image files"
    assert printed["writing"] == f"{stored / 1000:.1f} kB/s to the store"


def test_gpu_hours_follow_the_share_of_a_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_photos(tmp_path / "photos", 2)
    words = ["plan", f"images={tmp_path / 'photos'}", f"output={tmp_path / 'store'}", "backbone=dinov2"]
    # 2 images at one in 2 hours by a worker are 4 worker hours, of half a GPU each.
    assert main([*words, "detector=none", "rate=0.00013888888889", "gpus_per_worker=0.5"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"GPU hours +2\.00", printed)
    assert "4 h at 0.0 images/s" in printed


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ([], ["topk=100"]),
        (["topk=100"], []),
        (["codec=float32"], ["codec=float16", "topk=100", "codec=float16 topk=100"]),
        (["codec=float32", "topk=50"], ["codec=float16"]),
        (["projection"], ["topk=100"]),
        (["projection", "codec=float32"], ["topk=100"]),
    ],
)
def test_advice_saves_what_it_says(words: list[str], advice: list[str], tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 2)
    save_ames(random_model(AmesOptions(128, dim=32, blocks=1, feedforward=8)), tmp_path / "model.pt")
    given = {"images": str(tmp_path / "photos"), "output": "x"}
    for word in words:
        name, _, value = word.partition("=")
        given[name] = value or str(tmp_path / "model.pt")

    def planned(more: str) -> StoreMeta:
        changed = given | dict(word.split("=") for word in more.split())
        config = compose(ExtractConfig, [f"{name}={value}" for name, value in changed.items()])
        return store_meta(config, build_manifest(dataset_options(config)), planned_spec(config))

    found = cheaper(planned(""))
    assert list(found) == advice
    for more, total in found.items():
        assert total == 2 * planned(more).row_bytes < 2 * planned("").row_bytes


def test_what_cannot_fit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_photos(tmp_path / "photos", 2)
    words = ["plan", f"images={tmp_path / 'photos'}", f"output={tmp_path / 'store'}", "rate=5"]
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(1000, 0, 1000))
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "has 1.0 kB free" in said
    assert "or store less: topk=100: " in said
    assert main([*words, "topk=100"]) == 2
    assert "store less" not in capsys.readouterr().err


def test_a_precision_that_would_do_nothing_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_photos(tmp_path / "photos", 1)
    words = ["plan", f"images={tmp_path / 'photos'}", f"output={tmp_path / 'store'}", "precision=bfloat16"]
    assert main([*words, "backbone=dinov2", "detector=none"]) == 0
    assert main([*words, "backbone=sift"]) == 2
    assert "precision=bfloat16 is that of a network, and backbone=sift has none" in capsys.readouterr().err


def test_what_a_store_holds_already_is_not_counted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_photos(tmp_path / "photos", 12)
    words = [f"images={tmp_path / 'photos'}", f"output={tmp_path / 'store'}", "topk=40", "shard_rows=5"]
    extract_here(words)

    def planned(*more: str) -> str:
        assert main(["plan", *words, "rate=0.5", *more]) == 0
        return re.sub(" +", " ", capsys.readouterr().out)

    whole = planned()
    assert "images 12, 12 of them are in the store already" in whole
    assert "time nothing to do: every image is in the store" in whole
    # A shard of 5 rows is lost, and a photo more joins the last 2.
    (tmp_path / "store" / "progress" / "00001.json").unlink()
    make_photos(tmp_path / "photos", 1, first=12)
    # RootSIFT as above; Parquet's own 2 %, 100 bytes beside each row, 5 kB beside each 5.
    row = (40 * (2 * 128 + 13) + 4 * 2048) * 1.02 + 100 + 5000 / 5
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**6, 0, int(6 * row)))
    part = planned()
    assert "images 13, 7 of them are in the store already" in part
    assert f"store {6 * row / 1000:.1f} kB more" in part
    assert "time 12 s at 0.5 images/s" in part
    # What is deleted makes room, but not for a row more.
    assert main(["plan", *words, "overwrite=true"]) == 0
    assert f"store {13 * row / 1000:.1f} kB " in re.sub(" +", " ", capsys.readouterr().out)
    assert main(["plan", *words, f"output={tmp_path / 'elsewhere'}"]) == 2
    assert f"the store needs {13 * row / 1000:.1f} kB more" in capsys.readouterr().err


def test_a_store_that_an_extraction_would_refuse_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_photos(tmp_path / "photos", 2)
    words = [f"images={tmp_path / 'photos'}", f"output={tmp_path / 'store'}"]
    extract_here([*words, "topk=40"])
    assert main(["plan", *words, "topk=50"]) == 2
    assert "topk: 40 in the store, 50 now" in capsys.readouterr().err
    assert main(["plan", words[0], f"output={tmp_path / 'photos'}"]) == 2
    assert "is not empty and is no store" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["rate=0", "rate=-1", "rate=inf", "rate=nan", "workers=0"])
def test_impossible_rates_are_refused(tmp_path: Path, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    make_photos(tmp_path / "photos", 1)
    assert main(["plan", f"images={tmp_path / 'photos'}", f"output={tmp_path / 'store'}", word]) == 2
    assert word.partition("=")[0] in capsys.readouterr().err

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ames_ray.cli.samples import samples
from ames_ray.config.compose import compose
from ames_ray.config.demo import SamplesConfig
from ames_ray.datasets.check import check_manifest
from ames_ray.datasets.registry import DatasetOptions, build_manifest
from ames_ray.errors import ConfigError, DatasetError
from ames_ray.evaluation.evaluate import evaluate
from ames_ray.retrieval.benchmark import Benchmark
from ames_ray.samples.build import build_samples
from ames_ray.samples.landmarks_mini import build_landmarks_mini, write_benchmark
from ames_ray.samples.mini_photos import MiniPhoto, MiniSources, read_table
from ames_ray.samples.sources import read_catalogue
from tests.samples.test_build import files_of

SEEDS, TRAIN_VIEWS = 2, 9
PARTS = ("train", "val_gallery", "val_query", "test_gallery", "test_query")


def photo(number: int) -> bytes:
    """A picture unlike the others."""
    random = np.random.default_rng(number)
    small = random.integers(0, 255, (12, 16, 3), np.uint8)
    ok, data = cv2.imencode(".png", cv2.resize(small, (320, 240), interpolation=cv2.INTER_CUBIC))
    assert ok
    return bytes(data)


TABLE = [
    MiniPhoto(f"p/{role}{number}.png", role, landmark, "")
    for number, (role, landmark) in enumerate(
        [
            *[("train", f"thing{n}") for n in range(3)],
            *[
                (f"{split}_{role}", f"{split}_a")
                for split in ("val", "test")
                for role in ("scene", "further")
            ],
            *[(f"{split}_scene", f"{split}_b") for split in ("val", "test")],
            *[(f"{split}_distractor", f"{split}_c") for split in ("val", "test")],
            *[(f"{split}_background", f"{split}_d") for split in ("val", "test")],
            *[("test_pair", "street")] * 2,
            ("unused", "val_a"),
        ]
    )
]


def write(folder: Path) -> dict[str, Any]:
    photos = {line.name: photo(number) for number, line in enumerate(TABLE)}
    return write_benchmark(folder, MiniSources("nowhere 1", photos, {}), TABLE, SEEDS, TRAIN_VIEWS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("mini") / "set"
    write(made)
    return made


def test_the_table_gives_every_picture_of_the_package_one_role() -> None:
    names = Counter(line.name for line in read_table())
    assert set(names.values()) == {1}
    known = {line.name for line in read_catalogue()}
    assert {name for name in names if not name.startswith("opencv-doc/")} == known
    for line in read_table():
        assert bool(line.pixels_sha256) == line.name.startswith("opencv-doc/")


def test_no_landmark_of_the_table_is_in_two_splits() -> None:
    splits: dict[str, set[str]] = {}
    for line in read_table():
        if line.role != "unused":
            splits.setdefault(line.landmark, set()).add(line.role.partition("_")[0])
    assert all(len(found) == 1 for found in splits.values())


def test_the_table_keeps_the_agreed_division() -> None:
    roles = Counter(line.role for line in read_table())
    assert (roles["val_scene"], roles["test_scene"]) == (12, 24)
    several = {line.landmark for line in read_table() if line.role.endswith("_further")}
    assert len(several) == 10
    # 86 photos of monuments: 3 are the same photograph twice, 11 are further ones, the rest are scenes.
    monuments = ("explore_monuments/", "categorization/monuments/", "details/")
    lines = [line for line in read_table() if line.name.startswith(monuments)]
    paintings = [
        line for line in lines if "Gogh" in line.name or "Auvers" in line.name or "Tanguy" in line.name
    ]
    assert len(paintings) == 8
    training = [line for line in lines if line.role == "train" and line not in paintings]
    assert len(training) == 36


def test_scenes_are_each_of_another_landmark() -> None:
    for split in ("val", "test"):
        landmarks = [line.landmark for line in read_table() if line.role == f"{split}_scene"]
        assert len(set(landmarks)) == len(landmarks)


def test_every_part_is_complete_for_extraction(folder: Path) -> None:
    for part in PARTS:
        manifest = build_manifest(DatasetOptions(dataset="landmarks_mini", split=part, data_root=str(folder)))
        report = check_manifest(manifest, deep=True)
        assert not report.problems
        assert not report.duplicates
        for record in manifest:
            pixels = cv2.imread(record.uri)
            assert pixels is not None
            assert (record.width, record.height) == pixels.shape[1::-1]
            assert record.label


def test_photos_of_one_part_are_in_no_other(folder: Path) -> None:
    photos = {
        part: {
            record.uri.rsplit("/", 2)[1 if part == "train" else 2].rsplit("-", 1)[0]
            for record in build_manifest(
                DatasetOptions(dataset="landmarks_mini", split=part, data_root=str(folder))
            )
        }
        for part in ("train", "val_gallery", "test_gallery")
    }
    assert not photos["train"] & photos["val_gallery"]
    assert not photos["train"] & photos["test_gallery"]
    assert not photos["val_gallery"] & photos["test_gallery"]


def test_training_views_have_the_shares_that_the_card_tells(folder: Path) -> None:
    for views in (folder / "train").iterdir():
        kinds = Counter(path.stem.partition("-on-")[0].rstrip("0123456789") for path in views.iterdir())
        assert kinds == {"original": 1, "moderate": 2, "hard": 3, "pasted": 3}


def test_a_pasted_view_names_another_training_photo_that_is_behind_it(folder: Path) -> None:
    pasted = sorted((folder / "train").glob("*/pasted*.jpg"))
    assert len(pasted) == 3 * len(list((folder / "train").iterdir()))
    for path in pasted:
        behind = path.parents[1] / path.stem.partition("-on-")[2]
        assert behind.name != path.parent.name
        corners, original = (cv2.imread(str(p)) for p in (path, behind / "original00.jpg"))
        assert corners is not None
        assert original is not None
        original = cv2.resize(original, corners.shape[1::-1], interpolation=cv2.INTER_AREA)
        # Somewhere along the border nothing stands in front; another photo is nowhere as near.
        difference = np.abs(corners.astype(float) - original).mean(2)
        assert np.percentile(difference, 20) < 12


def names_of(content: dict[str, Any], query: int, name: str) -> list[str]:
    return [Path(content["imlist"][row]).name for row in content["gnd"][query][name]]


def test_ground_truth_of_a_made_up_query_is_its_photo_and_of_a_real_one_the_others(folder: Path) -> None:
    content = json.loads((folder / "gnd_test.json").read_bytes())
    assert [len(entry["hard"]) for entry in content["gnd"]] == [0] * len(content["gnd"])
    rows = {Path(name).stem: row for row, name in enumerate(content["qimlist"])}
    scene, further = "p-test_scene5", "p-test_further6"
    for query in (f"{scene}-medium-0", f"{scene}-hard-1"):
        assert names_of(content, rows[query], "easy") == [f"{scene}-{n}.jpg" for n in range(3)]
        assert names_of(content, rows[query], "junk") == [f"{further}-{n}.jpg" for n in range(3)]
    assert names_of(content, rows[f"{scene}-crossphoto"], "easy") == [f"{further}-{n}.jpg" for n in range(3)]
    assert names_of(content, rows[f"{further}-crossphoto"], "junk") == [
        f"{further}-{n}.jpg" for n in range(3)
    ]
    assert names_of(content, rows["p-test_pair13-pairs"], "easy") == ["p-test_pair14-0.jpg"]
    assert names_of(content, rows["p-test_pair13-pairs"], "junk") == ["p-test_pair13-0.jpg"]
    # A landmark with one photo is no query of crossphoto, and has no junk.
    assert not names_of(content, rows["p-test_scene8-medium-0"], "junk")
    assert "p-test_scene8-crossphoto" not in rows


def test_files_of_tiers_and_seeds_leave_the_other_queries_out(folder: Path) -> None:
    whole = json.loads((folder / "gnd_val.json").read_bytes())
    counted: Counter[str] = Counter()
    for path in sorted(folder.glob("gnd_val_*.json")):
        content = json.loads(path.read_bytes())
        assert content["qimlist"] == whole["qimlist"]
        for query, entry in enumerate(content["gnd"]):
            if entry["easy"]:
                assert entry == whole["gnd"][query]
                counted[path.stem.removeprefix("gnd_val_")] += 1
    per_seed = {f"{tier}_seed{seed}": 2 for tier in ("medium", "hard") for seed in range(SEEDS)}
    assert counted == {"medium": 4, "hard": 4, "crossphoto": 2, **per_seed}


def test_evaluation_reads_it_and_a_perfect_ranking_is_perfect(folder: Path) -> None:
    for path in sorted(folder.glob("gnd_*.json")):
        protocol = Benchmark.read(str(path)).protocol
        content = json.loads(path.read_bytes())
        images = range(len(content["imlist"]))
        ranking = np.array([[*e["easy"], *(i for i in images if i not in e["easy"])] for e in content["gnd"]])
        assert evaluate(protocol, ranking).figures["medium_mAP"] == pytest.approx(1)


def test_made_twice_it_is_the_same_to_the_byte(folder: Path, tmp_path: Path) -> None:
    index = write(tmp_path / "again")
    assert files_of(tmp_path / "again") == files_of(folder)
    assert index["sha256"] == {
        name: hashlib.sha256(data).hexdigest() for name, data in files_of(folder).items()
    }


def test_another_training_photo_changes_no_query(folder: Path, tmp_path: Path) -> None:
    photos = {line.name: photo(number) for number, line in enumerate(TABLE)}
    photos[TABLE[0].name] = photo(99)
    sources = MiniSources("nowhere 1", photos, {})
    write_benchmark(tmp_path / "other", sources, TABLE, SEEDS, TRAIN_VIEWS)
    old, new = files_of(folder), files_of(tmp_path / "other")
    changed = {name for name in old if old[name] != new[name]}
    assert changed
    assert all(name.startswith("train/") or name == "README.md" for name in changed)


def test_the_card_counts_what_is_there(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    assert "| `test_query` | 12 | 4 medium, 4 hard, 2 crossphoto, 2 pairs |" in text
    assert "| `train` | 27 | 3 photos |" in text
    assert "| `train` | 3 | training, and nothing else |" in text
    assert "{" not in text


def test_a_folder_with_other_settings_or_photos_is_refused(tmp_path: Path) -> None:
    for index in ({"set": "landmarks_mini", "seeds": 1, "train_views": 33}, {"source": "x", "photos": []}):
        (tmp_path / "samples.json").write_text(json.dumps({**index, "sha256": {}}))
        with pytest.raises(DatasetError, match="wanted is set=landmarks_mini seeds=3 train_views=33"):
            build_landmarks_mini(tmp_path)


def test_without_apt_it_says_so_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(DatasetError, match="cannot be fetched: this machine has no apt-get") as caught:
        build_landmarks_mini(tmp_path / "set")
    assert "make it on Debian 12, with a network" in str(caught.value.hint)
    assert "source=wheels" not in str(caught.value.hint)
    assert not list(tmp_path.iterdir())


def test_a_missing_data_set_tells_how_to_make_it(tmp_path: Path) -> None:
    options = DatasetOptions(dataset="landmarks_mini", split="val_query", data_root=str(tmp_path))
    with pytest.raises(DatasetError) as caught:
        build_manifest(options)
    assert "val_query.txt does not exist" in caught.value.message
    assert "ames-ray samples set=landmarks_mini" in (caught.value.hint or "")


def test_an_unknown_part_names_those_that_there_are(tmp_path: Path) -> None:
    options = DatasetOptions(dataset="landmarks_mini", split="gallery", data_root=str(tmp_path))
    with pytest.raises(DatasetError) as caught:
        build_manifest(options)
    assert all(part in (caught.value.hint or "") for part in PARTS)


def test_the_wheels_cannot_make_it() -> None:
    with pytest.raises(ConfigError, match="cannot be made of the 15 photos in the wheels") as caught:
        compose(SamplesConfig, ["set=landmarks_mini", "source=wheels"])
    assert "gcompris-qt-data" in (caught.value.hint or "")


def test_a_sample_folder_is_not_taken_for_the_other_kind(tmp_path: Path) -> None:
    (tmp_path / "samples.json").write_text('{"set": "landmarks_mini", "sha256": {}, "source": "gcompris"}')
    with pytest.raises(DatasetError, match="holds landmarks_mini, not sample photos"):
        build_samples(tmp_path, "auto")


def test_a_finished_folder_is_kept_and_told_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = tmp_path / "set"
    index = {"set": "landmarks_mini", "seeds": SEEDS, "train_views": TRAIN_VIEWS, **write(made)}
    (made / "samples.json").write_text(json.dumps(index))
    before = files_of(made)
    words = ["set=landmarks_mini", f"output={made}", f"seeds={SEEDS}", f"train_views={TRAIN_VIEWS}"]
    samples(compose(SamplesConfig, words))
    told = capsys.readouterr().out
    assert "27 pictures" in told
    assert "nowhere 1" in told
    assert files_of(made) == before
    (made / "gnd_val.json").write_text("{}")
    with pytest.raises(DatasetError, match="is missing or changed"):
        samples(compose(SamplesConfig, words))

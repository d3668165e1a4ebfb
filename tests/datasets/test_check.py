"""The check before a run: it finds what extraction would find, and says what may be wrong as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from ames_ray.datasets.check import Problem, Repeat, check_manifest
from ames_ray.datasets.manifest import Manifest
from ames_ray.datasets.registry import DatasetOptions, build_manifest
from ames_ray.images import reasons
from ames_ray.types import ImageRecord
from tests.images.bad_folder import encode, make_bad_folder, noise


def _listed(root: Path, *paths: str) -> Manifest:
    return Manifest.from_records([ImageRecord(row, path, path) for row, path in enumerate(paths)], root)


def _photo(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(noise(seed=seed), "JPEG"))


def test_missing_files_are_named(tmp_path: Path) -> None:
    for seed in range(4):
        _photo(tmp_path / f"{seed}.jpg", seed)
    report = check_manifest(_listed(tmp_path, "0.jpg", "1.jpg", "gone.jpg", "2.jpg", "3.jpg"), False, 2)
    assert (report.rows, report.found, report.deep) == (5, 4, False)
    assert report.problems == (Problem(2, "gone.jpg", reasons.MISSING),)
    assert report.counts == {reasons.MISSING: 1}
    assert report.total_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert report.hints == ()


def test_a_clean_list(tmp_path: Path) -> None:
    _photo(tmp_path / "0.jpg")
    for deep in (False, True):
        report = check_manifest(_listed(tmp_path, "0.jpg"), deep, 1)
        assert report.problems == ()
        assert (report.duplicates, report.same_content, report.hints, report.counts) == ((), (), (), {})


def test_duplicate_paths_and_equal_contents(tmp_path: Path) -> None:
    for name, seed in (("a.jpg", 1), ("b.jpg", 2), ("copy_of_a.jpg", 1)):
        _photo(tmp_path / name, seed)
    manifest = _listed(tmp_path, "a.jpg", "b.jpg", "a.jpg", "copy_of_a.jpg", "copy_of_a.jpg")
    shallow, deep = check_manifest(manifest, False, 2), check_manifest(manifest, True, 2)
    assert shallow.problems == deep.problems == ()
    duplicates = (Repeat(2, "a.jpg", 0, "a.jpg"), Repeat(4, "copy_of_a.jpg", 3, "copy_of_a.jpg"))
    assert shallow.duplicates == deep.duplicates == duplicates
    assert shallow.same_content == ()
    assert deep.same_content == (Repeat(3, "copy_of_a.jpg", 0, "a.jpg"),)


def test_a_deep_check_finds_what_extraction_finds(tmp_path: Path) -> None:
    expected = {name: reason for name, reason in make_bad_folder(tmp_path).items() if reason}
    manifest = build_manifest(DatasetOptions(images=str(tmp_path)))
    report = check_manifest(manifest, deep=True, threads=4)
    assert {problem.path: problem.reason for problem in report.problems} == expected
    assert [problem.row for problem in report.problems] == sorted(problem.row for problem in report.problems)
    assert sum(report.counts.values()) == report.rows - report.found == len(expected)
    kept = check_manifest(manifest, deep=True, threads=4, truncated="keep", max_pixels=10**6)
    assert "half.jpg" not in {problem.path for problem in kept.problems}
    assert kept.counts[reasons.TOO_MANY_PIXELS] == 2


def test_a_plain_check_finds_what_needs_no_reading(tmp_path: Path) -> None:
    make_bad_folder(tmp_path)
    report = check_manifest(build_manifest(DatasetOptions(images=str(tmp_path))))
    found = {problem.path: problem.reason for problem in report.problems if problem.path != "secret.jpg"}
    assert found == {
        "zero_bytes.jpg": reasons.EMPTY,
        "folder.jpg": reasons.IS_A_FOLDER,
        "dangling.jpg": reasons.MISSING,
        "circle.jpg": reasons.READ_FAILED,
    }


def test_the_wrong_folder_is_suspected(tmp_path: Path) -> None:
    report = check_manifest(_listed(tmp_path, "a.jpg", "b.jpg"))
    assert report.hints == (
        f"0 of 2 found in {tmp_path}: does data_root= name the right folder? The first path is a.jpg",
    )


TRAIN = ("abc1", "bcd2", "cde3")


@pytest.mark.parametrize("evidence", ["folder", "csv", "clean csv", "csv in metadata"])
def test_images_of_another_gldv2_split(tmp_path: Path, evidence: str) -> None:
    gldv2 = tmp_path / "gldv2"
    (gldv2 / "metadata").mkdir(parents=True)
    (gldv2 / "index.csv").write_text("\n".join(("id", *TRAIN)))
    (gldv2 / "test.csv").write_text("damaged\n")
    if evidence == "folder":
        for name in TRAIN:
            _photo(gldv2 / f"train/{name[0]}/{name[1]}/{name[2]}/{name}.jpg")
    elif evidence == "clean csv":
        (gldv2 / "train_clean.csv").write_text(f"landmark_id,images\n1,{' '.join(TRAIN)}\n")
    else:
        folder = gldv2 if evidence == "csv" else gldv2 / "metadata"
        (folder / "train.csv").write_text("id,url,landmark_id\n" + "".join(f"{i},x,1\n" for i in TRAIN))
    report = check_manifest(build_manifest(DatasetOptions("gldv2_index", data_root=str(tmp_path))))
    assert report.counts == {reasons.MISSING: 3}
    assert report.hints == (f"0 of 3 found in {tmp_path}; the missing ones look like split train",)


def test_images_of_their_own_split_are_simply_missing(tmp_path: Path) -> None:
    (tmp_path / "gldv2").mkdir()
    (tmp_path / "gldv2/index.csv").write_text("id\nabc1\nbcd2\n")
    (tmp_path / "gldv2/test.csv").write_text("id\nzzz9\n")
    _photo(tmp_path / "gldv2/index/a/b/c/abc1.jpg")
    report = check_manifest(build_manifest(DatasetOptions("gldv2_index", data_root=str(tmp_path))))
    assert report.counts == {reasons.MISSING: 1}
    assert report.hints == ()


def test_index_list_and_train_folder(tmp_path: Path) -> None:
    """A list of index ids looked up in the folder of train, which is there."""
    for name in TRAIN:
        _photo(tmp_path / f"train/{name[0]}/{name[1]}/{name[2]}/{name}.jpg")
    (tmp_path / "index.csv").write_text("id\nfff0\neee1\n")
    (tmp_path / "list.txt").write_text("f/f/f/fff0.jpg\ne/e/e/eee1.jpg\n")
    manifest = build_manifest(
        DatasetOptions("list", data_root=f"{tmp_path}/train", list_file=f"{tmp_path}/list.txt")
    )
    report = check_manifest(manifest)
    assert report.hints == (f"0 of 2 found in {tmp_path}/train; the missing ones look like split index",)

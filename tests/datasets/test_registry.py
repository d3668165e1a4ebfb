"""Named data sets, from small copies of their folders laid out as the published ones are."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ames_ray.datasets.gldv2 import image_path
from ames_ray.datasets.manifest import Manifest
from ames_ray.datasets.registry import NAMES, DatasetOptions, build_manifest
from ames_ray.datasets.revisited import RevisitedFile
from ames_ray.errors import DatasetError, UnsafeFileError
from ames_ray.files import Storage

BOXES = ([136.5, 34.1, 648.5, 955.7], (1, 2, 3, 4), np.array([5.0, 6.0, 7.0, 8.0]))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with every set."""
    gnd = [{"bbx": box, "easy": [0], "hard": np.array([1]), "junk": (2,)} for box in BOXES]
    content = {"imlist": ["all_souls_1", "radcliffe_2", "x_3"], "qimlist": ["q_1", "q_2", "q_3"], "gnd": gnd}
    for name in ("roxford5k", "rparis6k"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"gnd_{name}.pkl").write_bytes(pickle.dumps(content))
    (tmp_path / "revisitop1m").mkdir()
    (tmp_path / "revisitop1m" / "revisitop1m.txt").write_text("0/a,b.jpg\n0/c.jpg\n")
    gldv2 = tmp_path / "gldv2"
    gldv2.mkdir()
    (gldv2 / "index.csv").write_text('\ufeff"id"\r\nfff0\r\n0123456789abcdef\r\n')
    (gldv2 / "train_clean.csv").write_text("landmark_id,images\n7,aaa1 bbb2\n9,ccc3\n")
    (gldv2 / "retrieval_solution_v2.1.csv").write_text(
        "id,images,Usage\nabc1,fff0,Private\nabc2,,Ignored\nabc3,fff0 0123456789abcdef,Public\nabc4,fff0,"
        "Public\n"
    )
    return tmp_path


def _build(root: Path, dataset: str, split: str | None = None, **options: Any) -> Manifest:
    return build_manifest(DatasetOptions(dataset, split=split, data_root=str(root), **options))


def _paths(manifest: Manifest) -> list[str]:
    return [record.uri.removeprefix(f"{manifest.root}/") for record in manifest]


@pytest.mark.parametrize("name", ["roxford5k", "rparis6k"])
def test_revisited_gallery_and_queries(root: Path, name: str) -> None:
    gallery = _build(root, name, "gallery")
    assert _paths(gallery) == [f"{name}/jpg/{image}.jpg" for image in ("all_souls_1", "radcliffe_2", "x_3")]
    assert [record.image_id for record in gallery] == ["all_souls_1", "radcliffe_2", "x_3"]
    assert {(record.split, record.bbox) for record in gallery} == {("gallery", None)}
    queries = _build(root, name, "query")
    assert _paths(queries) == [f"{name}/jpg/q_{i}.jpg" for i in (1, 2, 3)]
    assert [record.bbox for record in queries] == [tuple(map(float, box)) for box in BOXES]
    assert queries.notes == ("3 of 3 queries cropped to their box",)


def test_queries_without_crop_are_marked(root: Path) -> None:
    whole = _build(root, "roxford5k", "query", crop=False)
    assert {record.bbox for record in whole} == {None}
    assert whole.notes == (
        "crop=false: queries are not cropped to their box, so figures are no standard ones",
    )
    assert whole.digest != _build(root, "roxford5k", "query").digest


def test_ground_truth_is_handed_on_as_it_stands(root: Path) -> None:
    path = root / "roxford5k" / "gnd_roxford5k.pkl"
    gnd = RevisitedFile.from_bytes(path.read_bytes(), path.name).gnd
    assert [(entry["easy"], entry["hard"].tolist(), entry["junk"]) for entry in gnd] == [([0], [1], (2,))] * 3


def test_r1m_and_galleries_with_it(root: Path) -> None:
    assert _paths(_build(root, "r1m")) == ["revisitop1m/jpg/0/a,b.jpg", "revisitop1m/jpg/0/c.jpg"]
    both = _build(root, "roxford5k+r1m", "gallery")
    gallery = _build(root, "roxford5k", "gallery")
    assert _paths(both) == _paths(gallery) + _paths(_build(root, "r1m"))
    assert both.digest_of_first(3) == gallery.digest
    assert [record.split for record in both] == ["gallery"] * 3 + ["distractor"] * 2
    assert [record.row for record in both] == list(range(5))
    assert _build(root, "rparis6k+r1m", "query").digest == _build(root, "rparis6k", "query").digest
    (root / "part.txt").write_text("0/c.jpg\n")
    assert _paths(_build(root, "r1m", list_file=str(root / "part.txt"))) == ["revisitop1m/jpg/0/c.jpg"]


def test_gldv2_splits(root: Path) -> None:
    index = _build(root, "gldv2_index", "gallery")
    assert _paths(index) == ["gldv2/index/f/f/f/fff0.jpg", "gldv2/index/0/1/2/0123456789abcdef.jpg"]
    train = _build(root, "gldv2_train")
    labels = [(record.image_id, record.label) for record in train]
    assert labels == [("aaa1", "7"), ("bbb2", "7"), ("ccc3", "9")]
    assert {record.split for record in train} == {"train"}
    test = _build(root, "gldv2_test", "query")
    assert [record.image_id for record in test] == ["abc3", "abc4", "abc1"]
    assert _paths(test)[0] == "gldv2/test/a/b/c/abc3.jpg"


def test_gldv2_files_in_other_places(root: Path) -> None:
    gldv2 = root / "gldv2"
    (gldv2 / "train_clean.csv").unlink()
    (gldv2 / "train").mkdir()
    (gldv2 / "train" / "train.csv").write_text(
        'id,url,landmark_id\nddd4,"http://x/a,b.jpg",3\neee5,http://y,4\n'
    )
    train = _build(root, "gldv2_train")
    assert [(record.image_id, record.label) for record in train] == [("ddd4", "3"), ("eee5", "4")]
    (root / "my.csv").write_text("id\nabcd\n")
    assert _paths(_build(root, "gldv2_test", list_file=f"{root}/my.csv")) == ["gldv2/test/a/b/c/abcd.jpg"]
    (root / "test_query.txt").write_text("gldv2/test/a/b/c/abcd.jpg,800,600\n")
    record = _build(root, "gldv2_test", list_file=f"{root}/test_query.txt").record(0)
    assert (record.uri, record.split, record.width) == (f"{root}/gldv2/test/a/b/c/abcd.jpg", "query", 800)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\nx\n", r"index.csv has the columns name; wanted are id"),
        ("", r"index.csv cannot be read as CSV"),
        ("id\nabc1\nabc2,3\n", r"index.csv cannot be read as CSV"),
        ("id\n../x\n", r"'../x' is no image id"),
        ("id\nab\n", r"'ab' is no image id"),
        ("id\n", "no images are listed"),
    ],
)
def test_gldv2_files_that_are_not_as_they_should(root: Path, text: str, message: str) -> None:
    (root / "gldv2" / "index.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        _build(root, "gldv2_index")


def test_image_path() -> None:
    assert image_path("gldv2/index", "6e158a47eb2ca3f6") == "gldv2/index/6/e/1/6e158a47eb2ca3f6.jpg"


def test_text_lists(root: Path) -> None:
    (root / "list.txt").write_text("roxford5k/jpg/x.jpg,640,480\nc,d.jpg\n")
    beside = build_manifest(DatasetOptions("list", list_file=f"{root}/list.txt", split="gallery"))
    assert _paths(beside) == ["roxford5k/jpg/x.jpg", "c,d.jpg"]
    elsewhere = _build(root / "photos", "list", list_file=f"{root}/list.txt")
    assert elsewhere.record(1).uri == f"{root}/photos/c,d.jpg"
    (root / "out.txt").write_text("../x.jpg\n")
    with pytest.raises(UnsafeFileError, match=re.escape("../x.jpg leaves")):
        _build(root, "list", list_file=f"{root}/out.txt")
    assert len(_build(root, "list", list_file=f"{root}/out.txt", allow_outside=True)) == 1


def test_own_manifests(root: Path) -> None:
    queries = _build(root, "roxford5k", "query")
    queries.write(Storage.at(root), "queries.parquet")
    options = DatasetOptions("list", list_file=f"{root}/queries.parquet")
    again = build_manifest(options)
    assert (again.digest, again.root, list(again)) == (queries.digest, queries.root, list(queries))
    moved = _build(Path("/elsewhere"), "list", list_file=f"{root}/queries.parquet")
    assert moved.record(0).uri == "/elsewhere/roxford5k/jpg/q_1.jpg"
    assert moved.digest == queries.digest
    whole = build_manifest(DatasetOptions("list", list_file=f"{root}/queries.parquet", crop=False))
    asked = _build(root, "roxford5k", "query", crop=False)
    assert (whole.digest, whole.notes) == (asked.digest, asked.notes)
    with pytest.raises(DatasetError, match=r"rows of .* carry their own"):
        build_manifest(DatasetOptions("list", list_file=f"{root}/queries.parquet", split="query"))


def test_a_hostile_manifest_is_refused(root: Path) -> None:
    (root / "list.txt").write_text("/etc/passwd\n")
    outside = _build(root, "list", list_file=f"{root}/list.txt", allow_outside=True)
    outside.write(Storage.at(root), "hostile.parquet")
    with pytest.raises(UnsafeFileError, match="/etc/passwd leaves"):
        build_manifest(DatasetOptions("list", list_file=f"{root}/hostile.parquet"))
    (root / "photo.jpg").symlink_to("/etc/passwd")
    (root / "list.txt").write_text("photo.jpg\n")
    _build(root, "list", list_file=f"{root}/list.txt", allow_outside=True).write(
        Storage.at(root), "l.parquet"
    )
    with pytest.raises(UnsafeFileError, match=r"photo\.jpg is or follows a symbolic link that leaves"):
        build_manifest(DatasetOptions("list", list_file=f"{root}/l.parquet"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (DatasetOptions("roxford5K"), "dataset=roxford5K is unknown\nhint: did you mean roxford5k?"),
        (DatasetOptions("gldv2"), "did you mean gldv2_"),
        (DatasetOptions("zzzz"), "allowed are folder, list, roxford5k"),
        (DatasetOptions("roxford5k", split="gallery"), "dataset=roxford5k needs data_root="),
        (DatasetOptions("roxford5k", data_root="/gone"), "has no split=None\nhint: pass split=gallery or"),
        (DatasetOptions("gldv2_index", split="train", data_root="/gone"), "pass split=gallery"),
        (DatasetOptions("roxford5k", split="query", data_root="/gone"), "gnd_roxford5k.pkl does not exist"),
        (DatasetOptions("gldv2_train", data_root="/gone"), "holds none of train_clean.csv, train.csv"),
        (DatasetOptions("r1m", data_root="/gone"), "/gone/revisitop1m/revisitop1m.txt does not exist"),
        (DatasetOptions("list"), "dataset=list needs list_file=FILE"),
        (
            DatasetOptions(images="/a", data_root="/b"),
            "no use for data_root=/b\nhint: images=/a is the whole path",
        ),
        (DatasetOptions(images="/a", list_file="/l.txt"), "dataset=folder has no use for list_file=/l.txt"),
        (
            DatasetOptions("roxford5k", list_file="/l.txt"),
            "has no use for list_file=/l.txt\nhint: pass dataset=list",
        ),
        (DatasetOptions("folder"), "dataset=folder needs images=FOLDER"),
        (DatasetOptions("list", list_file="/gone/x.parquet"), "x.parquet cannot be read as a manifest"),
    ],
)
def test_what_is_asked_wrongly_is_explained(options: DatasetOptions, message: str) -> None:
    with pytest.raises(DatasetError, match=re.escape(message)):
        build_manifest(options)


def test_every_named_set_has_its_settings() -> None:
    configs = Path(__file__).parents[2] / "configs" / "dataset"
    assert sorted(path.stem for path in configs.glob("*.yaml")) == sorted(NAMES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "has no gnd, imlist, qimlist; it has list"),
        ({"imlist": [], "gnd": []}, "has no qimlist; it has gnd, imlist"),
        ({"imlist": ["a"], "qimlist": ["q"], "gnd": []}, "has 1 queries in qimlist, but 0 in gnd"),
    ],
)
def test_other_pickles_are_refused(content: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        RevisitedFile.from_bytes(pickle.dumps(content), "gnd.pkl")


@pytest.mark.parametrize("box", [None, [1, 2, 3], "abcd", [1, 2, 3, float("nan")]])
def test_boxes_that_are_none(box: Any) -> None:
    content = {"imlist": ["a"], "qimlist": ["q"], "gnd": [{"bbx": box}]}
    file = RevisitedFile.from_bytes(pickle.dumps(content), "gnd.pkl")
    with pytest.raises(DatasetError, match=r"gnd\[0\] has bbx"):
        list(file.query_records("jpg", crop=True))
    assert next(file.query_records("jpg", crop=False)).bbox is None

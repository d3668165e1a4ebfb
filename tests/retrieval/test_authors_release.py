"""A `data_root` as the authors publish it, read where it lies: HDF5 in every form, lists, gnd, nn."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from ames_ray.datasets.authors_layout import AuthorsBenchmark, find_benchmark
from ames_ray.datasets.manifest import Manifest
from ames_ray.datasets.registry import DatasetOptions, build_manifest
from ames_ray.errors import ConfigError, DatasetError, StoreError
from ames_ray.evaluation.candidates import candidates
from ames_ray.evaluation.evaluate import evaluate
from ames_ray.retrieval.benchmark import Benchmark
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.kept import read_shortlist
from ames_ray.retrieval.neighbors import find_neighbors
from ames_ray.retrieval.pieces import score_pairs
from ames_ray.retrieval.scoring import PairScorer, ScoreOptions
from ames_ray.store.convert import import_hdf5
from ames_ray.store.info import describe_store
from ames_ray.store.merge import merge
from ames_ray.store.reader import Store
from ames_ray.types import AnyArray
from tests.retrieval.small import dense_logit, small_model, small_reranker
from tests.store.builders import all_features, same

TOPK, DIM, WIDE = 6, 16, 4
QUERIES, GALLERY, DISTRACTORS = 3, 14, 9
GND: list[dict[str, Any]] = [
    {"bbx": [4.0, 4.0, 60.5, 62.0], "easy": [1, 5], "hard": [9], "junk": [0, 3]},
    {"bbx": [0, 0, 64, 60], "easy": [2], "hard": [7, 12], "junk": []},
    {"bbx": [8, 8, 50, 50], "easy": [], "hard": [6], "junk": [13]},
]


class Set:
    """Made-up descriptors of a set of images; image 3 has none at all, image 4 only two."""

    def __init__(self, images: int, seed: int, kind: str) -> None:
        random = np.random.default_rng(seed)
        self.count = np.where(np.arange(images) % 8 == 4, 2, TOPK)
        self.descriptors = random.standard_normal((images, TOPK, DIM)).astype(np.float32)
        self.metadata = random.random((images, TOPK, 5)).astype(np.float32)
        self.pooled = random.standard_normal((images, WIDE)).astype(np.float32)
        self.pooled /= np.linalg.norm(self.pooled, axis=1, keepdims=True)
        if images > 5:
            self.count[3], self.pooled[3] = 0, 0
        padding = np.arange(TOPK) >= self.count[:, None]
        self.metadata[..., 2] = 0
        self.metadata[..., 3] = padding
        self.descriptors[padding] = 0
        if kind != "plain":
            self.descriptors = self.descriptors.astype(np.float16)

    def features(self, kind: str, part: slice = slice(None)) -> AnyArray:
        """`features` in one of the forms of the releases."""
        if kind == "plain":
            return np.concatenate([self.metadata, self.descriptors], axis=2)[part]
        sub = () if kind == "records" else (TOPK,)
        dtype = np.dtype([("descriptor", "<f2", (*sub, DIM)), ("metadata", "<f4", (*sub, 5))])
        rows = np.empty((len(self.count), TOPK) if kind == "records" else len(self.count), dtype)
        rows["descriptor"], rows["metadata"] = self.descriptors, self.metadata
        return rows[part]


def write(path: Path, features: AnyArray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["features"] = features


@pytest.fixture(scope="module")
def sets() -> dict[str, Set]:
    return {
        "query": Set(QUERIES, 1, "plain"),
        "gallery": Set(GALLERY, 2, "rows"),
        "r1m": Set(DISTRACTORS, 3, "records"),
    }


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory, sets: dict[str, Set]) -> Path:
    root = tmp_path_factory.mktemp("data")
    here, r1m = root / "roxford5k", root / "revisitop1m"
    write(here / "dinov2_query_local.hdf5", sets["query"].features("plain"))
    write(here / "dinov2_gallery_local.hdf5", sets["gallery"].features("rows"))
    write(here / "dinov2_query_cls.hdf5", sets["query"].pooled)
    write(here / "dinov2_gallery_cls.hdf5", sets["gallery"].pooled)
    for name, part in (("xaa", slice(0, 5)), ("xab", slice(5, None))):
        write(r1m / f"dinov2_{name}_local.hdf5", sets["r1m"].features("records", part))
        write(r1m / f"dinov2_{name}_cls.hdf5", sets["r1m"].pooled[part])
    (r1m / "revisitop1m.txt").write_text("".join(f"a/distractor{n}.jpg\n" for n in range(DISTRACTORS)))
    names = {
        "imlist": [f"ox_{n}" for n in range(GALLERY)],
        "qimlist": [f"query_{n}" for n in range(QUERIES)],
    }
    (here / "gnd_roxford5k.pkl").write_bytes(pickle.dumps({**names, "gnd": GND}))
    similarities = sets["query"].pooled @ sets["gallery"].pooled.T
    order = np.argsort(-similarities, axis=1, kind="stable")
    both = np.stack([np.take_along_axis(similarities, order, 1), order.astype(np.float32)])
    (here / "nn_dinov2.pkl").write_bytes(pickle.dumps(torch.from_numpy(both)))
    return root


def joined(sets: dict[str, Set], *names: str) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Descriptors, their numbers and global descriptors of several sets."""
    parts = [sets[name] for name in names]
    return (
        np.concatenate([part.descriptors for part in parts]),
        np.concatenate([part.count for part in parts]),
        np.concatenate([part.pooled for part in parts]),
    )


def test_evaluation_with_distractors_is_brute_force(data_root: Path, sets: dict[str, Set]) -> None:
    found = find_benchmark("roxford5k+1m", "dinov2", str(data_root))
    assert found.nn_file is None
    benchmark = Benchmark.read(found.ground_truth, found.protocol)
    query, gallery = Gallery.open([found.query]), Gallery.open(found.gallery)
    benchmark.check(query, gallery)
    assert len(gallery) == GALLERY + DISTRACTORS
    assert [record.image_id for record in gallery.records()][GALLERY] == "a/distractor0.jpg"

    shortlist = find_neighbors(query.stores[0], gallery, "cls", None)
    descriptors, count, pooled = joined(sets, "gallery", "r1m")
    similarities = sets["query"].pooled @ pooled.T
    similarities[:, count == 0] = -np.inf
    real = int((count > 0).sum())
    np.testing.assert_array_equal(
        shortlist.rows[:, :real], np.argsort(-similarities, axis=1, kind="stable")[:, :real]
    )

    pairs = candidates(benchmark.protocol, shortlist, 10)
    scores = score_pairs(PairScorer(pairs, query.stores[0], gallery, small_reranker(), ScoreOptions(5, 4, 3)))
    for number, (line, logits) in enumerate(zip(scores.rows, scores.logits, strict=True)):
        for row, logit in zip(line[line >= 0], logits[line >= 0], strict=True):
            mine = sets["query"].descriptors[number, : min(5, sets["query"].count[number])]
            image = descriptors[row, : min(4, count[row])].astype(np.float32)
            assert logit == pytest.approx(dense_logit(small_model(), mine, image), abs=2e-5)
    assert 0 < evaluate(benchmark.protocol, shortlist).figures["medium_mAP"] < 1


def test_their_own_first_ranking_is_the_one_of_their_descriptors(data_root: Path) -> None:
    found = find_benchmark("roxford", "dinov2", str(data_root))
    query, gallery = Gallery.open([found.query]), Gallery.open(found.gallery)
    ours = find_neighbors(query.stores[0], gallery, "cls", None)
    theirs = read_shortlist(found.nn_file or "")
    # Theirs ranks the image without descriptors somewhere by its similarity of 0.
    for mine, line in zip(ours.rows, theirs.rows, strict=True):
        np.testing.assert_array_equal(mine[mine >= 0], line[line != 3])


def test_names_and_rows_are_those_of_the_lists_beside(data_root: Path) -> None:
    found = find_benchmark("roxford+1m", "dinov2", str(data_root))
    for uri, dataset, split in (
        (found.query, "roxford5k", "query"),
        (found.gallery[0], "roxford5k", "gallery"),
        (found.gallery[1], "r1m", None),
    ):
        options = DatasetOptions(dataset, split=split, data_root=str(data_root))
        assert Store.open(uri).meta.manifest_digest == build_manifest(options).digest


def test_a_file_reads_as_the_store_that_an_import_makes(data_root: Path, tmp_path: Path) -> None:
    for uri in (find := find_benchmark("roxford+1m", "dinov2", str(data_root))).gallery:
        view = Store.open(uri)
        cls = uri.replace("_local", "_cls")
        if "revisitop1m" in uri:
            # An import takes global descriptors as one file.
            write(Path(cls), np.concatenate([h5py.File(p, "r")["features"][:] for p in parts(cls)]))
        plain = Manifest.from_records(view.manifest, view.manifest.root, allow_outside=True)
        name = str(tmp_path / Path(uri).parent.name)
        own = import_hdf5([uri], plain, name, pooled={"cls": cls}, shard_rows=4)
        if "revisitop1m" in uri:
            Path(cls).unlink()
        assert all(same(a, b) for a, b in zip(all_features(view), all_features(own), strict=True))
        np.testing.assert_array_equal(view.ok, own.ok)
        np.testing.assert_array_equal(view.pooled("cls", 2, 7), own.pooled("cls")[2:7])
        rows = [7, 3, 4, 0, 4]
        for count in (None, 1, 3):
            ours, theirs = view.read(rows, count), own.read(rows, count)
            np.testing.assert_array_equal(ours.descriptors, theirs.descriptors)
            np.testing.assert_array_equal(ours.valid, theirs.valid)
    both = merge([Store.open(uri) for uri in find.gallery], str(tmp_path / "both"))
    assert (both.meta.format, len(both.manifest), int(both.ok.sum())) == ("parquet", 23, 21)


def parts(name: str) -> list[str]:
    folder, _, file = name.rpartition("/dinov2_")
    return [f"{folder}/dinov2_{chunk}_{file}" for chunk in ("xaa", "xab")]


def test_a_file_without_a_list_has_numbered_images(tmp_path: Path, sets: dict[str, Set]) -> None:
    write(tmp_path / "mine_local.hdf5", sets["gallery"].features("plain"))
    store = Store.open(str(tmp_path / "mine_local.hdf5"))
    assert store.manifest.record(5).image_id == "mine/5"
    assert store.manifest.notes == ("no list of mine is known: its images are numbered",)
    assert (store.meta.pooled, int(store.ok.sum())) == ({}, GALLERY - 1)
    about = describe_store(store)
    assert (about.finished, about.rows_ok, about.failed) == (True, GALLERY - 1, {"no_features": 1})


def test_padding_may_lie_anywhere(tmp_path: Path) -> None:
    features = np.zeros((1, 4, 5 + DIM), np.float32)
    features[0, :, 3] = [1, 0, 1, 0]
    features[0, :, 5] = [9, 1, 9, 2]
    write(tmp_path / "mine_local.hdf5", features)
    store = Store.open(str(tmp_path / "mine_local.hdf5"))
    assert store.ok.all()
    for count, valid in ((2, [True, True]), (3, [True, True, False]), (4, [True, True, False, False])):
        batch = store.read([0], count)
        assert batch.valid[0].tolist() == valid
        assert batch.descriptors[0, :2, 0].tolist() == [1, 2]


def test_all_missing_files_are_named_in_one_error(data_root: Path) -> None:
    with pytest.raises(DatasetError) as error:
        find_benchmark("rparis6k+1m", "cvnet", str(data_root), "nn_superglobal.pkl")
    for name in (
        "rparis6k/cvnet_query_local.hdf5",
        "rparis6k/cvnet_gallery_local.hdf5",
        "revisitop1m/cvnet_local.hdf5",
        "rparis6k/gnd_rparis6k.pkl",
        "rparis6k/nn_superglobal.pkl",
    ):
        assert str(data_root / name) in error.value.message
    with pytest.raises(ConfigError, match=r"test_dataset=gldv2-test\+1m is unknown"):
        find_benchmark("gldv2-test+1m", "dinov2", str(data_root))


def test_a_ranking_may_lie_in_the_data_set_or_where_its_path_says(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    inside, mine = data_root / "roxford5k" / "nn_dinov2.pkl", tmp_path / "rankings" / "mine.parquet"
    mine.parent.mkdir()
    for path in (mine, tmp_path / inside.name):
        path.touch()
    for given, wanted in (
        (inside.name, inside),
        ("rankings/mine.parquet", mine),
        ("~/rankings/mine.parquet", mine),
        (str(mine), mine),
        ("s3://bucket/nn.parquet", "s3://bucket/nn.parquet"),
    ):
        found = find_benchmark("roxford5k", "dinov2", str(data_root), given)
        assert found.nn_file == str(wanted)
    with pytest.raises(DatasetError, match=f"{inside.parent}/nn_other.pkl: not there"):
        find_benchmark("roxford5k", "dinov2", str(data_root), "nn_other.pkl")


def test_gldv2_has_one_folder_and_two_protocols(tmp_path: Path, sets: dict[str, Set]) -> None:
    here = tmp_path / "gldv2-test"
    for split in ("query", "gallery"):
        write(here / f"cvnet_{split}_local.hdf5", sets[split].features("plain"))
        lines = [f"{split}/{n}.jpg,17,640,480\n" for n in range(len(sets[split].count))]
        (here / f"test_{split}.txt").write_text("".join(lines))
    (here / "gnd_gldv2-test.pkl").write_bytes(pickle.dumps({"gnd": [{"ok": [1]}] * QUERIES}))
    found = find_benchmark("gldv2-val", "cvnet", str(tmp_path))
    assert found == AuthorsBenchmark(
        str(here / "cvnet_query_local.hdf5"),
        (str(here / "cvnet_gallery_local.hdf5"),),
        str(here / "gnd_gldv2-test.pkl"),
        None,
        "gldv2-val",
    )
    record = Store.open(found.gallery[0]).manifest.record(2)
    assert (record.image_id, record.label, record.width) == ("gallery/2.jpg", "17", 640)


def test_a_list_of_another_length_is_refused(tmp_path: Path, sets: dict[str, Set]) -> None:
    write(tmp_path / "gldv2-test" / "cvnet_query_local.hdf5", sets["query"].features("plain"))
    (tmp_path / "gldv2-test" / "test_query.txt").write_text("a.jpg\n")
    with pytest.raises(StoreError, match="hold 3 images, the list has 1"):
        Store.open(str(tmp_path / "gldv2-test" / "cvnet_query_local.hdf5"))
    with pytest.raises(StoreError, match="is missing, and so are chunks of it"):
        Store.open(str(tmp_path / "gldv2-test" / "cvnet_gallery_local.hdf5"))

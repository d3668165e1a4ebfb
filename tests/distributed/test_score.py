"""Scoring by Ray's workers: the numbers of this process, whoever is killed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ames_ray.cli.main import main
from ames_ray.distributed import crew
from ames_ray.distributed.crew import cluster
from ames_ray.distributed.score import AssignedReranker
from ames_ray.errors import ResourceError, RunError, WeightsError
from ames_ray.evaluation.scores import PairScores, Shortlist
from ames_ray.files import Storage
from ames_ray.model.checkpoints import save_ames
from ames_ray.model.options import AmesOptions
from ames_ray.retrieval import pieces as pieces_module
from ames_ray.retrieval import scoring
from ames_ray.retrieval.crew import threads
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.neighbors import find_neighbors
from ames_ray.retrieval.pieces import score_pairs
from ames_ray.retrieval.scoring import PairScorer, ScoreOptions
from ames_ray.store.reader import Store
from tests.distributed.rerankers import diary_reranker
from tests.model.networks import random_model
from tests.retrieval.authors_folder import make_data_root, make_stores
from tests.retrieval.small import small_model, small_reranker
from tests.store.builders import make_manifest, make_store

pytestmark = pytest.mark.usefixtures("local_ray")
OPTIONS = ScoreOptions(batch_size=4)
Given = tuple[Shortlist, Store, Gallery]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    folder = tmp_path_factory.mktemp("stores")
    gallery = Gallery(
        (make_store(folder / "a", 30), make_store(folder / "b", manifest=make_manifest(9, first=100)))
    )
    query = make_store(folder / "q", manifest=make_manifest(8, first=200))
    return find_neighbors(query, gallery, "global", None), query, gallery


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "PIECE_PAIRS", 8)
    monkeypatch.setattr(pieces_module, "PIECE_PAIRS", 8)


@pytest.fixture(scope="module")
def whole(given: Given) -> PairScores:
    return score_pairs(PairScorer(*given, small_reranker(), OPTIONS), hire=threads(1))


class Told(list[tuple[int, int]]):
    """Remembers a progress report."""

    def __call__(self, done: int, total: int) -> None:
        self.append((done, total))


def assigned(weights: Path, device: str = "auto") -> AssignedReranker:
    return AssignedReranker("ames", str(weights), device, "float32")  # type: ignore[arg-type]


def test_any_number_of_workers_gives_the_same_numbers(
    given: Given, whole: PairScores, tmp_path: Path
) -> None:
    save_ames(small_model(), tmp_path / "model.pt")
    for number, hire in enumerate((threads(3), cluster(None, 3, 1))):
        told = Told()
        found = score_pairs(
            PairScorer(*given, small_reranker(), OPTIONS),
            pieces=Storage.at(tmp_path / str(number)),
            report=told,
            hire=hire,
            load=assigned(tmp_path / "model.pt") if number else None,
        )
        np.testing.assert_array_equal(found.logits, whole.logits)
        assert found.settings == whole.settings
        total = int((given[0].rows >= 0).sum())
        assert told[0] == (0, total)
        assert told[-1] == (total, total)
        assert told == sorted(told)


def test_a_killed_worker_costs_one_piece(given: Given, whole: PairScores, tmp_path: Path) -> None:
    folder = Storage.at(tmp_path / "pieces")
    load = diary_reranker(tmp_path / "diary", kills=1)
    found = score_pairs(
        PairScorer(*given, small_reranker(), OPTIONS), pieces=folder, hire=cluster(None, 2, 1), load=load
    )
    np.testing.assert_array_equal(found.logits, whole.logits)
    assert (tmp_path / "diary.death0").exists()
    counts = Counter((tmp_path / "diary").read_text().splitlines())
    assert len(counts) == int((given[0].rows >= 0).sum())
    again = [line for line, count in counts.items() if count > 1]
    assert set(counts.values()) == {1, 2}
    assert len({line.split()[0] for line in again}) == 1
    assert len(again) <= 8


@pytest.mark.faults
def test_who_kills_every_worker_ends_the_run_and_the_rest_is_kept(
    given: Given, whole: PairScores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "_TRIES", 2)
    folder = Storage.at(tmp_path / "pieces")
    hire = cluster(None, 1, 1)
    load = diary_reranker(tmp_path / "diary", kills=100, calls=2)
    with pytest.raises(RunError, match="a worker could not go on"):
        score_pairs(PairScorer(*given, small_reranker(), OPTIONS), pieces=folder, hire=hire, load=load)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "pieces").rglob("*.npy")}
    assert kept
    diary = tmp_path / "second"
    told = Told()
    found = score_pairs(
        PairScorer(*given, small_reranker(), OPTIONS),
        pieces=folder,
        report=told,
        hire=hire,
        load=diary_reranker(diary),
    )
    np.testing.assert_array_equal(found.logits, whole.logits)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    total = int((given[0].rows >= 0).sum())
    assert told[0] == (sum(len(np.load(path)) for path in kept), total)
    assert len(diary.read_text().splitlines()) == total - told[0][0]


def test_errors_come_as_they_are(given: Given, tmp_path: Path) -> None:
    def refused(load: AssignedReranker, gpus: float = 0) -> None:
        score_pairs(PairScorer(*given, small_reranker(), OPTIONS), hire=cluster(None, 1, 1, gpus), load=load)

    save_ames(small_model(1), tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="a worker has other weights or stores"):
        refused(assigned(tmp_path / "other.pt"))
    with pytest.raises(ResourceError, match="no GPU was reserved"):
        refused(assigned(tmp_path / "other.pt", "cuda"))
    with pytest.raises(ResourceError, match=r"1 × 3 = 3 GPUs; the cluster has 6 CPUs and 2 GPUs"):
        refused(assigned(tmp_path / "other.pt"), 3)


def test_evaluate_on_ray_prints_and_writes_what_one_process_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_data_root(tmp_path / "data")
    make_stores(tmp_path / "data", tmp_path / "stores")
    options = AmesOptions(128, dim=16, blocks=2, feedforward=32)
    save_ames(random_model(options), tmp_path / "model.safetensors")
    words = [
        f"query={tmp_path / 'stores' / 'query'}",
        f"gallery=[{tmp_path / 'stores' / 'gallery'},{tmp_path / 'stores' / 'r1m'}]",
        f"ground_truth={tmp_path / 'data' / 'roxford5k' / 'gnd_roxford5k.pkl'}",
        f"model={tmp_path / 'model.safetensors'}",
        "num_rerank=[2,6]",
    ]
    results, tables = [], []
    for name, more in (("here", []), ("there", ["workers=2", "device=cpu"])):
        assert main(["evaluate", *words, *more, f"output={tmp_path / name}"]) == 0
        tables.append(capsys.readouterr().out.rpartition("written:")[0])
        files = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        (result,) = (json.loads(data) for file, data in files.items() if file.startswith("evaluation-"))
        kept = {file: data for file, data in files.items() if not file.startswith("evaluation-")}
        results.append((kept, result["global"], result["rows"]))
    assert results[0] == results[1]
    assert tables[0] == tables[1]
    assert sorted(file.split("-")[0] for file in results[0][0]) == ["neighbors", "scores"]

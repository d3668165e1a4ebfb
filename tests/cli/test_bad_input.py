"""What users feed to neighbors, score and evaluate by mistake: a clear error or a defined result."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ames_ray.cli.main import main
from ames_ray.evaluation.score_files import load_pair_scores, load_shortlist, save_scores
from ames_ray.evaluation.scores import Shortlist
from ames_ray.files import Storage
from ames_ray.model.checkpoints import save_ames
from ames_ray.store import codec
from ames_ray.store.writer import ShardWriter, StoreWriter
from tests.end_to_end.test_commands import ames_ray
from tests.retrieval.small import small_model
from tests.store.builders import make_features, make_manifest, make_meta, make_store

NAN_LOCAL, NAN_POOLED = 4, 8
"""Rows of the damaged store."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with stores `good` and `nan`, `model.pt`, and a shortlist `nn.parquet` of both."""
    folder = tmp_path_factory.mktemp("bad")
    make_store(folder / "good", 10)
    with pytest.MonkeyPatch.context() as patch:
        # Our writer refuses such values; other programs' may not.
        patch.setattr(codec, "_require_finite", lambda *_: None)
        damaged_store(folder / "nan")
    save_ames(small_model(), folder / "model.pt")
    words = [f"query={folder / 'good'}", f"gallery={folder / 'nan'}", "shortlist_size=1000"]
    assert main(["neighbors", *words, f"output={folder / 'nn.parquet'}"]) == 0
    return folder


def damaged_store(path: Path) -> None:
    """A store in which one row holds NaN in its local descriptors, another one in the global one."""
    manifest = make_manifest(10)
    meta = make_meta(manifest)
    storage = Storage.at(path)
    writer = StoreWriter.open(storage, meta, manifest)
    for task in writer.pending():
        with ShardWriter(storage, meta, task.shard, task.start, task.stop) as shard:
            for record in manifest.records(task.start, task.stop):
                features = make_features(record, meta)
                if record.row == NAN_LOCAL and features.local:
                    features.local.descriptors[0, 0] = np.nan
                if record.row == NAN_POOLED:
                    features.pooled["global"][0] = np.nan
                shard.write([features])
            shard.publish()
    writer.finish({"job": "test"})


def score(here: Path, output: Path, *more: str) -> list[str]:
    words = {
        "query": f"{here / 'good'}",
        "gallery": f"{here / 'nan'}",
        "nn_file": f"{here / 'nn.parquet'}",
        "model": f"{here / 'model.pt'}",
        "output": f"{output / 'scores.parquet'}",
    }
    words |= dict(word.split("=", 1) for word in more)
    return ["score", *(f"{key}={value}" for key, value in words.items())]


def evaluate(here: Path, output: Path, gnd: Path) -> list[str]:
    stores = [f"query={here / 'good'}", f"gallery={here / 'good'}"]
    return ["evaluate", *stores, f"ground_truth={gnd}", f"output={output / 'results'}"]


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def test_what_is_not_finite_is_not_found_and_a_long_k_gives_short_lists(here: Path) -> None:
    found = load_shortlist(str(here / "nn.parquet"))
    rows = found.rows[0]
    # Row 3 failed in both stores.
    assert set(rows[rows >= 0]) == set(range(10)) - {3, NAN_POOLED}
    assert (found.rows[3] == -1).all()


def test_a_query_without_neighbours_has_not_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_store(tmp_path / "one", 1)
    words = [f"query={tmp_path / 'one'}", f"gallery={tmp_path / 'one'}", f"output={tmp_path / 'nn.parquet'}"]
    assert main(["neighbors", *words, "exclude_self=true"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "queries 1, 0 of them failed gallery 1 images, 0 of them failed neighbors 0 to 0" in printed


def test_images_that_failed_are_noted_beside_the_figures(here: Path, tmp_path: Path) -> None:
    """Half a set of distractors would raise every figure in silence."""
    (tmp_path / "gnd.json").write_text(json.dumps({"gnd": [{"ok": [row]} for row in range(10)]}))
    words = evaluate(here, tmp_path, tmp_path / "gnd.json")
    assert main([*words, "protocol=gldv2-val", f"model={here / 'model.pt'}", "num_rerank=2"]) == 0
    (path,) = (tmp_path / "results").glob("evaluation-*.json")
    result = json.loads(path.read_bytes())
    for part in ("global", "best"):
        for what in ("queries", "gallery images"):
            note = f"1 of 10 {what} have no descriptors: they failed, or were removed"
            assert note in result[part]["notes"]


def test_local_descriptors_that_are_not_finite_are_named(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(score(here, tmp_path)) == 2
    error = capsys.readouterr().err
    assert f"the score of gallery row {NAN_LOCAL} is not a number" in error
    assert "ames-ray store verify" in error
    assert not (tmp_path / "scores.parquet").exists()


def test_equal_images_have_equal_scores_and_the_lower_row_comes_first(tmp_path: Path) -> None:
    first = make_store(tmp_path / "a", 10)
    make_store(tmp_path / "b", manifest=make_manifest(10, first=100))
    save_ames(small_model(), tmp_path / "model.pt")
    pair = [f"query={tmp_path / 'a'}", f"gallery=[{tmp_path / 'a'},{tmp_path / 'b'}]"]
    assert main(["neighbors", *pair, f"output={tmp_path / 'nn.parquet'}"]) == 0
    found = load_shortlist(str(tmp_path / "nn.parquet")).rows
    for line in found[first.ok]:
        assert (line[1::2] == line[::2] + 10).all()
    words = [f"nn_file={tmp_path / 'nn.parquet'}", f"model={tmp_path / 'model.pt'}"]
    assert main(["score", *pair, *words, f"output={tmp_path / 'scores.parquet'}"]) == 0
    logits = load_pair_scores(str(tmp_path / "scores.parquet")).logits[first.ok]
    np.testing.assert_allclose(logits[:, 1::2], logits[:, ::2], atol=1e-5)


def test_pickles_that_would_run_code_are_refused(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marker, evil = tmp_path / "it ran", tmp_path / "evil.pkl"
    evil.write_bytes(pickle.dumps({"gnd": [Evil(marker)]}))
    (tmp_path / "evil.pt").write_bytes(evil.read_bytes())
    for words in (
        evaluate(here, tmp_path, evil),
        score(here, tmp_path, f"nn_file={evil}"),
        score(here, tmp_path, f"model={tmp_path / 'evil.pt'}"),
    ):
        assert main(words) == 2
        assert "evil" in capsys.readouterr().err
    assert not marker.exists()


@pytest.mark.parametrize("kind", ["foreign", "cut", "no pickle"])
def test_other_checkpoints_are_refused_by_name(
    here: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights.pt"
    if kind == "foreign":
        torch.save({"conv1.weight": torch.zeros(3)}, weights)
    else:
        whole = (here / "model.pt").read_bytes()
        weights.write_bytes(whole[: len(whole) // 2] if kind == "cut" else b"<html>404</html>")
    assert main(score(here, tmp_path, f"model={weights}")) == 2
    assert "weights.pt" in capsys.readouterr().err


def test_shortlists_of_other_stores_are_refused(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = load_shortlist(str(here / "nn.parquet"))
    foreign, beyond, twice = (tmp_path / f"{name}.parquet" for name in ("foreign", "beyond", "twice"))
    save_scores(replace(found, gallery_manifest="f00d" * 16), str(foreign))
    far = found.rows.copy()
    far[0, 0] = 10
    save_scores(Shortlist(far, found.similarities), str(beyond))
    save_scores(Shortlist(np.ones((10, 2), np.int64), np.ones((10, 2), np.float32)), str(twice))
    for path, message in (
        (foreign, "made from the gallery list f00d"),
        (beyond, "names gallery row 10"),
        (twice, "the shortlist of query 0 holds image 1 more than once"),
        (here / "model.pt", "model.pt is not a file of scores"),
        (tmp_path / "nowhere.parquet", "nowhere.parquet does not exist"),
    ):
        assert main(score(here, tmp_path, f"nn_file={path}")) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["neighbors", "score", "store project", "itq"])
def test_the_cluster_that_the_environment_names_is_asked(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    pair = [f"query={here / 'good'}", f"gallery={here / 'good'}", "output=out.parquet"]
    model = f"model={here / 'model.pt'}"
    words = {
        "neighbors": pair,
        "score": [*pair, f"nn_file={here / 'nn.parquet'}", model],
        "store project": [f"in={here / 'good'}", "out=projected", model],
        "itq": [f"store={here / 'good'}", "bits=8", "output=itq.npz"],
    }[verb]
    monkeypatch.setenv("RAY_ADDRESS", "nowhere")
    done = ames_ray(tmp_path, *verb.split(), *words)
    assert done.returncode == 2
    assert "Ray at nowhere cannot be used" in done.stderr


def test_an_index_that_cannot_be_spread_is_said_at_once(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = [f"query={here / 'good'}", f"gallery={here / 'good'}", f"output={tmp_path / 'nn.parquet'}"]
    assert main(["neighbors", *pair, "index=ivf", "workers=2"]) == 2
    assert "index=ivf is built in this process" in capsys.readouterr().err
    assert main(["neighbors", *pair, "index=ivf", "shortlist_size=null"]) == 2
    assert "the whole gallery is asked for" in capsys.readouterr().err
    # A submitted job is told an address that this index does not need.
    monkeypatch.setenv("RAY_ADDRESS", "nowhere")
    assert main(["neighbors", *pair, "index=ivf", "shortlist_size=3", "exclude_self=true"]) == 0
    assert not (load_shortlist(str(tmp_path / "nn.parquet")).rows == np.arange(10)[:, None]).any()


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (b"{", "job.json cannot be read, it is damaged"),
        (b"[1]", "job.json cannot be read, it is damaged"),
        (b'{"images": "/photos", "colour": 1}', "does not take: colour"),
    ],
)
def test_a_job_that_cannot_be_done_again_is_told(
    tmp_path: Path, job: bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_store(tmp_path / "store", 3)
    (tmp_path / "store" / "job.json").write_bytes(job)
    assert main(["store", "retry", str(tmp_path / "store")]) == 2
    assert message in capsys.readouterr().err

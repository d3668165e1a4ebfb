"""What verbs that write one file do with a file that lies there."""

from __future__ import annotations

import io
import pickle
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ames_ray.cli.main import main
from ames_ray.evaluation.score_files import load_pair_scores, load_shortlist
from ames_ray.files import Storage
from ames_ray.model.checkpoints import save_ames
from ames_ray.model.itq import load_rotation
from ames_ray.retrieval.kept import read_shortlist
from tests.retrieval.small import small_model
from tests.store.builders import make_store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    make_store(tmp_path / "store", 40)
    return tmp_path / "store"


def pair(store: Path) -> list[str]:
    return [f"query={store}", f"gallery={store}"]


def parquet_of_another_program() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"query": [0]}), sink)
    return sink.getvalue()


def rotation_of_the_authors() -> bytes:
    sink = io.BytesIO()
    np.savez(sink, W=np.eye(4))
    return sink.getvalue()


@pytest.mark.parametrize(
    ("verb", "theirs"),
    [
        ("neighbors pooled=cls output=nn.parquet", parquet_of_another_program()),
        # What the authors publish under such names is of the same kind.
        ("neighbors pooled=cls output=nn_dinov2.pkl", pickle.dumps(torch.ones(2, 3, 4))),
        ("itq bits=8 output=itq_dinov2_D128.npz", rotation_of_the_authors()),
    ],
)
def test_a_file_of_somebody_else_stays(
    verb: str,
    theirs: bytes,
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(store.parent)
    output = Path(verb.partition("output=")[2])
    command = [*verb.split(), *([f"store={store}"] if verb.startswith("itq") else pair(store))]
    for content in (theirs, b"", b"notes"):
        output.write_bytes(content)
        assert main(command) == 2
        assert f"{output} would be lost: it is no result of this command" in capsys.readouterr().err
        assert output.read_bytes() == content
    output.unlink()
    output.mkdir()
    assert main(command) == 2
    assert f"{output} is a folder" in capsys.readouterr().err


def test_a_folder_that_cannot_be_is_told_before_the_stores_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    pair = [f"query={tmp_path / 'nothing'}", f"gallery={tmp_path / 'nothing'}"]
    assert main(["neighbors", *pair, f"output={tmp_path}/file/sub/nn.pkl"]) == 2
    assert f"{tmp_path}/file is no folder that can be written to" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["nn.parquet", "nn.pkl"])
def test_neighbors_replaces_its_own_result(store: Path, tmp_path: Path, name: str) -> None:
    for size in (4, 3):
        words = [*pair(store), "pooled=cls", f"shortlist_size={size}", f"output={tmp_path / name}"]
        assert main(["neighbors", *words]) == 0
        assert read_shortlist(str(tmp_path / name)).rows.shape == (40, size)


def test_score_replaces_its_own_result_and_no_shortlist(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_ames(small_model(), tmp_path / "model.pt")
    first, second = tmp_path / "first.parquet", tmp_path / "second.parquet"
    for output in (first, second):
        assert main(["neighbors", *pair(store), "pooled=cls", "shortlist_size=3", f"output={output}"]) == 0
    command = ["score", *pair(store), f"nn_file={first}", f"model={tmp_path / 'model.pt'}"]
    assert main([*command, f"output={second}"]) == 2
    assert f"output={second} would be lost" in capsys.readouterr().err
    assert load_shortlist(str(second)).rows.shape == (40, 3)
    for count in (2, 1):
        assert main([*command, f"output={tmp_path / 'scores.parquet'}", f"num_rerank={count}"]) == 0
        assert load_pair_scores(str(tmp_path / "scores.parquet")).rows.shape == (40, count)


def test_itq_replaces_its_own_result(store: Path, tmp_path: Path) -> None:
    made = []
    for seed in (0, 1):
        assert main(["itq", f"store={store}", "bits=8", f"seed={seed}", f"output={tmp_path / 'a.npz'}"]) == 0
        made.append((tmp_path / "a.npz").read_bytes())
    assert made[0] != made[1]


def test_itq_replaces_what_an_interrupted_one_left(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "a.npz"
    publish = Storage.publish

    def interrupted(storage: Storage, name: str, data: bytes) -> None:
        publish(storage, name, data)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, suppress(KeyboardInterrupt):
        patched.setattr(Storage, "publish", interrupted)
        main(["itq", f"store={store}", "bits=8", f"output={output}"])
    assert list(tmp_path.glob("a.npz*"))
    assert main(["itq", f"store={store}", "bits=8", f"output={output}"]) == 0
    assert load_rotation(output, 16, 8).shape == (16, 8)

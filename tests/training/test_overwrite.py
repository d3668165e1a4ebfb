"""What a second run in the same folder may take the place of, and what it leaves alone."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from ames_ray.cli.main import main
from ames_ray.config.train import TrainConfig
from ames_ray.datasets.manifest import Manifest
from ames_ray.errors import ConfigError
from ames_ray.evaluation.score_files import load_shortlist, save_scores
from ames_ray.evaluation.scores import Shortlist
from ames_ray.files import Storage, sha256_file
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.neighbors import find_neighbors
from ames_ray.store.meta import MANIFEST, META, StoreMeta
from ames_ray.store.reader import Store
from ames_ray.store.removed import write_removed
from ames_ray.training.sampler import neighbors
from tests.training.landmarks import make_landmarks, make_training_folder
from tests.training.runs import Killed, Watching, curve, job, run_here, validated, words

pytestmark = pytest.mark.usefixtures("alone")

BINARY = ("binary=true", "bits=16")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_training_folder(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def finished(here: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("finished") / "run"
    run_here(job(here, output, *validated(here), "epochs=1"))
    return output


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A finished run that may be harmed."""
    return shutil.copytree(finished, tmp_path / "run")


def contents(folder: Path) -> dict[str, str]:
    """Hashes of the files, without those that TensorBoard reads."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "tensorboard"]
    return {str(path.relative_to(folder)): sha256_file(path) for path in files}


@pytest.mark.parametrize(
    ("setting", "name", "start"),
    [
        ("teacher", "last.pt", "overwrite=true"),
        ("teacher", "last.pt", "overwrite=false"),
        ("itq", "best.safetensors", "overwrite=true"),
        ("nn_file", "log.csv", "overwrite=true"),
        ("val_ground_truth", "card.json", "overwrite=true"),
    ],
)
def test_a_run_does_not_delete_what_it_reads(
    here: Path, run: Path, setting: str, name: str, start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(run)
    more = (*BINARY, *validated(here), f"{setting}={run / name}", start)
    assert main(["train", *words(here, run, *more)]) == 2
    said = capsys.readouterr().err
    assert f"{setting}={run / name} would be lost" in said
    assert f"pass another output=, or a copy of the file as {setting}=" in said
    assert contents(run) == before


def test_neither_by_another_name(here: Path, run: Path, tmp_path: Path) -> None:
    (tmp_path / "teacher.pt").symlink_to(run / "last.pt")
    (tmp_path / "linked").symlink_to(run)
    (checkpoint, *_) = (run / "checkpoints").iterdir()
    for name in ("teacher.pt", "linked/best.pt", f"run/checkpoints/{checkpoint.name}"):
        with pytest.raises(ConfigError, match="would be lost"):
            run_here(job(here, run, *BINARY, f"teacher={tmp_path / name}", "overwrite=true"))
    assert curve(run)


def test_what_lies_beside_a_run_may_be_read_and_stays(here: Path, run: Path) -> None:
    shutil.copy(run / "last.pt", run / "teacher.pt")
    shutil.copy(here / "nn.parquet", run)
    shutil.copy(run / "last.pt", run / "checkpoints" / "mine.pt")
    kept = {name: sha256_file(run / name) for name in ("teacher.pt", "nn.parquet", "checkpoints/mine.pt")}
    given = (f"teacher={run / 'teacher.pt'}", f"nn_file={run / 'nn.parquet'}")
    report = run_here(job(here, run, *BINARY, *given, "epochs=1", "overwrite=true"))
    assert report.computed == report.steps
    assert kept.items() <= contents(run).items()
    assert not (run / "best.pt").exists()


@pytest.mark.parametrize("start", ["overwrite=true", "overwrite=false"])
def test_a_store_is_no_place_for_a_run(
    here: Path, tmp_path: Path, start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = shutil.copytree(here / "train", tmp_path / "store")
    before = contents(store)
    assert main(["train", *words(here, store, start)]) == 2
    assert f"{store} holds a store, and a run would replace its card" in capsys.readouterr().err
    assert contents(store) == before


def test_a_finished_run_without_checkpoints_makes_way_for_its_like_alone(here: Path, run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    before = contents(run)
    with pytest.raises(ConfigError) as caught:
        run_here(job(here, run, *validated(here), "epochs=1", "lr=0.1"))
    assert caught.value.message == f"{run} holds a run of other settings:\n  lr: 0.0002, now 0.1"
    assert contents(run) == before
    assert run_here(job(here, run, *validated(here), "epochs=1")).computed == 5
    assert contents(run).keys() > before.keys()


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_finished_run_gives_its_last_network_again(here: Path, run: Path, ending: str) -> None:
    kept = (run / f"last.{ending}").read_bytes()
    (run / f"last.{ending}").unlink()
    assert run_here(job(here, run, *validated(here), "epochs=1")).computed == 0
    assert (run / f"last.{ending}").read_bytes() == kept


def _other_labels(files: Path) -> None:
    storage = Storage.at(files / "train")
    old = Manifest.read(storage, MANIFEST)
    new = Manifest.from_records([replace(record, label=str(record.row % 6)) for record in old], old.root)
    new.write(storage, MANIFEST)
    meta = StoreMeta.from_json(storage.read(META), META)
    storage.publish(META, replace(meta, manifest_digest=new.digest).to_json())


def _other_gallery(files: Path) -> None:
    shutil.rmtree(files / "gallery")
    make_landmarks(files / "gallery", 4, seed=3)


def _other_truth(files: Path) -> None:
    truth = json.loads((files / "gnd.json").read_bytes())
    truth["gnd"][0]["hard"].pop()
    (files / "gnd.json").write_text(json.dumps(truth))


def _other_ranking(files: Path) -> None:
    _save_unnamed(files / "val.parquet", slice(None, 11))


def _save_unnamed(path: Path, columns: slice = slice(None)) -> None:
    """A ranking that does not tell its lists, as a pickle of the authors."""
    query, gallery = (Store.open(str(path.parent / name)) for name in ("query", "gallery"))
    near = find_neighbors(query, Gallery((gallery,)), "global", None)
    save_scores(Shortlist(near.rows[:, columns], near.similarities[:, columns]), str(path))


@pytest.fixture(scope="module")
def begun(here: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`files`, and `run` and `ranked`, which were cut off: both read them, `ranked` also a first ranking."""
    folder = tmp_path_factory.mktemp("begun")
    files = shutil.copytree(here, folder / "files")
    nearest = load_shortlist(str(here / "nn.parquet"))
    save_scores(Shortlist(nearest.rows, nearest.similarities), str(files / "nn.parquet"))
    truth = json.loads((files / "gnd.json").read_bytes())
    (files / "gnd.json").write_text(json.dumps({"gnd": truth["gnd"]}))
    _save_unnamed(files / "val.parquet")
    for config in (_job(folder, "run"), _job(folder, "ranked")):
        with pytest.raises(Killed):
            run_here(config, Watching(3))
    return folder


def _job(folder: Path, name: str) -> TrainConfig:
    files = folder / "files"
    ranked = [f"val_nn_file={files / 'val.parquet'}"] if name == "ranked" else []
    return job(files, folder / name, *validated(files), *ranked)


@pytest.mark.parametrize(
    ("setting", "change"),
    [
        ("store", _other_labels),
        ("val_query", lambda files: write_removed(Storage.at(files / "query"), [3])),
        ("val_gallery", _other_gallery),
        ("val_ground_truth", _other_truth),
        ("val_nn_file", _other_ranking),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_run_does_not_go_on_with_another_content_of_the_same_name(
    begun: Path, tmp_path: Path, setting: str, change: Callable[[Path], None]
) -> None:
    moved = shutil.copytree(begun, tmp_path / "moved")
    config = _job(moved, "ranked" if setting == "val_nn_file" else "run")
    with pytest.raises(Killed):
        run_here(config, Watching(3))
    change(moved / "files")
    with pytest.raises(ConfigError) as caught:
        run_here(config)
    assert re.search(rf"holds a run of other settings:\n  {setting}: .*, now .*\Z", caught.value.message)


def test_a_run_does_not_go_on_with_triplets_of_another_function_of_the_same_name(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("triplets_of_a_user")
    module.make = neighbors  # type: ignore[attr-defined] # a module of a user
    monkeypatch.setitem(sys.modules, module.__name__, module)
    config = job(here, tmp_path / "run", "source=triplets_of_a_user:make")
    for last in (3, 5):
        with pytest.raises(Killed):
            run_here(config, Watching(last))
    module.make = lambda given: neighbors(replace(given, seed=1))  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"other settings:\n  first triplets: .*\nhint"):
        run_here(config)

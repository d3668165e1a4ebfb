"""`ray job submit` for every script in jobs/, to a real head with token authentication."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from ames_ray.cli.main import main
from ames_ray.model.checkpoints import save_ames
from ames_ray.model.options import AmesOptions
from ames_ray.store.reader import Store
from tests.cluster.real import BIN, ROOT, RealCluster
from tests.model.networks import random_model
from tests.photos import make_photos, shard_hashes
from tests.retrieval.authors_folder import make_data_root, make_stores
from tests.search.small import make_store as make_search_store
from tests.training.landmarks import make_training_folder
from tests.training.runs import words as training_words

SLOW = ["backbone=tests.distributed.backbones:slow", "topk=4", "batch_size=1", "shard_rows=5"]


def ray_job(cluster: RealCluster, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "ray", "job", *words],
        env=cluster.job_environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def submit(
    cluster: RealCluster, folder: Path, script: str, *words: str, wait: bool = True
) -> subprocess.CompletedProcess[str]:
    """Submit a script; the head may still be starting its agent."""
    asked = ["submit", *([] if wait else ["--no-wait"]), "--working-dir", str(folder), "--"]
    deadline = time.monotonic() + 120
    while True:
        done = ray_job(cluster, *asked, "python", f"jobs/{script}", *words)
        said = done.stderr + done.stdout
        starting = "No available agent" in said or "connect" in done.stderr.lower()
        if done.returncode == 0 or not starting or time.monotonic() > deadline:
            return done
        time.sleep(1)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `--working-dir .` uploads, without this machine's virtual environment."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("ames_ray", "jobs", "configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".rayignore", folder)
    return folder


def test_an_extraction_runs_on_the_cluster(cluster: RealCluster, checkout: Path, tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 9, size=120)
    words = [f"images={tmp_path / 'photos'}", f"output={tmp_path / 'store'}", "shard_rows=4", "workers=2"]
    first = submit(cluster, checkout, "extract.py", *words)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "9, 0 of them failed" in first.stdout
    assert len(Store.open(str(tmp_path / "store")).manifest) == 9
    assert cluster.token not in first.stdout + first.stderr

    wrong = submit(cluster, checkout, "extract.py", *words, "topk=5")
    assert wrong.returncode == 1
    assert "topk" in wrong.stdout + wrong.stderr


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos, stores, a ground truth, a shortlist, a network, and something to train on, all small."""
    folder = tmp_path_factory.mktemp("material")
    make_photos(folder / "landmarks" / "a", 3)
    make_photos(folder / "landmarks" / "b", 3, first=10)
    make_search_store(folder)
    (folder / "training").mkdir()
    make_training_folder(folder / "training")
    make_data_root(folder / "data")
    make_stores(folder / "data", folder / "stores")
    save_ames(random_model(AmesOptions(128, dim=16, blocks=2, feedforward=32)), folder / "model.safetensors")
    assert main(["neighbors", *pairs(folder), f"output={folder / 'nn.parquet'}"]) == 0
    return folder


def pairs(material: Path) -> list[str]:
    stores = material / "stores"
    return [f"query={stores / 'query'}", f"gallery=[{stores / 'gallery'},{stores / 'r1m'}]"]


def words_of(script: str, material: Path, output: Path) -> list[str]:
    """What a script is asked to do."""
    network = f"model={material / 'model.safetensors'}"
    truth = f"ground_truth={material / 'data' / 'roxford5k' / 'gnd_roxford5k.pkl'}"
    scores = f"output={output / 'scores.parquet'}"
    photos, store = f"images={material / 'photos'}", f"store={material / 'store'}"
    patches = "backbone=tests.training.tiny_backbone:patches"
    return {
        "cluster_check.py": ["expect=3", f"shared={output}"],
        "evaluate.py": [*pairs(material), truth, network, f"output={output / 'results'}"],
        "extract.py": [photos, f"output={output / 'store'}", "workers=1"],
        "itq.py": [store, "bits=8", f"output={output / 'itq.npz'}"],
        "neighbors.py": [*pairs(material), f"output={output / 'nn.parquet'}"],
        "score.py": [*pairs(material), f"nn_file={material / 'nn.parquet'}", network, scores],
        "search.py": [
            f"query={material / 'photos'}",
            f"store={material / 'store'}",
            f"output={output / 'page'}",
        ],
        "train.py": training_words(material / "training", output / "run", "workers=2"),
        "train_detector.py": [
            f"images={material / 'landmarks'}",
            patches,
            "steps=4",
            "landmarks=2",
            "landmark_images=2",
            f"output={output / 'detector'}",
        ],
        "tune.py": [
            *pairs(material),
            truth,
            network,
            "trials=8",
            "num_rerank=15",
            f"output={output / 'tune'}",
        ],
    }[script]


JOBS = sorted(path.name for path in (ROOT / "jobs").glob("*.py") if path.name != "serve.py")


@pytest.mark.slow
@pytest.mark.parametrize("script", JOBS)
def test_a_script_is_a_job(
    script: str, cluster: RealCluster, checkout: Path, material: Path, tmp_path: Path
) -> None:
    words = words_of(script, material, tmp_path)
    for _ in range(2):
        done = submit(cluster, checkout, script, *words)
        assert done.returncode == 0, done.stdout + done.stderr
    unknown = submit(cluster, checkout, script, "no_such_setting=1")
    assert unknown.returncode == 1
    assert "no_such_setting" in unknown.stdout + unknown.stderr


@pytest.mark.slow
def test_a_service_is_a_job_until_it_is_stopped(cluster: RealCluster, checkout: Path, material: Path) -> None:
    words = [f"store={material / 'store'}", "port=0"]
    begun = submit(cluster, checkout, "serve.py", *words, wait=False)
    assert begun.returncode == 0, begun.stdout + begun.stderr
    job = re.findall(r"raysubmit_\w+", begun.stdout)[0]
    while not (
        ready := re.search(r"ready: (http://127\.0\.0\.1:\d+/)", ray_job(cluster, "logs", job).stdout)
    ):
        assert "RUNNING" in (status := ray_job(cluster, "status", job).stdout), status
        time.sleep(1)
    with urllib.request.urlopen(ready[1], timeout=60) as answer:
        assert b"<html" in answer.read()
    stopped = ray_job(cluster, "stop", job)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert "was stopped" in ray_job(cluster, "status", job).stdout
    # Ray kills the command after 3 seconds; Ray Serve ends what it began all the same.
    port, deadline = int(ready[1].rstrip("/").rpartition(":")[2]), time.monotonic() + 60
    while _is_open(port):
        assert time.monotonic() < deadline, "the service answers after its job was stopped"
        time.sleep(0.5)


def _is_open(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_a_stopped_job_says_so_and_the_same_command_goes_on(
    cluster: RealCluster, checkout: Path, tmp_path: Path
) -> None:
    make_photos(tmp_path / "photos", 80)
    words = [f"images={tmp_path / 'photos'}", *SLOW, "workers=1"]
    store = tmp_path / "store"
    begun = submit(cluster, checkout, "extract.py", *words, f"output={store}", wait=False)
    assert begun.returncode == 0, begun.stdout + begun.stderr
    job = re.findall(r"raysubmit_\w+", begun.stdout)[0]
    while not list((store / "progress").glob("*.json")):
        time.sleep(0.2)
    stopped = ray_job(cluster, "stop", job)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert "was stopped" in ray_job(cluster, "status", job).stdout
    assert "interrupted: what is finished is kept" in ray_job(cluster, "logs", job).stdout
    finished = len(list((store / "progress").glob("*.json")))
    assert 1 <= finished < 16
    assert not (store / ".owner.json").exists()

    again = submit(cluster, checkout, "extract.py", *words, f"output={store}")
    assert again.returncode == 0, again.stdout + again.stderr
    assert re.search(r"80 images, \d+ of them are done already", again.stdout + again.stderr)
    undisturbed = submit(cluster, checkout, "extract.py", *words, "workers=2", f"output={tmp_path / 'other'}")
    assert undisturbed.returncode == 0
    assert shard_hashes(store) == shard_hashes(tmp_path / "other")

"""`ames-ray tune` killed at any time and its journal cut: the search ends as it should."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from ames_ray.config.compose import compose
from ames_ray.config.tune_training import TuneTrainingConfig
from ames_ray.model.checkpoints import save_ames
from ames_ray.model.options import AmesOptions
from ames_ray.tuning.runs import run_name
from ames_ray.tuning.space import Value
from ames_ray.tuning.study import POINT, point_key
from tests.model.networks import random_model
from tests.retrieval.authors_folder import make_data_root, make_stores
from tests.training.landmarks import make_training_folder
from tests.training.runs import curve, one_thread, run_here, validated, words

pytestmark = pytest.mark.faults
ROOT = Path(__file__).resolve().parents[2]
TRIALS, KILLS = 60, 5


def command(here: Path) -> list[str]:
    stores = here / "stores"
    words = [
        f"query={stores / 'query'}",
        f"gallery=[{stores / 'gallery'},{stores / 'r1m'}]",
        f"ground_truth={here / 'data' / 'roxford5k' / 'gnd_roxford5k.pkl'}",
        f"model={here / 'model.safetensors'}",
        f"output={here / 'out'}",
        "num_rerank=20",
        f"trials={TRIALS}",
        "points_per_trial=6",
    ]
    return [sys.executable, "-m", "ames_ray.cli.main", "tune", *words]


def complete(journal: Path) -> list[optuna.trial.FrozenTrial]:
    study = optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(journal))))
    return [trial for trial in study.trials if trial.state.name == "COMPLETE"]


def test_killed_at_random_it_ends_with_all_trials_and_no_point_twice(tmp_path: Path) -> None:
    make_data_root(tmp_path / "data")
    make_stores(tmp_path / "data", tmp_path / "stores")
    network = random_model(AmesOptions(128, dim=16, blocks=1, feedforward=32))
    save_ames(network, tmp_path / "model.safetensors")
    journal = tmp_path / "out" / "ensemble" / "study.journal"
    chance = random.Random(4)
    finished: dict[int, dict[str, Value]] = {}
    for _ in range(KILLS):
        size = (journal.stat().st_size if journal.exists() else 0) + chance.randrange(2_000, 20_000)
        process = subprocess.Popen(command(tmp_path), cwd=ROOT, start_new_session=True)
        while process.poll() is None and not (journal.exists() and journal.stat().st_size >= size):
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if chance.random() < 0.5:
            with journal.open("r+b") as handle:
                handle.truncate(journal.stat().st_size - chance.randrange(1, 60))
        whole = journal.read_bytes().rpartition(b"\n")[0] + b"\n"
        copy = tmp_path / "copy.journal"
        copy.write_bytes(whole)
        found = {trial.number: dict(trial.user_attrs[POINT]) for trial in complete(copy)}
        assert finished.items() <= found.items()
        finished = found
    subprocess.run(command(tmp_path), cwd=ROOT, check=True)
    trials = complete(journal)
    assert finished.items() <= {trial.number: dict(trial.user_attrs[POINT]) for trial in trials}.items()
    assert len(trials) == TRIALS
    asked = [trial for trial in trials if not trial.user_attrs.get("known")]
    assert len({point_key(trial.user_attrs[POINT]) for trial in asked}) == len(asked)
    result = json.loads((journal.parent / "result.json").read_bytes())
    assert result["best"]["value"] == max(float(trial.values[0]) for trial in trials)


RUNS: list[dict[str, Value]] = [{"lr": 0.001}, {"lr": 0.002}, {"lr": 0.004}]


def test_a_search_of_training_goes_on_in_the_middle_of_a_run(tmp_path: Path) -> None:
    here, output = tmp_path / "data", tmp_path / "out"
    here.mkdir()
    make_training_folder(here)
    space = {"search": "training", "space": {"lr": {"float": [1e-4, 1e-2]}}, "points": RUNS[1:]}
    (here / "rates.yaml").write_text(json.dumps(space))
    asked = [f"sweep={here / 'rates.yaml'}", "lr=0.001", "trials=3", "epochs=12", "grace_period=12"]
    settings = words(here, output, *validated(here), *asked)
    full = [sys.executable, "-m", "ames_ray.cli.main", "tune", *settings]
    first, second, _ = (output / "rates" / "runs" / run_name(point) for point in RUNS)

    process = subprocess.Popen(full, cwd=ROOT, start_new_session=True)
    while process.poll() is None and not list((second / "checkpoints").glob("step-*.pt")):
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    begun = (second / "log.csv").read_text().splitlines()
    finished = (first / "log.csv").stat()
    assert 1 < len(begun) < 61

    subprocess.run(full, cwd=ROOT, check=True)
    trials = complete(output / "rates" / "study.journal")
    assert sorted(float(trial.user_attrs[POINT]["lr"]) for trial in trials) == [0.001, 0.002, 0.004]
    assert (first / "log.csv").stat() == finished
    ended = (second / "log.csv").read_text().splitlines()
    # With the rates, which are of the clock: these steps were not done again.
    kept = sum(one == other for one, other in zip(begun, ended, strict=False))
    assert 1 < kept <= len(begun)
    assert ended[:kept] == begun[:kept]
    config = compose(TuneTrainingConfig, settings)
    with one_thread():
        run_here(config.job(RUNS[1], str(tmp_path / "undisturbed")))
    one, other = curve(second), curve(tmp_path / "undisturbed")
    np.testing.assert_allclose(np.asarray(one, float), np.asarray(other, float), rtol=1e-3, atol=1e-6)

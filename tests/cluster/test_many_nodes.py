"""Scoring and training over several nodes: the numbers of one process, and every node has its share."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ames_ray.model.checkpoints import save_ames
from tests.cluster.real import BIN, RealCluster
from tests.end_to_end.test_commands import ames_ray
from tests.retrieval.small import small_model
from tests.store.builders import make_manifest, make_store
from tests.training.landmarks import make_training_folder
from tests.training.runs import job, numbers, run_here, validated, words

pytestmark = pytest.mark.slow


def nodes_of(cluster: RealCluster, actors: str) -> dict[str, str]:
    """The node of every actor of that class there has been, as Ray itself has it."""
    asked = ["list", "actors", "--format=json", "--limit=10000", f"--filter=class_name={actors}"]
    told = subprocess.run(
        [BIN / "ray", *asked], env=cluster.job_environment, capture_output=True, text=True, check=True
    )
    # It has words for an empty list.
    found = json.loads(told.stdout) if told.stdout.lstrip().startswith("[") else []
    return {actor["actor_id"]: actor["node_id"] for actor in found}


def workers_by_node(before: dict[str, str], after: dict[str, str]) -> list[int]:
    """How many workers each node had meanwhile."""
    return sorted(Counter(node for actor, node in after.items() if actor not in before).values())


def test_scores_of_many_nodes_are_those_of_one_process(cluster: RealCluster, tmp_path: Path) -> None:
    make_store(tmp_path / "q", manifest=make_manifest(400, first=1000), shard_rows=200)
    make_store(tmp_path / "g", 40)
    save_ames(small_model(), tmp_path / "model.pt")
    stores = [f"query={tmp_path / 'q'}", f"gallery={tmp_path / 'g'}"]
    made = ames_ray(tmp_path, "neighbors", *stores, f"output={tmp_path / 'nn.parquet'}")
    assert made.returncode == 0, made.stderr
    given = [f"nn_file={tmp_path / 'nn.parquet'}", f"model={tmp_path / 'model.pt'}", "device=cpu"]
    alone = ames_ray(tmp_path, "score", *stores, *given, f"output={tmp_path / 'alone.parquet'}")
    assert alone.returncode == 0, alone.stderr
    before = nodes_of(cluster, "CrewWorker")
    done = cluster.ames_ray("score", *stores, *given, "workers=4", f"output={tmp_path / 'many.parquet'}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "many.parquet").read_bytes() == (tmp_path / "alone.parquet").read_bytes()
    assert workers_by_node(before, nodes_of(cluster, "CrewWorker")) == [2, 2]


def test_no_worker_is_planned_on_what_is_left_of_several_nodes(cluster: RealCluster, tmp_path: Path) -> None:
    make_store(tmp_path / "q", 4)
    make_store(tmp_path / "g", 40)
    stores = [f"query={tmp_path / 'q'}", f"gallery={tmp_path / 'g'}", f"output={tmp_path / 'nn.parquet'}"]
    before = nodes_of(cluster, "CrewWorker")
    refused = cluster.ames_ray("neighbors", *stores, "cpus_per_worker=1.3", "workers=3")
    assert refused.returncode == 2, refused.stdout
    assert "3 workers need 3 × 1.3 = 3.9 CPUs" in refused.stderr
    assert "the cluster has 4 CPUs and 0 GPUs, room for 2, each on one node" in refused.stderr
    done = cluster.ames_ray("neighbors", *stores, "cpus_per_worker=1.3", "workers=null")
    assert done.returncode == 0, done.stderr
    assert workers_by_node(before, nodes_of(cluster, "CrewWorker")) == [1, 1]


def test_a_network_trained_on_many_nodes_is_that_of_one_process(cluster: RealCluster, tmp_path: Path) -> None:
    here = make_training_folder(tmp_path / "material")
    run_here(job(here, tmp_path / "alone", *validated(here)))
    before = nodes_of(cluster, "RayTrainWorker")
    done = cluster.ames_ray("train", *words(here, tmp_path / "many", "workers=4", *validated(here)))
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(numbers(tmp_path / "many"), numbers(tmp_path / "alone"), rtol=1e-4, atol=1e-6)
    assert workers_by_node(before, nodes_of(cluster, "RayTrainWorker")) == [2, 2]

"""Questions to the nodes of a cluster, of which one does not answer."""

from __future__ import annotations

import importlib
import os
import signal
from pathlib import Path

import pytest
import ray

from ames_ray.distributed import cluster
from ames_ray.distributed.cluster import NodeProbe, _ask, _skews


class Hanging(NodeProbe):
    """A node that stands still as soon as it has said who it is."""

    def process(self) -> int:
        return os.getpid()


@pytest.mark.usefixtures("local_ray")
def test_a_node_that_hangs_is_reported_and_the_others_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_ANSWER_SECONDS", 3)
    nodes = {name: ray.remote(num_cpus=0)(Hanging).remote() for name in ("hangs", "answers")}
    processes = {name: ray.get(node.process.remote()) for name, node in nodes.items()}
    os.kill(processes["hangs"], signal.SIGSTOP)
    try:
        skews, silent = _skews(nodes)
    finally:
        os.kill(processes["hangs"], signal.SIGCONT)
    assert silent == {"hangs": "gives no answer within 3 s"}
    assert list(skews) == ["answers"]
    assert abs(skews["answers"]) < 3


@pytest.mark.usefixtures("local_ray")
def test_a_node_without_the_package_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that this process has imported, and that is nowhere any more when the node looks for it."""
    module = tmp_path / "not_installed_there.py"
    module.write_text("class Probe:\n    def now(self):\n        return 0.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    probe = importlib.import_module(module.stem).Probe
    module.unlink()
    nodes = {"bare": ray.remote(num_cpus=0)(probe).remote()}
    answers, silent = _ask(nodes, lambda _, node: node.now.remote())
    assert answers == {}
    assert silent["bare"].startswith("cannot run ames-ray: ")
    assert "not_installed_there" in silent["bare"]

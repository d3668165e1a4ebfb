"""Questions to the nodes of a cluster, of which one has stopped to answer."""

from __future__ import annotations

import os
import signal

import pytest
import ray

from ames_ray.distributed import cluster
from ames_ray.distributed.cluster import NodeProbe, _skews


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

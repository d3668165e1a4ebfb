"""What every node of a cluster is and can do, found out on the node itself."""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import subprocess
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import ames_ray
from ames_ray.distributed.runtime import connected
from ames_ray.distributed.stream import readable
from ames_ray.errors import AmesError, ResourceError
from ames_ray.files import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ray.actor import ActorHandle

    from ames_ray.config.cluster import ClusterCheckConfig

_ANSWER_SECONDS = 120.0
_MAX_SKEW = 5.0
"""Logs of several nodes cannot be read together beyond it; object stores refuse requests at 15 minutes."""


@dataclass(frozen=True, slots=True)
class Software:
    """What a node says of itself.

    Attributes:
        host: Its name.
        versions: Versions of Ray, Python and ames-ray.
        devices: GPUs that its driver shows.
        cuda: CUDA version of its torch; empty for a build without.
    """

    host: str
    versions: dict[str, str]
    devices: int
    cuda: str


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One node.

    Attributes:
        address: Its address in the cluster.
        head: Whether it is the head.
        cpus: CPUs that Ray hands out there.
        gpus: GPUs that Ray hands out there.
        object_store: Bytes of its object store.
        software: What it says of itself; none where it did not answer.
        skew: Seconds that its clock is ahead of the driver's.
        shared: Whether it wrote to the shared storage and read what all others wrote; none if not asked.
        problems: What is wrong with it.
    """

    address: str
    head: bool
    cpus: float
    gpus: float
    object_store: int
    software: Software | None
    skew: float
    shared: bool | None
    problems: tuple[str, ...]


class NodeProbe:
    """An actor on one node that answers for it."""

    def software(self, declared_gpus: float) -> Software:
        """Versions and devices; torch is asked only where GPUs are declared."""
        versions = {
            "Ray": ray.__version__,
            "Python": platform.python_version(),
            "ames-ray": ames_ray.__version__,
        }
        if not declared_gpus:
            return Software(os.uname().nodename, versions, 0, "")
        import torch

        return Software(os.uname().nodename, versions, _devices(), torch.version.cuda or "")

    def now(self) -> float:
        """The node's clock."""
        return time.time()

    def write(self, shared: str, name: str) -> str:
        """Put a file with the name as its content; returns what went wrong, or nothing."""
        return _attempt(lambda: Storage.at(shared).publish(name, name.encode()))

    def read(self, shared: str, names: Sequence[str]) -> str:
        """Read the files of all nodes; returns what went wrong, or nothing."""
        storage = Storage.at(shared)
        missing = [name for name in names if not storage.exists(name)]
        if missing:
            return f"does not see what {len(missing)} of {len(names)} nodes wrote"
        wrong = [name for name in names if storage.read(name) != name.encode()]
        return f"reads something else than {len(wrong)} nodes wrote" if wrong else ""

    def forget(self, shared: str, name: str) -> None:
        """Delete the file again."""
        Storage.at(shared).delete(name)


def inspect(config: ClusterCheckConfig) -> list[NodeReport]:
    """Ask every node, the head first.

    Raises:
        ResourceError: There is no cluster.
    """
    address = config.address or os.environ.get("RAY_ADDRESS") or "auto"
    with connected(address, 1):
        nodes = _nodes(config.expect or 1, config.wait)
        probes = {node["NodeID"]: _probe(node["NodeID"]) for node in nodes}
        software, silent = _ask(probes, lambda key, probe: probe.software.remote(_gpus(nodes, key)))
        alive = {key: probes[key] for key in software}
        storage = _share(alive, config.shared) if config.shared else {}
        skews, lost = _skews(alive)
        silent |= lost
        here = NodeProbe().software(0)
        reports = []
        for node in nodes:
            key = node["NodeID"]
            if key in skews:
                reports.append(_report(node, software[key], here, skews[key], storage.get(key)))
            else:
                reports.append(_silent(node, silent[key]))
        return reports


def require_shared(folder: str) -> None:
    """Refuse a folder that not every node of the running Ray sees, before hours of work go into it.

    Raises:
        ResourceError: A node does not see what another one writes there.
    """
    nodes = _nodes(1, 0)
    if len(nodes) < 2:
        return
    found = _share({node["NodeID"]: _probe(node["NodeID"]) for node in nodes}, folder)
    problems = [problem for problem in found.values() if problem]
    if problems:
        raise ResourceError(
            f"{len(problems)} of {len(nodes)} nodes do not share {folder}: {problems[0]}",
            "pass an output= on a disk that every node sees; `ames-ray cluster check shared=…` looks at each",
        )


def _nodes(expect: int, wait: float) -> list[dict[str, Any]]:
    """The nodes that are up, once as many as expected are or the time is over."""
    deadline = time.monotonic() + wait
    while True:
        alive = [node for node in ray.nodes() if node["Alive"]]
        if len(alive) >= expect or time.monotonic() >= deadline:
            return sorted(alive, key=lambda node: (not _is_head(node), node["NodeManagerAddress"]))
        time.sleep(1)


def _is_head(node: Mapping[str, Any]) -> bool:
    return "node:__internal_head__" in node["Resources"]


def _gpus(nodes: Sequence[Mapping[str, Any]], key: str) -> float:
    return next(float(n["Resources"].get("GPU", 0)) for n in nodes if n["NodeID"] == key)


def _probe(node: str) -> ActorHandle:
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(num_cpus=0)(NodeProbe).options(scheduling_strategy=there).remote()


def _ask(
    probes: Mapping[str, ActorHandle], question: Callable[[str, ActorHandle], Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The answers by node, and of the other nodes why there is none."""
    futures = {key: question(key, probe) for key, probe in probes.items()}
    deadline = time.monotonic() + _ANSWER_SECONDS
    answers, silent = {}, {}
    for key, future in futures.items():
        try:
            answers[key] = ray.get(future, timeout=max(0.0, deadline - time.monotonic()))
        except ray.exceptions.GetTimeoutError:
            silent[key] = f"gives no answer within {_ANSWER_SECONDS:.0f} s"
        except ray.exceptions.RayError as error:
            silent[key] = f"cannot run ames-ray: {readable(error)}"
    return answers, silent


def _share(probes: Mapping[str, ActorHandle], shared: str) -> dict[str, str]:
    """What is wrong with the shared storage on each node; an empty text where all is well."""
    run = f".ames-ray-check-{secrets.token_hex(4)}"
    names = {key: f"{run}-{key[:16]}" for key in probes}
    wrote, lost = _ask(probes, lambda key, probe: probe.write.remote(shared, names[key]))
    written = [names[key] for key, problem in wrote.items() if not problem]
    read, unread = _ask(probes, lambda _, probe: probe.read.remote(shared, written))
    _ask(probes, lambda key, probe: probe.forget.remote(shared, names[key]))
    wrote, read = wrote | lost, read | unread
    return {key: wrote[key] or read[key] for key in probes}


def _skews(probes: Mapping[str, ActorHandle]) -> tuple[dict[str, float], dict[str, str]]:
    """Seconds that each node's clock is ahead of the driver's, and of the other nodes why there are none."""
    found: dict[str, float] = {}
    silent: dict[str, str] = {}
    for key, probe in probes.items():
        before = time.time()
        there, lost = _ask({key: probe}, lambda _, probe: probe.now.remote())
        found |= {name: now - (before + time.time()) / 2 for name, now in there.items()}
        silent |= lost
    return found, silent


def _report(
    node: Mapping[str, Any], software: Software, here: Software, skew: float, storage: str | None
) -> NodeReport:
    report = _silent(node)
    problems = [*_differences(software, here), *_gpu_problems(software, report.gpus)]
    if abs(skew) > _MAX_SKEW:
        problems.append(f"its clock is {skew:+.1f} s off")
    if storage:
        problems.append(f"shared storage: {storage}")
    shared = None if storage is None else not storage
    return replace(report, software=software, skew=skew, shared=shared, problems=tuple(problems))


def _silent(node: Mapping[str, Any], *problems: str) -> NodeReport:
    """What the cluster says of a node."""
    resources = node["Resources"]
    return NodeReport(
        address=node["NodeManagerAddress"],
        head=_is_head(node),
        cpus=float(resources.get("CPU", 0)),
        gpus=float(resources.get("GPU", 0)),
        object_store=int(resources.get("object_store_memory", 0)),
        software=None,
        skew=0.0,
        shared=None,
        problems=problems,
    )


def _differences(there: Software, here: Software) -> list[str]:
    return [
        f"{name} {version}, the driver has {here.versions[name]}"
        for name, version in there.versions.items()
        if version != here.versions[name]
    ]


def _gpu_problems(software: Software, gpus: float) -> list[str]:
    if not gpus:
        return []
    found = []
    if software.devices < gpus:
        found.append(f"Ray hands out {gpus:g} GPUs, nvidia-smi shows {software.devices}")
    if not software.cuda:
        found.append("its torch is a build without CUDA")
    return found


def _devices() -> int:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    listed = subprocess.run([tool, "--list-gpus"], capture_output=True, text=True, check=False)  # noqa: S603
    return len(listed.stdout.splitlines()) if listed.returncode == 0 else 0


def _attempt(action: Callable[[], None]) -> str:
    try:
        action()
    except AmesError as error:
        return error.message
    except OSError as error:
        return f"cannot be written: {error.strerror or error}"
    return ""

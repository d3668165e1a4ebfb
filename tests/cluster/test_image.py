"""The container image, and the job for Kubernetes that uses it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

from ames_ray.cli.serve import _NEEDED as NEEDED_TO_SERVE
from ames_ray.config.compose import compose
from ames_ray.config.extract import ExtractConfig

ROOT = Path(__file__).resolve().parents[2]
TAG = f"{ray.__version__}-py{sys.version_info.major}{sys.version_info.minor}"


# The fields of KubeRay's custom resources that its API reference lists, those of pods aside.
JOB = {"entrypoint", "runtimeEnvYAML", "jobId", "metadata", "submissionMode", "suspend", "backoffLimit"}
JOB |= {"activeDeadlineSeconds", "ttlSecondsAfterFinished", "shutdownAfterJobFinishes", "rayClusterSpec"}
JOB |= {"submitterPodTemplate", "submitterConfig", "clusterSelector", "managedBy", "deletionStrategy"}
JOB |= {"entrypointNumCpus", "entrypointNumGpus", "entrypointResources"}
CLUSTER = {"rayVersion", "headGroupSpec", "workerGroupSpecs", "enableInTreeAutoscaling", "autoscalerOptions"}
CLUSTER |= {"headServiceAnnotations", "suspend", "managedBy", "gcsFaultToleranceOptions", "authOptions"}
SCALING = {"version", "image", "imagePullPolicy", "resources", "securityContext", "idleTimeoutSeconds"}
SCALING |= {"upscalingMode", "env", "envFrom", "volumeMounts"}
HEAD = {"serviceType", "headService", "enableIngress", "rayStartParams", "template", "resources", "labels"}
WORKERS = {"groupName", "replicas", "minReplicas", "maxReplicas", "numOfHosts", "rayStartParams", "template"}
WORKERS |= {"scaleStrategy", "idleTimeoutSeconds", "suspend", "resources", "labels"}


@pytest.fixture
def job() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "configs/cluster/kuberay.yaml").read_text())
    return loaded


def containers(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [container for group in groups for container in group["template"]["spec"]["containers"]]


def test_the_job_is_what_kuberay_knows(job: dict[str, Any]) -> None:
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == ray.__version__
    assert [c["name"] for c in containers(job)] == ["ray-head", "ray-worker"]


def test_no_field_is_misspelled_and_none_that_is_needed_is_missing(job: dict[str, Any]) -> None:
    spec = job["spec"]
    cluster = spec["rayClusterSpec"]
    assert set(job) == {"apiVersion", "kind", "metadata", "spec"}
    assert {"entrypoint", "rayClusterSpec"} <= set(spec) <= JOB
    assert {"headGroupSpec", "workerGroupSpecs", "authOptions"} <= set(cluster) <= CLUSTER
    assert set(cluster["autoscalerOptions"]) <= SCALING
    assert {"rayStartParams", "template"} <= set(cluster["headGroupSpec"]) <= HEAD
    for group in cluster["workerGroupSpecs"]:
        assert {"groupName", "replicas", "minReplicas", "maxReplicas", "template"} <= set(group) <= WORKERS
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for parameters in (g["rayStartParams"] for g in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])):
        assert all(isinstance(value, str) for value in parameters.values())


def test_the_job_is_closed_and_goes_away(job: dict[str, Any]) -> None:
    spec = job["spec"]
    assert spec["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    assert spec["rayClusterSpec"]["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["ttlSecondsAfterFinished"] > 0


def test_the_job_runs_a_script_that_is_there(job: dict[str, Any]) -> None:
    program, script, *words = job["spec"]["entrypoint"].split()
    workdir = re.findall(r"^WORKDIR (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[0]
    assert program == "python"
    assert (ROOT / script.removeprefix(f"{workdir}/")).is_file()
    settings = compose(ExtractConfig, words)
    assert settings.detector is not None, "a published backbone is refused without its detector"
    mounts = {m["mountPath"] for c in containers(job) for m in c["volumeMounts"]}
    for path in (settings.images, settings.output, settings.detector):
        assert any(str(path).startswith(f"{mount}/") for mount in mounts)


def test_pods_ask_for_what_they_are_limited_to(job: dict[str, Any]) -> None:
    for container in containers(job):
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert container["image"] == f"REGISTRY/ames-ray:{TAG}-gpu"
    head, worker = containers(job)
    assert "nvidia.com/gpu" not in head["resources"]["limits"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_every_mount_has_its_volume(job: dict[str, Any]) -> None:
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        spec = group["template"]["spec"]
        volumes = {volume["name"] for volume in spec["volumes"]}
        assert all(m["name"] in volumes for c in spec["containers"] for m in c["volumeMounts"])


def test_the_base_image_carries_the_pinned_ray_and_python() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert f"ARG BASE=rayproject/ray:{TAG}-gpu\n" in text
    assert set(re.findall(r"\d+\.\d+\.\d+-py\d+", text)) == {TAG}
    assert f"ray=={ray.__version__}\n" in (ROOT / "constraints.txt").read_text()


def test_the_image_context_holds_what_the_build_needs() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert lines.index("*") < lines.index("!ames_ray")
    assert all((ROOT / name).exists() for name in kept)
    project = (ROOT / "pyproject.toml").read_text()
    assert {"pyproject.toml", "constraints.txt", "ames_ray", "configs", "jobs"} <= kept
    for named in re.findall(r'(?:readme = |license-files = \[)"([^"]+)"', project):
        assert named in kept


def test_the_dockerfile_is_made_of_steps_that_docker_knows() -> None:
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text())
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    names = [name for name, _ in steps]
    assert names == ["ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV"]
    run = next(rest for name, rest in steps if name == "RUN")
    assert "--no-cache-dir" in run
    assert "--constraint constraints.txt" in run
    environment = dict(
        pair.split("=") for pair in next(rest for name, rest in steps if name == "ENV").split()
    )
    assert environment["RAY_AUTH_MODE"] == "token"


def test_every_verb_runs_on_image_and_nodes() -> None:
    """Of the packages that are no dependency, `ames-ray serve` needs some."""
    steps = re.findall(r"^RUN (pip .+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for name in ("cluster.yaml", "configs/cluster/gcp.yaml"):
        steps += yaml.safe_load((ROOT / name).read_text())["setup_commands"]
    assert [shlex.split(step)[-2:] for step in steps] == [["--editable", ".[serve]"]] * 3
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert set(NEEDED_TO_SERVE.values()) <= {line.partition("==")[0] for line in pins}


@pytest.mark.slow
def test_the_build_step_runs_on_what_the_image_context_holds(tmp_path: Path) -> None:
    """The RUN line of the Dockerfile, in a folder with what .dockerignore lets through, without a network."""
    for name in re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    step = re.findall(r"^RUN pip (.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[0]
    step = step.replace("--editable", "")  # an editable build fetches one more package
    offline = ["--dry-run", "--no-deps", "--no-index", "--no-build-isolation"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *shlex.split(step), *offline],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Would install ames-ray" in done.stdout


def test_image_and_launcher_put_the_code_in_one_place() -> None:
    workdir = re.findall(r"^WORKDIR (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for name in ("cluster.yaml", "configs/cluster/gcp.yaml"):
        config = yaml.safe_load((ROOT / name).read_text())
        assert config["file_mounts"][workdir[0]] == "."
        assert workdir[0] in config["setup_commands"][0]

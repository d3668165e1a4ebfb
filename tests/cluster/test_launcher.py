"""The files for Ray's cluster launcher, by Ray's own validation and by checks that it does not make."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray._private.thirdparty.pathspec import PathSpec
from ray.autoscaler._private.util import fillout_defaults, prepare_config, validate_config

from ames_ray.config.compose import compose
from ames_ray.config.extract import ExtractConfig
from ames_ray.distributed.upload import upload_sizes

ROOT = Path(__file__).resolve().parents[2]
FILES = ["cluster.yaml", "configs/cluster/gcp.yaml"]

# Ray lets any key of `provider` pass, so a misspelled one would be silently without effect.
PROVIDER_KEYS = {
    "aws": {"type", "region", "availability_zone", "cache_stopped_nodes", "use_internal_ips"}
    | {"security_group", "cloudwatch", "aws_credentials"},
    "gcp": {"type", "region", "availability_zone", "project_id", "use_internal_ips", "gcp_credentials"},
}


def load(name: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return config


def pinned(package: str) -> str:
    found = re.search(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found, package
    return found[1]


@pytest.fixture(params=FILES)
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    return load(request.param)


def test_ray_accepts_it(config: dict[str, Any]) -> None:
    validate_config(prepare_config(copy.deepcopy(config)))


def test_ray_would_refuse_a_typing_error(config: dict[str, Any]) -> None:
    config["idle_timeout"] = config.pop("idle_timeout_minutes")
    with pytest.raises(Exception, match="idle_timeout"):
        validate_config(prepare_config(config))


def test_provider_keys_are_known(config: dict[str, Any]) -> None:
    provider = config["provider"]
    assert set(provider) <= PROVIDER_KEYS[provider["type"]]


def test_the_known_provider_keys_are_rays(config: dict[str, Any]) -> None:
    folder = Path(ray.__file__).parent / "autoscaler"
    schema = json.loads((folder / "ray-schema.json").read_text())["properties"]["provider"]["properties"]
    kind = config["provider"]["type"]
    code = "".join(path.read_text() for path in (folder / "_private" / kind).glob("*.py"))
    assert all(key in schema or f'"{key}"' in code for key in PROVIDER_KEYS[kind])


def test_the_image_carries_the_pinned_ray_and_python(config: dict[str, Any]) -> None:
    tag = config["docker"]["image"].rpartition(":")[2]
    assert tag == f"{pinned('ray')}-py{sys.version_info.major}{sys.version_info.minor}-gpu"
    assert pinned("ray") == ray.__version__


def test_the_dashboard_is_bound_to_the_node_itself(config: dict[str, Any]) -> None:
    start = " ".join(fillout_defaults(config)["head_start_ray_commands"])
    assert re.findall(r"--dashboard-host[= ](\S+)", start) == ["127.0.0.1"]
    assert "0.0.0.0" not in start
    assert "security_group" not in config["provider"]


def test_every_node_asks_for_the_token(config: dict[str, Any]) -> None:
    assert "-e RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert "head_run_options" not in config["docker"]
    assert "worker_run_options" not in config["docker"]
    assert config["file_mounts"]["/home/ray/.ray/auth_token"] == "~/.ray/auth_token"
    assert "auth_token" not in "".join(config["rsync_exclude"])


def test_what_is_mounted_is_there(config: dict[str, Any]) -> None:
    sources = {source for source in config["file_mounts"].values() if not source.startswith("~")}
    assert sources
    assert all((ROOT / source).exists() for source in sources)


def test_data_and_results_are_not_copied_to_the_nodes(config: dict[str, Any]) -> None:
    """Of what the docs read and write in a checkout; rsync reads these patterns as git does."""
    assert config["rsync_filter"] == [".gitignore"]
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    rules = PathSpec.from_lines("gitwildmatch", [*config["rsync_exclude"], *ignored])
    folders = ("data", "demo", "page", "photos", "results", "runs", "samples", "store", "stores", "tuning")
    assert [name for name in folders if not rules.match_file(f"{name}/full/a.bin")] == []
    package = [path.relative_to(ROOT) for path in (ROOT / "ames_ray").rglob("*") if path.is_file()]
    needed = {path for path in package if "__pycache__" not in path.parts} | {Path("dinov2_detector.pt")}
    assert Path("ames_ray/data/sift_ames.safetensors") in needed
    assert {path for path in needed if rules.match_file(path)} == set()


def test_commands_name_files_that_are_there(config: dict[str, Any]) -> None:
    for command in config["setup_commands"] + config["head_setup_commands"]:
        folder, needed = re.findall(r"^cd (\S+) &&.*--constraint (\S+)", command)[0]
        assert (ROOT / config["file_mounts"][folder] / needed).is_file()


def test_the_head_is_small_and_stays(config: dict[str, Any]) -> None:
    head = config["available_node_types"][config["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    assert "spot" not in json.dumps(head).lower()
    assert "preemptible" not in json.dumps(head).lower()


def test_workers_are_spot_with_limits(config: dict[str, Any]) -> None:
    workers = {k: v for k, v in config["available_node_types"].items() if k != config["head_node_type"]}
    assert set(workers) == {"gpu", "cpu"}
    for worker in workers.values():
        node = worker["node_config"]
        market = node.get("InstanceMarketOptions", {}).get("MarketType")
        assert market == "spot" or {"preemptible": True} in node.get("scheduling", [])
        assert 0 <= worker["min_workers"] <= worker["max_workers"]
    assert workers["gpu"]["min_workers"] > 0
    assert workers["cpu"]["min_workers"] == 0
    assert config["max_workers"] == sum(worker["max_workers"] for worker in workers.values())
    assert config["idle_timeout_minutes"] <= 15


def test_a_gpu_on_google_cloud_is_not_migrated() -> None:
    gpu = load("configs/cluster/gcp.yaml")["available_node_types"]["gpu"]["node_config"]
    assert {"onHostMaintenance": "TERMINATE"} in gpu["scheduling"]


def test_resources_are_those_of_the_machine_types() -> None:
    """What AWS documents for them, in vCPUs and GPUs."""
    documented = {"g5.4xlarge": {"CPU": 16, "GPU": 1}, "c6i.4xlarge": {"CPU": 16}}
    for name, node in load("cluster.yaml")["available_node_types"].items():
        if name != "head":
            assert node["resources"] == documented[node["node_config"]["InstanceType"]]


@pytest.mark.parametrize("page", ["cluster.yaml", "README.md", "docs/cluster.md"])
def test_the_commands_for_a_job_can_be_given_as_they_stand(page: str) -> None:
    """In their order, with the token, and not with variables that other commands would stumble over."""
    text = re.sub(r"\\\n#? *", "", (ROOT / page).read_text())
    order = [text.index(part) for part in ("ray get-auth-token --generate", "ray up cluster.yaml")]
    submit = r"RAY_AUTH_MODE=token RAY_ADDRESS=http://127\.0\.0\.1:8265 ray job submit --working-dir \. --"
    found = re.search(rf"^(?:# +)?{submit} +python (\S+) (.+)", text, re.MULTILINE)
    assert found
    assert order == sorted(order)
    assert order[-1] < found.start()
    assert "export RAY_ADDRESS" not in text
    script, words = found.groups()
    assert (ROOT / script).is_file()
    settings = compose(ExtractConfig, words.split())
    assert settings.output.startswith("s3://")
    # A published backbone is refused without its detector, and the nodes have what is in the repository.
    assert settings.detector is not None
    assert settings.detector.startswith("/home/ray/ames-ray/")


def upload_of(folder: Path, archive: Path) -> None:
    """What `ray job submit --working-dir FOLDER` packs."""
    from ray._private.runtime_env.packaging import create_package

    create_package(str(folder), archive, include_gitignore=True, excludes=[".git", ".venv"])


def test_data_and_weights_are_never_uploaded(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for name in ("jobs", "configs"):
        shutil.copytree(ROOT / name, checkout / name)
    for name in (".gitignore", ".rayignore"):
        shutil.copy(ROOT / name, checkout)
    big = (
        "data/a.bin",
        "store/shards/00000.parquet",
        "stores/a/x",
        "demo/a.html",
        "photos/a.jpg",
        "page/index.html",
        "results/a.json",
        "runs/full/metrics.csv",
        "tuning/trials.csv",
        "a.tar.gz",
    )
    for name in (*big, "dinov2_detector.pt", "more/b.JPG.jpg", "configs/c.safetensors", "x/gallery.hdf5"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_bytes(bytes(1000))
    upload_of(checkout, tmp_path / "upload.zip")
    names = [name for name in zipfile.ZipFile(tmp_path / "upload.zip").namelist() if not name.endswith("/")]
    assert "jobs/extract.py" in names
    assert {n for n in names if not n.endswith((".py", ".yaml"))} == {".gitignore", ".rayignore"}


def test_uploads_hold_what_runs_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    archive = tmp_path / "upload.zip"
    upload_of(ROOT, archive)
    names = set(zipfile.ZipFile(archive).namelist())
    assert {
        "ames_ray/cli/main.py",
        "ames_ray/samples/build.py",
        "jobs/extract.py",
        "configs/extract.yaml",
    } <= names
    assert {f"ames_ray/data/{path.name}" for path in (ROOT / "ames_ray" / "data").iterdir()} <= names
    folders = {name.partition("/")[0] for name in names if "/" in name}
    assert not folders & {
        "tests",
        "docs",
        "benchmarks",
        ".ci",
        ".venv",
        ".git",
        ".mypy_cache",
        "demo",
        "stores",
    }
    size = archive.stat().st_size
    print(f"an upload has {size:,} bytes")
    assert size < 4 << 20


def test_what_an_upload_would_take_is_what_ray_packs(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "jobs", checkout / "jobs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".rayignore", checkout)
    big = ("more/deep/a.bin", "b.bin", "data/c.bin", ".git/d.bin", ".venv/e.bin", "more/__pycache__/f.bin")
    for name in big:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_bytes(bytes(2_000_000))
    upload_of(checkout, tmp_path / "upload.zip")
    packed = [entry for entry in zipfile.ZipFile(tmp_path / "upload.zip").infolist() if not entry.is_dir()]
    sizes = upload_sizes(checkout)
    assert set(sizes) == {"", "jobs", "more"}
    assert sizes["more"] == 2_000_000
    assert sizes.total() == sum(entry.file_size for entry in packed if "__pycache__" not in entry.filename)


def test_a_check_in_a_checkout_says_first_what_an_upload_would_take(tmp_path: Path) -> None:
    """Also where there is no cluster, and not elsewhere."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.bin").write_bytes(bytes(2_000_000))
    command = [sys.executable, "-m", "ames_ray.cli.main", "cluster", "check", "address=http://127.0.0.1:1"]
    outside = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    (tmp_path / ".rayignore").touch()
    inside = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert inside.stdout == "`ray job submit --working-dir .` uploads 2.0 MB, of that more/ 2.0 MB\n"
    assert (outside.returncode, outside.stdout, outside.stderr) == (2, "", inside.stderr)

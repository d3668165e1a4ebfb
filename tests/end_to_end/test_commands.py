"""Commands as users type them, in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.extract_here import extract_here
from tests.photos import make_photos, shard_hashes

ROOT = Path(__file__).resolve().parents[2]
SLOW = ["backbone=tests.distributed.backbones:slow", "topk=4", "batch_size=1", "shard_rows=4"]


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "ames_ray.cli.main", *words]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def ames_ray(cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), cwd=cwd, env=environment(), capture_output=True, text=True, check=False, timeout=300
    )


def wait_for(marks: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while len(list(marks.glob("*.json"))) < count:
        assert time.monotonic() < deadline, "the run never got that far"
        time.sleep(0.05)


@pytest.mark.faults
def test_a_killed_driver_is_resumed_to_the_same_bytes(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 26)
    words = ["extract", "images=photos", "output=store", "workers=2", *SLOW]
    with subprocess.Popen(
        command(*words), cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as driver:
        wait_for(tmp_path / "store" / "progress", 2)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    done = len(list((tmp_path / "store" / "progress").glob("*.json")))
    assert done < 7, "it was to be killed on the way"
    assert not (tmp_path / "store" / "card.json").exists()
    resumed = ames_ray(tmp_path, *words)
    assert resumed.returncode == 0, resumed.stderr
    extract_here([f"images={tmp_path / 'photos'}", f"output={tmp_path / 'other'}", *SLOW])
    assert shard_hashes(tmp_path / "store") == shard_hashes(tmp_path / "other")
    assert list((tmp_path / "store").rglob("*.tmp-*")) == []


@pytest.mark.slow
def test_the_story_of_the_readme(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 6, size=200)
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"<html>404</html>")

    checked = ames_ray(tmp_path, "check", "images=photos/", "deep=true")
    assert checked.returncode == 3
    assert "broken.jpg" in checked.stdout

    planned = ames_ray(tmp_path, "plan", "images=photos/", "output=store/")
    assert planned.returncode == 0, planned.stderr
    assert not (tmp_path / "store").exists()

    extracted = ames_ray(tmp_path, "extract", "images=photos/", "output=store/")
    assert extracted.returncode == 0, extracted.stderr
    assert "7, 1 of them failed" in extracted.stdout
    assert "not_an_image" in extracted.stdout
    noise = [
        line for line in extracted.stderr.splitlines() if "ray" in line.lower() and "ames-ray" not in line
    ]
    assert noise == []

    for words in (["store", "info", "store/"], ["store", "verify", "store/"]):
        done = ames_ray(tmp_path, *words)
        assert done.returncode == 0, done.stderr
    exported = ames_ray(tmp_path, "store", "export", "store/", "output=local.hdf5")
    assert exported.returncode == 0, exported.stderr
    assert (tmp_path / "local.hdf5").is_file()

    (tmp_path / "photos" / "broken.jpg").write_bytes((tmp_path / "photos" / "photo1.jpg").read_bytes())
    retried = ames_ray(tmp_path, "store", "retry", "store/")
    assert retried.returncode == 0, retried.stderr
    assert "7, 0 of them failed" in retried.stdout
    again = ames_ray(tmp_path, "extract", "images=photos/", "output=store/")
    assert "nothing to do" in again.stdout


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path, number: int) -> None:
    make_photos(tmp_path / "photos", 20)
    with subprocess.Popen(
        command("extract", "images=photos", "output=store", "workers=1", *SLOW),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as driver:
        wait_for(tmp_path / "store" / "progress", 1)
        driver.send_signal(number)
        _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "the same command goes on from there" in errors
    assert "Traceback" not in errors

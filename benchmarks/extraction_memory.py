"""Peak memory of the driver and of the workers over lists of growing length."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks import pictures
from benchmarks.record import save

CORES = len(os.sched_getaffinity(0))
ROOT = Path(__file__).resolve().parents[1]


def memory(folder: Path) -> None:
    """1 k, 10 k and 100 k rows of small pictures through the blank backbone, as a command."""
    paths = pictures.make(folder / "photos", 64, 64, 64)
    rows = {}
    for count in (1_000, 10_000, 100_000):
        listed = folder / f"list{count}.txt"
        listed.write_text("".join(f"photos/{paths[i % len(paths)].name}\n" for i in range(count)))
        rows[f"{count:,} rows"] = _run(folder, listed, count)
    save(
        "extraction",
        "memory",
        {"what": f"64 × 64 JPEGs, blank backbone, {CORES} workers; peak resident memory", **rows},
    )


def _run(folder: Path, listed: Path, count: int) -> dict[str, Any]:
    words = [
        "dataset=list",
        f"list_file={listed}",
        f"data_root={folder}",
        "backbone=blank",
        f"workers={CORES}",
    ]
    return watch(["extract", *words, f"output={folder / f'store{count}'}"])


def watch(words: list[str]) -> dict[str, Any]:
    """Run `ames-ray` with these words; peak resident memory of driver and workers, and seconds in all."""
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "ames_ray.cli.main", *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as driver:
        peak = _Peak()
        sampler = threading.Thread(target=_sample, args=(driver, peak))
        sampler.start()
        driver.wait()
        sampler.join()
    if driver.returncode:
        raise SystemExit(f"ames-ray {' '.join(words)} failed")
    return {
        "driver_mb": round(peak.driver / 1e6),
        "worker_mb": round(peak.worker / 1e6),
        "seconds_with_start": round(time.perf_counter() - began, 2),
    }


@dataclass
class _Peak:
    """Largest resident sizes seen, in bytes."""

    driver: int = 0
    worker: int = 0


def _sample(driver: subprocess.Popen[bytes], peak: _Peak) -> None:
    process = psutil.Process(driver.pid)
    while driver.poll() is None:
        try:
            peak.driver = max(peak.driver, process.memory_info().rss)
            for child in process.children(recursive=True):
                if "ray::" in " ".join(child.cmdline()):
                    peak.worker = max(peak.worker, child.memory_info().rss)
        except psutil.Error:
            pass
        time.sleep(0.25)

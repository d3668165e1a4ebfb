"""Writing down what was measured: the numbers, the machine, the command."""

from __future__ import annotations

import json
import os
import platform
import shlex
import statistics
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    gpus: list[str] = []
    try:
        import torch

        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    except ImportError:
        pass
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "gpus": gpus,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "versions": {n: version(n) for n in ("ray", "torch", "numpy", "pyarrow", "opencv-python-headless")},
    }


def save(name: str, section: str, result: dict[str, Any]) -> None:
    """Replace one section of `results/NAME.json`, with the command and the machine beside it."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    known = json.loads(path.read_text()) if path.exists() else {}
    words = [Path(sys.argv[0]).name, *sys.argv[1:]]
    command = f"python -m benchmarks.{Path(words[0]).stem} {shlex.join(words[1:])}".strip()
    known[section] = {"command": command, "machine": machine(), **result}
    path.write_text(json.dumps(known, indent=2) + "\n")
    print(json.dumps({section: result}, indent=2), flush=True)


def spread(values: Sequence[float], digits: int = 3) -> dict[str, Any]:
    """Median and all values."""
    return {"median": round(statistics.median(values), digits), "runs": [round(v, digits) for v in values]}

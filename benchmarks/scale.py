"""What grows with the list: time, memory and files of extraction, neighbours and scoring, to a million rows.

    python -m benchmarks.scale
    python -m benchmarks.scale --rows 1000 4000
    python -m benchmarks.scale --folder /big/disk --commands neighbors
    python -m benchmarks.scale --commands plan

The pictures are a few small ones, listed again and again, and the backbone computes nothing: what is
measured is everything around the network. Time is linear where a further row costs as much as those before
it, so what a row adds between one length and the next is compared; what a command takes to start drops out.
At the end `ames-ray plan rate=measure` is compared with the run that it plans.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ames_ray.extraction.plan import make_plan
from ames_ray.model.ames import Ames
from ames_ray.model.checkpoints import save_ames
from ames_ray.model.options import AmesOptions
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.neighbors import find_neighbors
from ames_ray.store.reader import Store
from benchmarks import pictures
from benchmarks.extraction_memory import watch
from benchmarks.extraction_rate import extract as rate_of
from benchmarks.record import save

CORES = len(os.sched_getaffinity(0))
ROWS = (10_000, 250_000, 1_000_000)
SHARD_ROWS = 512
QUERIES, SHORTLIST, PAIRS = 64, 1600, 100
_SHORT = 10_000
"""Lists up to this length are run several times, since a second more or less counts for them."""
_QUICK = ("neighbors", "score")
"""Commands that are run several times on any list, for the same reason."""
_TIMES = 7
Run = Callable[[Path, int], dict[str, Any]]


def extract(folder: Path, rows: int) -> dict[str, Any]:
    """One list through the blank backbone, and the files that come of it."""
    photos = sorted((folder / "photos").iterdir())
    listed = folder / f"list{rows}.txt"
    with listed.open("w") as file:
        file.writelines(f"photos/{photos[row % len(photos)].name}\n" for row in range(rows))
    words = ["extract", "dataset=list", f"list_file={listed}", f"data_root={folder}", "backbone=blank"]
    words += [f"workers={CORES}", "topk=4", f"shard_rows={SHARD_ROWS}", f"output={folder / f'store{rows}'}"]
    shutil.rmtree(folder / f"store{rows}", ignore_errors=True)
    memory = watch(words)
    result = json.loads((folder / f"store{rows}" / "card.json").read_text())["result"]
    return {
        **memory,
        "rows_per_s": round(result["computed"] / result["seconds"], 1),
        **_files(folder / f"store{rows}"),
    }


def _files(folder: Path) -> dict[str, Any]:
    store = Store.open(str(folder))
    rows = store.meta.rows
    stored = sum(summary.bytes for summary in store.summaries.values())
    marks = sum(path.stat().st_size for path in (folder / "progress").iterdir())
    planned = make_plan(store.meta, store.storage, rows)
    return {
        "shards": len(store.summaries),
        "planned_shards": planned.shards,
        "bytes_per_row": round((stored + marks) / rows, 1),
        "planned_bytes_per_row": round(planned.missing_bytes / rows, 1),
        "manifest_bytes_per_row": round((folder / "manifest.parquet").stat().st_size / rows, 2),
        "shard_list_bytes_per_shard": round((folder / "shards.json").stat().st_size / planned.shards),
    }


def neighbors(folder: Path, rows: int) -> dict[str, Any]:
    """Exact neighbours of a few queries in such a gallery; also in this process, which has started."""
    query, gallery = str(folder / f"store{QUERIES}"), str(folder / f"store{rows}")
    length = min(SHORTLIST, rows)
    words = [f"query={query}", f"gallery={gallery}", f"shortlist_size={length}"]
    watched = watch(["neighbors", *words, f"output={folder / f'nn{rows}.parquet'}"])
    began = time.perf_counter()
    find_neighbors(Store.open(query), Gallery.open([gallery]), "global", length)
    return {**watched, "us_a_row_without_start": round(1e6 * (time.perf_counter() - began) / rows, 2)}


def index(folder: Path, rows: int) -> dict[str, Any]:
    """The same through an approximate index in memory."""
    pairs = [f"query={folder / f'store{QUERIES}'}", f"gallery={folder / f'store{rows}'}", "index=ivf"]
    length = min(SHORTLIST, rows)
    return watch(["neighbors", *pairs, f"shortlist_size={length}", f"output={folder / f'ivf{rows}.parquet'}"])


def score(folder: Path, rows: int) -> dict[str, Any]:
    """The first pairs of those lists through a small network with random weights."""
    (folder / f"scores{rows}.parquet").unlink(missing_ok=True)
    pairs = [f"query={folder / f'store{QUERIES}'}", f"gallery={folder / f'store{rows}'}"]
    words = [f"nn_file={folder / f'nn{rows}.parquet'}", f"model={folder / 'model.safetensors'}"]
    words += [f"num_rerank={PAIRS}", "device=cpu", f"output={folder / f'scores{rows}.parquet'}"]
    return watch(["score", *pairs, *words])


def lengths(run: Run, folder: Path, every: list[int], *, quick: bool) -> list[dict[str, Any]]:
    """A line for each length, shortest first; of several runs the one with the median time."""
    lines: list[dict[str, Any]] = []
    for rows in every:
        runs = [run(folder, rows) for _ in range(_TIMES if quick or rows <= _SHORT else 1)]
        middle = statistics.median_low([line["seconds_with_start"] for line in runs])
        line = next(line for line in runs if line["seconds_with_start"] == middle)
        if lines:
            more = line["seconds_with_start"] - lines[-1]["seconds_with_start"]
            further = rows - lines[-1]["rows"]
            line["ms_a_further_row"] = round(1000 * more / further, 4)
            grown = 1e6 * (line["driver_mb"] - lines[-1]["driver_mb"])
            line["driver_bytes_a_further_row"] = round(grown / further, 1)
        lines.append({"rows": rows, **line})
    return lines


def growth(lines: list[dict[str, Any]]) -> dict[str, float]:
    """The longest list over shorter ones: 1 where memory is flat, and where time is linear."""
    first, last = lines[0], lines[-1]
    sizes = ("driver_mb", "worker_mb")
    found = {name: round(last[name] / first[name], 3) for name in sizes if first[name]}
    slopes = [line["ms_a_further_row"] for line in lines[1:]]
    if len(slopes) > 1:
        found["time_of_a_further_row"] = round(slopes[-1] / slopes[-2], 3)
    return found


_ABOUT = f"64 × 64 JPEGs, blank backbone, {SHARD_ROWS} rows a shard"
COMMANDS: dict[str, tuple[Run, str]] = {
    "extract": (extract, f"{_ABOUT}, {CORES} workers"),
    "neighbors": (neighbors, f"{_ABOUT}; lists of {SHORTLIST} for {QUERIES} queries"),
    "ivf index": (index, f"{_ABOUT}; the same lists by index=ivf, 128 numbers an image"),
    "score": (score, f"{_ABOUT}; {QUERIES} × {PAIRS} pairs, a network of 2 blocks of width 64"),
}
PLAN = "plan"


def scale(folder: Path, every: list[int], wanted: list[str]) -> None:
    """The wanted commands over lists of these lengths; each is written down when it is done."""
    if not (folder / "photos").is_dir():
        pictures.make(folder / "photos", 64, 64, 64)
    save_ames(Ames(AmesOptions(128, dim=64, blocks=2, feedforward=128)), folder / "model.safetensors")
    needed = [QUERIES] if "extract" in wanted else [QUERIES, *every]
    for rows in needed:
        if not (folder / f"store{rows}" / "card.json").is_file():
            extract(folder, rows)
    for name in wanted:
        run, what = COMMANDS[name]
        lines = lengths(run, folder, every, quick=name in _QUICK)
        save("scale", name, {"what": what, "growth": growth(lines), "lengths": lines})


def plan(folder: Path, count: int = 2000) -> None:
    """What `plan` says of an extraction, and what the extraction then takes."""
    pictures.make(folder / "photos", count, 800, 600)
    words = [f"images={folder / 'photos'}", "backbone=sift", "shard_rows=25", f"workers={CORES}"]
    words += [f"output={folder / 'store'}"]
    command = [sys.executable, "-m", "ames_ray.cli.main", "plan", *words, "rate=measure"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate = float(_said(r"at ([\d,.]+) images/s", said))
    real = rate_of(*words)
    store = Store.open(str(folder / "store"))
    planned = make_plan(store.meta, store.storage, store.meta.rows)
    stored = sum(summary.bytes for summary in store.summaries.values())
    save(
        "scale",
        "plan",
        {
            "what": f"{count} JPEGs of 800 × 600, RootSIFT, {CORES} workers: rate=measure, then the run",
            "measured_images": int(_said(r"worker \(([\d,]+) images", said)),
            "planned_s": round(count / rate, 1),
            "seconds": round(real.seconds, 1),
            "off_by_percent": {
                "time": _off(count / rate, real.seconds),
                "bytes": _off(planned.missing_bytes, stored),
            },
        },
    )


def _off(planned: float, real: float) -> float:
    return round(100 * abs(planned / real - 1), 1)


def _said(pattern: str, text: str) -> str:
    found = re.search(pattern, " ".join(text.split()))
    if found is None:
        raise SystemExit(f"ames-ray plan did not say {pattern}:\n{text}")
    return found[1].replace(",", "")


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[*ROWS])
    parser.add_argument("--commands", nargs="+", choices=[*COMMANDS, PLAN], default=[*COMMANDS, PLAN])
    parser.add_argument("--folder", type=Path, help="stores are kept here for the next run")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ames-ray-scale-") as name:
        if wanted := [command for command in COMMANDS if command in asked.commands]:
            scale(asked.folder or Path(name), sorted(asked.rows), wanted)
        if PLAN in asked.commands:
            plan(Path(name) / "plan")


if __name__ == "__main__":
    main()

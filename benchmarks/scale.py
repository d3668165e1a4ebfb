"""What grows with the number of images: time, memory, files; lists of growing length, the real commands.

python -m benchmarks.scale                          # 10 k, 100 k and 1 M rows: some hours on two cores
python -m benchmarks.scale --rows 1000 4000         # a try

The pictures are a few small ones, listed again and again, and the backbone computes nothing: what is measured
is everything around the network.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from ames_ray.model.ames import Ames
from ames_ray.model.checkpoints import save_ames
from ames_ray.model.options import AmesOptions
from ames_ray.store.reader import Store
from benchmarks import pictures
from benchmarks.extraction_memory import watch
from benchmarks.record import save

CORES = len(os.sched_getaffinity(0))
ROWS = (10_000, 100_000, 1_000_000)
QUERIES, SHORTLIST, PAIRS = 64, 1600, 100


def extract(folder: Path, rows: int) -> dict[str, Any]:
    """One list through the blank backbone, and the files that come of it."""
    photos = sorted((folder / "photos").iterdir())
    listed = folder / f"list{rows}.txt"
    with listed.open("w") as file:
        file.writelines(f"photos/{photos[row % len(photos)].name}\n" for row in range(rows))
    words = ["extract", "dataset=list", f"list_file={listed}", f"data_root={folder}", "backbone=blank"]
    words += [f"workers={CORES}", "topk=4", f"output={folder / f'store{rows}'}"]
    memory = watch(words)
    result = json.loads((folder / f"store{rows}" / "card.json").read_text())["result"]
    return {
        "rows_per_s": round(result["computed"] / result["seconds"], 1),
        **memory,
        **_files(folder / f"store{rows}"),
    }


def _files(folder: Path) -> dict[str, Any]:
    store = Store.open(str(folder))
    stored = sum(summary.bytes for summary in store.summaries.values())
    planned = store.meta.rows * store.meta.row_bytes
    return {
        "shards": store.meta.shards,
        "shard_bytes_per_row": round(stored / store.meta.rows, 1),
        "shard_bytes_over_payload": round(stored / planned, 3),
        "manifest_bytes_per_row": round((folder / "manifest.parquet").stat().st_size / store.meta.rows, 2),
        "shard_list_bytes_per_row": round((folder / "shards.json").stat().st_size / store.meta.rows, 2),
    }


def neighbors(folder: Path, rows: int) -> dict[str, Any]:
    """Exact neighbours of a few queries in a gallery of that length."""
    pairs = [f"query={folder / f'store{QUERIES}'}", f"gallery={folder / f'store{rows}'}"]
    length = min(SHORTLIST, rows)
    return watch(["neighbors", *pairs, f"shortlist_size={length}", f"output={folder / f'nn{rows}.parquet'}"])


def score(folder: Path, rows: int) -> dict[str, Any]:
    """The first pairs of those lists through a small network with random weights."""
    pairs = [f"query={folder / f'store{QUERIES}'}", f"gallery={folder / f'store{rows}'}"]
    words = [f"nn_file={folder / f'nn{rows}.parquet'}", f"model={folder / 'model.safetensors'}"]
    words += [f"num_rerank={PAIRS}", "device=cpu", f"output={folder / f'scores{rows}.parquet'}"]
    return watch(["score", *pairs, *words])


def slowdown(measured: dict[int, dict[str, Any]]) -> dict[str, float]:
    """Rows a second at each length over those at the shortest list: 1 where time is linear."""
    first = measured[min(measured)]["rows_per_s"]
    return {f"{rows:,}": round(found["rows_per_s"] / first, 3) for rows, found in sorted(measured.items())}


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[*ROWS])
    lengths = sorted(parser.parse_args().rows)
    with tempfile.TemporaryDirectory(prefix="ames-ray-scale-") as name:
        folder = Path(name)
        pictures.make(folder / "photos", 64, 64, 64)
        save_ames(Ames(AmesOptions(128, dim=64, blocks=2, feedforward=128)), folder / "model.safetensors")
        extract(folder, QUERIES)
        extracted = {rows: extract(folder, rows) for rows in lengths}
        found = {
            "extract": extracted,
            "neighbors": {rows: neighbors(folder, rows) for rows in lengths},
            "score": {rows: score(folder, rows) for rows in lengths},
        }
    what = f"64 × 64 JPEGs, blank backbone, {CORES} workers; {QUERIES} queries, lists of {SHORTLIST}"
    named = {part: {f"{rows:,} rows": line for rows, line in table.items()} for part, table in found.items()}
    save("scale", "rows", {"what": what, "rate_over_shortest_list": slowdown(extracted), **named})


if __name__ == "__main__":
    main()

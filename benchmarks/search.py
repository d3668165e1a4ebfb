"""Searching large galleries: random reads, one query in a million images, and the evaluation of `+1m`.

    python -m benchmarks.search --folder /big/disk            # all sections; 6 GB on disk, half an hour
    python -m benchmarks.search --folder /big/disk --sections packed search

Descriptors are random: times and memory do not depend on their values.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.galleries import DIM, NETWORKS, POOLED, TOPK, Codec, make_network, make_store
from benchmarks.record import save, spread

ROXFORD, QUERIES = 4_993, 70
READ_ROWS, ROUNDS = 1_600, 51


def packed(folder: Path, rows: int) -> None:
    """Random rows of a packed store, against copies of as many bytes from memory to memory; in turns.

    `gather` takes the same rows out of an array, `copy` one block, always the same. `copy elsewhere` takes
    another block each time, so that it too finds its bytes far from the processor.
    """
    what = f"{READ_ROWS:,} random rows of {TOPK} × {DIM} in the page cache; copies of as many side by side"
    codecs: tuple[Codec, ...] = ("binary", "float16")
    found = {str(codec): _random_reads(folder, codec, min(rows, 20_000)) for codec in codecs}
    save("search", "packed", {"what": what, **found})


def _random_reads(folder: Path, codec: Codec, rows: int) -> dict[str, Any]:
    projection = make_network(codec, folder / f"{NETWORKS[codec]}.pt")
    store = make_store(folder / f"reads_{codec}", rows, codec, projection)
    random = np.random.default_rng(1)
    held = store.read(np.arange(rows)).descriptors.copy()
    block = held[:READ_ROWS].copy()
    times: dict[str, list[float]] = {"read": [], "gather": [], "copy": [], "copy elsewhere": []}
    for _ in range(ROUNDS):
        wanted = random.integers(0, rows, READ_ROWS)
        times["read"].append(_timed(lambda rows=wanted: store.read(rows)))  # type: ignore[misc]
        times["gather"].append(_timed(lambda rows=wanted: held[rows]))  # type: ignore[misc]
        first = int(random.integers(0, rows - READ_ROWS))
        times["copy elsewhere"].append(_timed(held[first : first + READ_ROWS].copy))
        times["copy"].append(_timed(block.copy))
    milliseconds = {name: spread([1000 * s for s in values]) for name, values in times.items()}
    return {
        "megabytes": round(block.nbytes / 1e6, 1),
        "rows_of_the_store": rows,
        "milliseconds": milliseconds,
        **{
            f"read_over_{name.replace(' ', '_')}": round(
                milliseconds["read"]["median"] / milliseconds[name]["median"], 2
            )
            for name in ("gather", "copy", "copy elsewhere")
        },
    }


def search(folder: Path, rows: int) -> None:
    """One query in a gallery of `rows` binary images, in a process of its own."""
    _gallery(folder, rows)
    result = _child("search", folder)
    what = f"1 query, {rows:,} images of {TOPK} × {DIM} bits and {POOLED} float32; from opening the stores on"
    save("search", "search", {"what": what, **result})


def _search_here(folder: Path) -> dict[str, Any]:
    from ames_ray.model.reranker import load_reranker
    from ames_ray.retrieval.gallery import Gallery
    from ames_ray.retrieval.neighbors import find_neighbors
    from ames_ray.retrieval.pieces import score_pairs
    from ames_ray.retrieval.scoring import PairScorer, ScoreOptions
    from ames_ray.store.reader import Store

    times: dict[str, list[float]] = {"global": [], "re-rank": []}
    query, gallery = Store.open(str(folder / "query")), Gallery.open([str(folder / "gallery")])
    reranker = load_reranker("ames", str(folder / f"{NETWORKS['binary']}.pt"))
    for _ in range(3):
        start = time.perf_counter()
        shortlist = find_neighbors(query, gallery, "global", 400)
        middle = time.perf_counter()
        score_pairs(PairScorer(shortlist, query, gallery, reranker, ScoreOptions()))
        times["global"].append(middle - start)
        times["re-rank"].append(time.perf_counter() - middle)
    return {"num_rerank": 400, "seconds": {name: spread(values) for name, values in times.items()}}


def evaluate(folder: Path, rows: int) -> None:
    """`ames-ray evaluate` over 70 queries and a gallery of ROxford's size and `rows` distractors."""
    projection = _gallery(folder, rows)
    make_store(folder / "queries", QUERIES, "binary", projection, first=rows + 1)
    make_store(folder / "roxford", ROXFORD, "binary", projection, first=rows + QUERIES + 1)
    random = np.random.default_rng(0)
    gnd = []
    for _ in range(QUERIES):
        listed = random.choice(ROXFORD, 90, replace=False).tolist()
        gnd.append({"easy": listed[:30], "hard": listed[30:60], "junk": listed[60:]})
    (folder / "gnd.json").write_text(json.dumps({"gnd": gnd}))
    began = time.perf_counter()
    result = _child("evaluate", folder)
    save(
        "search",
        "evaluate",
        {
            "what": f"{QUERIES} queries, {ROXFORD + rows:,} images, lists of the whole gallery, K = 100, "
            "20 descriptors a side",
            "seconds": round(time.perf_counter() - began, 1),
            **result,
        },
    )


def _evaluate_here(folder: Path) -> dict[str, Any]:
    import tempfile

    from ames_ray.cli.main import main

    with tempfile.TemporaryDirectory(dir=folder) as output:
        words = [
            f"query={folder / 'queries'}",
            f"gallery=[{folder / 'roxford'},{folder / 'gallery'}]",
            f"ground_truth={folder / 'gnd.json'}",
            f"model={folder / NETWORKS['binary']}.pt",
            "num_rerank=100",
            "query_desc_num=20",
            "db_desc_num=20",
            f"output={output}",
        ]
        sys.stdout = sys.stderr
        if main(["evaluate", *words]):
            raise SystemExit("the evaluation failed")
        sys.stdout = sys.__stdout__
    return {}


def _gallery(folder: Path, rows: int) -> str:
    """The network and the large gallery, with one query beside it; returns the network's projection."""
    projection = make_network("binary", folder / f"{NETWORKS['binary']}.pt")
    make_store(folder / "gallery", rows, "binary", projection)
    make_store(folder / "query", 1, "binary", projection, first=rows)
    return projection


def _child(section: str, folder: Path) -> dict[str, Any]:
    """A section in a process of its own, with the largest resident size that it reached."""
    reading, writing = os.pipe()
    words = [sys.executable, "-m", "benchmarks.search", "--child", section, "--folder", str(folder)]
    pid = os.posix_spawn(
        sys.executable, words, dict(os.environ), file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1)]
    )
    os.close(writing)
    with os.fdopen(reading) as pipe:
        output = pipe.read()
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{section} failed")
    result: dict[str, Any] = json.loads(output)
    return {"peak_resident_mb": round(usage.ru_maxrss * 1024 / 1e6), **result}


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


SECTIONS = {"packed": packed, "search": search, "evaluate": evaluate}
_CHILDREN = {"search": _search_here, "evaluate": _evaluate_here}


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="stores are kept here for the next run")
    parser.add_argument("--rows", type=int, default=1_002_001, help="images of the large gallery")
    parser.add_argument("--sections", nargs="+", choices=sorted(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--child", choices=sorted(_CHILDREN), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(_CHILDREN[asked.child](asked.folder)))
        return
    for section in asked.sections:
        SECTIONS[section](asked.folder, asked.rows)


if __name__ == "__main__":
    main()

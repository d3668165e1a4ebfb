"""Images a second through `ames-ray extract`, against a loop as one writes it by hand."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import pictures
from benchmarks.record import save, spread

CORES = len(os.sched_getaffinity(0))
SIDE = 154


@dataclass(frozen=True)
class Result:
    """What the card of the store says about the run; start-up is not in the seconds."""

    computed: int
    seconds: float
    limit: str


def extract(*words: str) -> Result:
    """`ames-ray extract` with these words, as a command."""
    subprocess.run(
        [sys.executable, "-m", "ames_ray.cli.main", "extract", *words],
        cwd=Path(__file__).resolve().parents[1],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    output = next(word.partition("=")[2] for word in words if word.startswith("output="))
    result = json.loads((Path(output) / "card.json").read_text())["result"]
    return Result(result["computed"], result["seconds"], result["limit"])


def sift(folder: Path, count: int = 600, repeats: int = 3) -> None:
    """RootSIFT of 640-pixel photos: two processes by hand against two workers."""
    paths = pictures.make(folder / "photos", count, 800, 600)
    words = ["backbone=sift", f"workers={CORES}", "shard_rows=25", "decode_threads=1"]
    _pairs(
        "sift",
        f"{count} JPEGs of 800 × 600, imsize 640, 300 descriptors, {CORES} processes against {CORES} workers",
        lambda: _processes(_sift_loop, paths),
        lambda: _ours(folder, words),
        count,
        repeats,
    )


def dinov2(folder: Path, count: int = 504, repeats: int = 2) -> None:
    """DINOv2 ViT-B/14 with registers (random weights) at 154 pixels, batches of 8, all cores in torch."""
    paths = pictures.make(folder / "photos", count, 320, 320)
    weights = random_dinov2(folder / "weights")
    words = [
        "backbone=dinov2",
        f"weights={weights}",
        "detector=none",
        f"imsize={SIDE}",
        "topk=100",
        "shard_rows=56",
    ]
    words += ["workers=1", f"cpus_per_worker={CORES}", "batch_size=8"]
    _pairs(
        "dinov2",
        f"ViT-B/14 with registers, random weights, float32, {count} JPEGs of 320 × 320 at {SIDE}, batch 8, "
        f"100 descriptors, one process with {CORES} torch threads on both sides",
        lambda: _processes(_dinov2_loop, paths, processes=1, extra=weights),
        lambda: _ours(folder, words),
        count,
        repeats,
    )


def ceiling(folder: Path, count: int = 20_000, repeats: int = 3) -> None:
    """Rows a second of a backbone that computes nothing: with decoding, and the decoding alone by hand."""
    paths = pictures.make(folder / "photos", 500, 320, 240)
    listed = folder / "list.txt"
    listed.write_text("".join(f"photos/{paths[i % len(paths)].name}\n" for i in range(count)))
    words = [
        "dataset=list",
        f"list_file={listed}",
        f"data_root={folder}",
        "backbone=blank",
        f"workers={CORES}",
    ]
    words += ["decode_threads=1", "imsize=null"]
    ours, decoding = [], []
    for _ in range(repeats):
        shutil.rmtree(folder / "store", ignore_errors=True)
        report = extract(*words, f"output={folder / 'store'}")
        ours.append(report.computed / report.seconds)
        every = [paths[i % len(paths)] for i in range(count)]
        decoding.append(count / _processes(_decode_loop, every))
    rate, plain = np.median(ours), np.median(decoding)
    aside = 1 / (1 / rate - 1 / plain) if plain > rate else float("inf")
    save(
        "extraction",
        "ceiling",
        {
            "what": f"blank backbone, {count} rows of 320 × 240 JPEGs, {CORES} workers",
            "rows_per_s": spread(ours, 1),
            "decoding_alone_rows_per_s": spread(decoding, 1),
            "rows_per_s_decoding_aside": round(float(aside), 1),
        },
    )


def _pairs(
    section: str,
    what: str,
    by_hand: Callable[[], float],
    ours: Callable[[], Result],
    count: int,
    repeats: int,
) -> None:
    """Alternate both sides, so that a busy machine hurts both alike."""
    hand, mine, limits = [], [], []
    for _ in range(repeats):
        hand.append(count / by_hand())
        report = ours()
        mine.append(report.computed / report.seconds)
        limits.append(report.limit)
    ratios = [m / h for m, h in zip(mine, hand, strict=True)]
    save(
        "extraction",
        section,
        {
            "what": what,
            "images_per_s": spread(mine),
            "by_hand_images_per_s": spread(hand),
            "ratio": spread(ratios),
            "limit": limits[-1],
        },
    )


def _ours(folder: Path, words: list[str]) -> Result:
    shutil.rmtree(folder / "store", ignore_errors=True)
    return extract(f"images={folder / 'photos'}", f"output={folder / 'store'}", *words)


def _processes(
    loop: Callable[[list[Path], Any, Barrier], float],
    paths: list[Path],
    processes: int = CORES,
    extra: Any = None,
) -> float:
    """Seconds that the slowest of some processes takes from the common start."""
    # As Ray does: every process has its share of the cores, so that BLAS threads do not fight.
    os.environ["OMP_NUM_THREADS"] = str(CORES // processes)
    context = multiprocessing.get_context("spawn")
    barrier = context.Manager().Barrier(processes)
    parts = [(paths[first::processes], extra, barrier) for first in range(processes)]
    with context.Pool(processes) as pool:
        return max(pool.starmap(loop, parts))


def _sift_loop(paths: list[Path], _extra: Any, barrier: Barrier) -> float:
    from ames_ray.backbones.sift import codebook, find_features, vlad

    cv2.setNumThreads(1)
    codebook()
    barrier.wait()
    began = time.perf_counter()
    for path in paths:
        picture = pictures.load(path)
        factor = 640 / max(picture.shape[:2])
        small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        features = find_features(small)
        vlad(features.descriptors, codebook())
        features.descriptors[:300].astype(np.float16).tobytes()
    return time.perf_counter() - began


def _decode_loop(paths: list[Path], _extra: Any, barrier: Barrier) -> float:
    cv2.setNumThreads(1)
    barrier.wait()
    began = time.perf_counter()
    for path in paths:
        pictures.load(path).mean()
    return time.perf_counter() - began


def _dinov2_loop(paths: list[Path], weights: Any, barrier: Barrier) -> float:
    import torch
    from transformers import Dinov2WithRegistersModel

    cv2.setNumThreads(1)
    torch.set_num_threads(CORES)
    model = Dinov2WithRegistersModel.from_pretrained(weights).eval()
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    std = np.array([0.229, 0.224, 0.225], np.float32)
    barrier.wait()
    began = time.perf_counter()
    with torch.inference_mode():
        for first in range(0, len(paths), 8):
            batch = []
            for path in paths[first : first + 8]:
                small = cv2.resize(
                    pictures.load(path), None, fx=SIDE / 320, fy=SIDE / 320, interpolation=cv2.INTER_AREA
                )
                batch.append(((small[:, :, ::-1].astype(np.float32) / 255 - mean) / std).transpose(2, 0, 1))
            tokens = model(torch.from_numpy(np.stack(batch))).last_hidden_state[:, 5:]
            norms = tokens.norm(dim=-1)
            best = norms.topk(100).indices[..., None].expand(-1, -1, tokens.shape[-1])
            tokens.gather(1, best).half().numpy().tobytes()
    return time.perf_counter() - began


def random_dinov2(folder: Path) -> Path:
    """A ViT-B/14 with registers whose weights are random, as a Hugging Face folder."""
    import torch
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    torch.manual_seed(0)
    config = Dinov2WithRegistersConfig(image_size=518, patch_size=14)
    Dinov2WithRegistersModel(config).save_pretrained(folder)
    return folder

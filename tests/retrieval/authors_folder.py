"""A `data_root` laid out as the authors' is, with made-up photos, and stores of them made without Ray."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from tests.extract_here import extract_here
from tests.photos import make_photos

GALLERY, QUERIES, DISTRACTORS = 14, 3, 5
GND: list[dict[str, Any]] = [
    {"bbx": [4.0, 4.0, 60.5, 62.0], "easy": [1, 5], "hard": [9], "junk": [0, 3]},
    {"bbx": [0, 0, 64, 60], "easy": [2], "hard": [7, 12], "junk": []},
    {"bbx": [8, 8, 50, 50], "easy": [], "hard": [6], "junk": [13]},
]


def make_data_root(root: Path) -> None:
    """`roxford5k/{jpg,gnd_roxford5k.pkl}` and `revisitop1m/{jpg,revisitop1m.txt}`."""
    make_photos(root / "roxford5k" / "jpg", GALLERY + QUERIES)
    make_photos(root / "revisitop1m" / "jpg", DISTRACTORS, first=100)
    names = [f"photo{n}" for n in range(GALLERY + QUERIES)]
    content = {"imlist": names[:GALLERY], "qimlist": names[GALLERY:], "gnd": GND}
    (root / "roxford5k" / "gnd_roxford5k.pkl").write_bytes(pickle.dumps(content))
    lines = [f"photo{n}.jpg" for n in range(100, 100 + DISTRACTORS)]
    (root / "revisitop1m" / "revisitop1m.txt").write_text("\n".join(lines) + "\n")


def make_stores(root: Path, output: Path) -> None:
    """Stores `query`, `gallery` and `r1m` of the blank backbone."""
    common = [f"data_root={root}", "backbone=blank"]
    extract_here([*common, "dataset=roxford5k", "split=query", f"output={output / 'query'}"])
    extract_here([*common, "dataset=roxford5k", "split=gallery", f"output={output / 'gallery'}"])
    extract_here([*common, "dataset=r1m", "split=distractor", f"output={output / 'r1m'}"])

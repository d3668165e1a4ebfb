"""`ames-ray train_detector` from the command line, on pictures in which it is known what counts."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from ames_ray.cli.main import main
from ames_ray.store.reader import Store
from ames_ray.types import Box, Pixels
from tests.extract_here import extract_here
from tests.training.tiny_backbone import PATCH

BACKBONE = "backbone=tests.training.tiny_backbone:patches"
LANDMARKS, EACH, GRID, SIDE = 6, 4, 8, 3
ROOT = Path(__file__).parents[2]
FAST = ("steps=60", "lr=0.02", "landmarks=6", "landmark_images=3", "checkpoint_every=20")


def picture(landmark: int, number: int) -> tuple[Pixels, Box]:
    """Blue clutter that is the same everywhere, and somewhere the reddish landmark; and its box."""
    random = np.random.default_rng((landmark, number))
    fixed = np.random.default_rng(99)
    clutter = fixed.integers(0, 256, (4, PATCH, PATCH, 3)) * (1, 0.5, 0.3)
    tile = np.random.default_rng(landmark).integers(90, 170, (PATCH, PATCH, 3)) * (0.4, 0.9, 1.3)
    tiles = clutter[random.integers(0, 4, (GRID, GRID))]
    top, left = random.integers(0, GRID - SIDE + 1, 2)
    tiles[top : top + SIDE, left : left + SIDE] = tile
    pixels = tiles.transpose(0, 2, 1, 3, 4).reshape(GRID * PATCH, GRID * PATCH, 3)
    pixels = np.clip(pixels + random.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8)
    edges = (left, top, left + SIDE, top + SIDE)
    return pixels, tuple(float(edge * PATCH) for edge in edges)  # type: ignore[return-value] # four of them


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each landmark, a picture that lies in none, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("photos")
    for landmark in range(LANDMARKS):
        (folder / f"landmark{landmark}").mkdir()
        for number in range(EACH):
            cv2.imwrite(str(folder / f"landmark{landmark}" / f"{number}.png"), picture(landmark, number)[0])
    cv2.imwrite(str(folder / "nowhere.png"), picture(0, 99)[0])
    (folder / "landmark2" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return folder


@pytest.fixture(scope="module")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("trained")
    assert main(["train_detector", f"images={photos}", BACKBONE, f"output={output}", *FAST]) == 0
    return output


def share_inside(store: Path, count: int) -> float:
    """How many of the strongest features lie on the landmark."""
    inside = total = 0
    opened = Store.open(str(store))
    for shard in range(opened.meta.shards):
        for features in opened.features(shard):
            folder, name = Path(features.record.uri).parts[-2:]
            if features.local is None or not folder.startswith("landmark"):
                continue
            _, (left, top, right, bottom) = picture(int(folder.removeprefix("landmark")), int(name[:-4]))
            x, y = features.local.xy[:count].T
            inside += int(((x > left) & (x < right) & (y > top) & (y < bottom)).sum())
            total += count
    return inside / total


def test_extraction_with_the_detector_looks_at_the_landmarks(
    photos: Path, trained: Path, tmp_path: Path
) -> None:
    words = [f"images={photos}", BACKBONE, "topk=20"]
    extract_here([*words, "detector=none", f"output={tmp_path / 'norm'}"])
    extract_here([*words, f"detector={trained / 'detector.pt'}", f"output={tmp_path / 'detector'}"])
    assert share_inside(tmp_path / "norm", 9) < 0.5
    assert share_inside(tmp_path / "detector", 9) > 0.9


def test_the_run_tells_what_it_was(trained: Path) -> None:
    card = json.loads((trained / "card.json").read_text())
    assert card["result"] == {"landmarks": LANDMARKS, "pictures": LANDMARKS * EACH + 1}
    assert card["settings"]["extraction"]["backbone"] == "patches"
    lines = (trained / "log.csv").read_text().splitlines()
    assert len(lines) == 61
    names = lines[0].split(",")
    failed = [float(line.split(",")[names.index("failed")]) for line in lines[1:]]
    assert 0 < sum(failed) < 60


def test_a_list_with_labels_trains_too_and_a_finished_run_is_left_alone(
    photos: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled = sorted(photos.rglob("*.*"), key=lambda path: str(path.relative_to(photos)))
    lines = [f"{path.relative_to(photos)},{path.parent.name}" for path in labelled if path.parent != photos]
    (tmp_path / "list.txt").write_text("\n".join(lines) + "\n")
    words = ["train_detector", "dataset=list", f"list_file={tmp_path / 'list.txt'}", f"data_root={photos}"]
    words += [BACKBONE, f"output={tmp_path / 'out'}", *FAST]
    assert main(words) == 0
    first = (tmp_path / "out" / "detector.pt").read_bytes()
    assert re.search(r"train_detector 60/60  loss \d.*  nearest right \d+ %", capsys.readouterr().err)
    assert main(words) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert (tmp_path / "out" / "detector.pt").read_bytes() == first
    assert main([*words, "seed=1"]) == 2
    assert "seed: 0, now 1" in capsys.readouterr().err
    assert main([*words, "seed=1", "overwrite=true"]) == 0
    assert (tmp_path / "out" / "detector.pt").read_bytes() != first


def test_pictures_that_are_not_there_give_no_detector(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.txt").write_text("".join(f"{n}.png,{n // 2}\n" for n in range(8)))
    words = ["train_detector", "dataset=list", f"list_file={tmp_path / 'list.txt'}", "data_root=/wrong"]
    assert main([*words, BACKBONE, f"output={tmp_path / 'out'}", *FAST]) == 2
    said = capsys.readouterr().err
    assert "in 60 steps no two pictures of one landmark could be read; /wrong/" in said
    assert "png: there is no file of that name" in said
    assert not (tmp_path / "out" / "detector.pt").exists()


def test_a_wrong_path_does_not_cost_the_detector_that_is_there(
    photos: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = shutil.copytree(trained, tmp_path / "out")
    (output / "last.pt").write_bytes(b"a network that train left here")
    kept = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    pairs = [f"{n}.png,{n // 2}" for n in range(8)]
    (tmp_path / "list.txt").write_text("\n".join(pairs))
    lists = ["dataset=list", f"list_file={tmp_path / 'list.txt'}", f"data_root={photos / 'landmark0'}"]
    command = ["train_detector", BACKBONE, f"output={output}", *FAST, "overwrite=true"]
    assert main([*command, *lists[:2], "data_root=/wrong"]) == 2
    assert "no two pictures of one landmark could be read; /wrong/" in capsys.readouterr().err
    shutil.copy(tmp_path / "list.txt", output / "log.csv")
    assert main([*command, "dataset=list", f"list_file={output / 'log.csv'}", lists[2]]) == 2
    assert f"list_file={output / 'log.csv'} would be lost" in capsys.readouterr().err
    (output / "log.csv").write_bytes(kept[output / "log.csv"])
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == kept
    assert main([*command, f"images={photos}", "seed=1", "steps=2"]) == 0
    assert (output / "last.pt").read_bytes() == kept[output / "last.pt"]
    assert (output / "detector.pt").read_bytes() != kept[output / "detector.pt"]


@pytest.mark.parametrize("checkpoints", [True, False])
def test_other_settings_do_not_take_the_place_of_a_detector(
    photos: Path, trained: Path, tmp_path: Path, checkpoints: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    output = shutil.copytree(trained, tmp_path / "out")
    if not checkpoints:
        shutil.rmtree(output / "checkpoints")
    command = ["train_detector", f"images={photos}", BACKBONE, f"output={output}", *FAST]
    assert main([*command, "lr=0.3"]) == 2
    assert f"{output} holds a run of other settings:\n  lr: 0.02, now 0.3\n" in capsys.readouterr().err
    assert main([*command, "truncated=keep"]) == 2
    assert 'other settings:\n  read.truncated: "fail", now "keep"\n' in capsys.readouterr().err
    assert (output / "detector.pt").read_bytes() == (trained / "detector.pt").read_bytes()


@pytest.mark.faults
def test_a_killed_run_goes_on_to_the_same_bytes(photos: Path, tmp_path: Path) -> None:
    def start(output: str) -> subprocess.Popen[bytes]:
        words = ["train_detector", f"images={photos}", BACKBONE, f"output={tmp_path / output}", *FAST]
        words += ["steps=400", "checkpoint_every=10"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [sys.executable, "-m", "ames_ray.cli.main", *words], env=environment, stdout=subprocess.DEVNULL
        )

    assert start("whole").wait() == 0
    victim = start("killed")
    while not list(tmp_path.glob("killed/checkpoints/step-*.pt")):
        assert victim.poll() is None
        time.sleep(0.02)
    victim.kill()
    assert victim.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "detector.pt").exists()
    assert start("killed").wait() == 0
    runs = [(tmp_path / run / "detector.pt").read_bytes() for run in ("whole", "killed")]
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["backbone=sift"], "backbone=sift takes no detector"),
        (["backbone=blank"], "backbone=blank takes no detector"),
        ([BACKBONE, "split=train"], "0 landmarks have two pictures"),
        ([BACKBONE, "topk=3"], "train_detector has no setting 'topk'"),
        ([BACKBONE, "batch_size=3"], "'batch_size' is called 'landmarks' here"),
    ],
)
def test_what_cannot_be_is_refused(
    words: list[str], message: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = photos / "landmark0" if "split=train" in words else photos
    assert main(["train_detector", f"images={images}", f"output={tmp_path}", *words]) == 2
    assert message in capsys.readouterr().err

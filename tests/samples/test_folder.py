"""What a run leaves beside the folder that it was to make."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from ames_ray.samples.folder import INDEX, fill_folder

KILLED = """
import os
import signal
from pathlib import Path
from ames_ray.samples.folder import fill_folder

def fill(whole):
    (whole / "photo.jpg").write_bytes(bytes(1000))
    os.kill(os.getpid(), signal.SIGKILL)

fill_folder(Path("photos [1]"), fill, print)
"""


def nothing(whole: Path) -> dict[str, Any]:
    assert whole.is_dir()
    return {"sha256": {}}


def test_what_a_killed_run_left_is_deleted_by_the_next_one(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert list(left.rglob("photo.jpg"))
    foreign = tmp_path / ".photos [1].tmp-mine"
    foreign.mkdir()
    fill_folder(tmp_path / "photos [1]", nothing, print)
    assert sorted(tmp_path.iterdir()) == [foreign, tmp_path / "photos [1]"]


def test_what_another_run_is_at_work_in_stays(tmp_path: Path) -> None:
    def slow(whole: Path) -> dict[str, Any]:
        assert fill_folder(tmp_path / "photos", nothing, print)[1]
        return nothing(whole)

    index, made = fill_folder(tmp_path / "photos", slow, lambda _: None)
    assert (index, made) == ({"sha256": {}}, False)
    assert [path.name for path in tmp_path.rglob("*")] == ["photos", INDEX]

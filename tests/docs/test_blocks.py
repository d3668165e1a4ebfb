"""Every code block of the docs is run here, or says why not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, Block, blocks, pages, starts_with_a_store
from tests.extract_here import extract_here
from tests.photos import make_photos

_COMMAND = re.compile(r"^(?:\w+=\S* )*(?:ames-ray|make|ray|python|pip|git|docker|kubectl|tensorboard) ", re.M)

_SELDOM = {"docs/quickstart.md", "docs/own-photos.md", "docs/backbone.md"}
"""Pages whose commands are those of the README or of another test of every run, seen in `make test-slow`."""


@pytest.mark.parametrize("page", pages())
def test_every_block_with_commands_is_run_or_says_why_not(page: str) -> None:
    unmarked = [
        b.text for b in blocks(page) if b.language != "sh" and _COMMAND.search(b.text) and not b.not_run
    ]
    unmarked = [text for text in unmarked if not text.startswith("#")]
    assert unmarked == []


def _run(block: Block, folder: Path) -> None:
    if block.file:
        (folder / block.file).write_text(block.text)
        return
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    allowed = 3 if block.note.startswith("may exit with 3: ") else 0
    stop = f"trap 'code=$?; [ $code = {allowed} ] || exit $code' ERR\n"
    command = ["bash", "-uc", stop + block.text]
    if block.language == "python":
        command = [sys.executable, "-c", block.text]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode in {0, allowed}, f"{block.text}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize(
    "page", [pytest.param(p, marks=pytest.mark.slow) if p in _SELDOM else p for p in pages()]
)
def test_the_blocks_of_a_page_run_one_after_another(page: str, tmp_path: Path) -> None:
    todo = [b for b in blocks(page) if b.language in {"sh", "python"} and not b.not_run]
    if not todo:
        pytest.skip("nothing to run on this page")
    make_photos(tmp_path / "photos", 6, size=200)
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"<html>404</html>")
    if starts_with_a_store(page):
        extract_here([f"images={tmp_path / 'photos'}", f"output={tmp_path / 'store'}"])
    for block in todo:
        _run(block, tmp_path)


def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-b",
        "html",
        "docs",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "quickstart.html").exists()

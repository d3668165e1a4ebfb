"""What a newcomer waits for: `ames-ray --help`, and the first command of the README in a fresh clone.

    python -m benchmarks.first_hour
    python -m benchmarks.first_hour --clone

With `--clone`, `make demo` runs in two clones of what is committed here, one after the other: the first with
pip's cache empty, the second with the cache that the first one filled. Each time is from the start of
`git clone` to the page of searches. It needs the network, and some GB below the folder for temporary files.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.record import save, spread

ROOT = Path(__file__).resolve().parents[1]
PAGE = Path("demo") / "page" / "index.html"
RUNS = 5


def help_seconds() -> float:
    """Seconds of `ames-ray --help` in a process of its own."""
    command = [str(Path(sys.executable).parent / "ames-ray"), "--help"]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def demo_seconds(clone: Path, cache: Path) -> float:
    """Seconds from nothing to the page.

    Args:
        clone: Folder to make.
        cache: pip's cache.
    """
    environment = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "VENV"}}
    began = time.perf_counter()
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    subprocess.run(["make", "demo"], check=True, cwd=clone, env={**environment, "PIP_CACHE_DIR": str(cache)})
    if not (clone / PAGE).is_file():
        raise RuntimeError(f"make demo left no {PAGE}")
    return time.perf_counter() - began


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clone", action="store_true", help="run `make demo` in fresh clones as well")
    arguments = parser.parse_args()
    help_seconds()
    save("first_hour", "--help", {"seconds": spread([help_seconds() for _ in range(RUNS)])})
    if arguments.clone:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            cache = folder / "pip"
            seconds = [demo_seconds(folder / clone, cache) for clone in ("first", "second")]
        empty, filled = (round(value, 1) for value in seconds)
        save("first_hour", "make demo", {"without_cache_s": empty, "with_cache_s": filled})


if __name__ == "__main__":
    main()

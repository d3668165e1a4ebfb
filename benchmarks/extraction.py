"""How fast and how large extraction is, against hand-written loops on the same cores and against the disk.

python -m benchmarks.extraction              # everything that fits two cores, about half an hour
python -m benchmarks.extraction sift memory  # some sections: sift, dinov2, ceiling, memory, disk, gpu
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks import extraction_disk, extraction_gpu, extraction_memory, extraction_rate

SECTIONS = {
    "sift": extraction_rate.sift,
    "dinov2": extraction_rate.dinov2,
    "ceiling": extraction_rate.ceiling,
    "memory": extraction_memory.memory,
    "disk": extraction_disk.disk,
    "gpu": extraction_gpu.gpu,
}
_NEEDS_A_GPU = {"gpu"}


def main() -> None:
    """Run the wanted sections."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    everything = [name for name in SECTIONS if name not in _NEEDS_A_GPU]
    parser.add_argument("sections", nargs="*", default=everything, choices=[*SECTIONS, []])
    for name in parser.parse_args().sections:
        with tempfile.TemporaryDirectory(prefix="ames-ray-bench-") as folder:
            SECTIONS[name](Path(folder))


if __name__ == "__main__":
    main()

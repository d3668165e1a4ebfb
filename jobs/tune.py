"""`ames-ray tune` as a script, for `ray job submit --working-dir . -- python jobs/tune.py …`."""

import sys
from pathlib import Path

# Ray runs the script in an unpacked copy of the repository, where nothing is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ames_ray.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["tune", *sys.argv[1:]]))

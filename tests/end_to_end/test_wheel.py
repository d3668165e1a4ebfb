"""What `pip install ames-ray` puts on a machine."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_wheel_is_small_and_works_without_the_checkout(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    assert wheel.stat().st_size < 20_000_000
    installed = tmp_path / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(installed)
    assert "ames_ray/py.typed" in names
    assert {n.split("/")[0] for n in names if "dist-info" not in n} == {"ames_ray"}
    script = "import ames_ray, sys; from ames_ray.cli.main import main; print(ames_ray.__file__); "
    words = ["config", "extract", "images=photos", "output=store", "backbone=dinov2", "detector=none"]
    script += f"sys.exit(main({words}))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(installed)!r}); {script}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert str(installed) in done.stdout
    assert "imsize: 770" in done.stdout

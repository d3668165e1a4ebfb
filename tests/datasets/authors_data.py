"""A folder laid out as the authors' is, of empty files: for whoever only looks for names."""

from __future__ import annotations

from pathlib import Path


def make_authors_data(root: Path) -> None:
    """Make the files of all benchmarks and of R1M."""
    for folder in ("roxford5k", "rparis6k", "gldv2-test"):
        parts = [f"{desc}_{part}_local.hdf5" for desc in ("dinov2", "cvnet") for part in ("query", "gallery")]
        _touch(
            root / folder, *parts, f"gnd_{folder}.pkl", "nn_dinov2.pkl", "nn_cvnet.pkl", "nn_superglobal.pkl"
        )
    _touch(root / "revisitop1m", "dinov2_local.hdf5", "cvnet_local.hdf5")


def _touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()

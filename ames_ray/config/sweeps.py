"""Where the files of sweeps are, and where a study can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ames_ray.config.compose import config_folder
from ames_ray.datasets.paths import expanded
from ames_ray.errors import ConfigError
from ames_ray.files import is_remote

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER = "sweeps"


def sweep_path(sweep: str) -> Path:
    """The file of a sweep of the package, or one of the user's own.

    Raises:
        ConfigError: There is neither.
    """
    folder = config_folder() / _FOLDER
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    path = folder / f"{sweep}.yaml" if sweep in known else expanded(sweep)
    if not path.is_file():
        raise ConfigError(
            f"sweep={sweep}: there is no such sweep, and no such file",
            f"known: {', '.join(known)}; copy one of {folder} for a space of your own",
        )
    return path


def require_disk(output: str) -> None:
    """Refuse a bucket.

    Raises:
        ConfigError: It is one.
    """
    if is_remote(output):
        raise ConfigError(
            f"output={output}: a study is a file that is appended to, on a local or shared disk"
        )

"""Addresses of clusters that are not there any more: told at once, where Ray tries for many minutes."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray._private import services

from ames_ray.distributed.address import require_cluster
from ames_ray.errors import ResourceError
from tests.end_to_end.test_commands import command, environment
from tests.photos import make_photos


@pytest.fixture
def dead() -> Iterator[str]:
    """An address that nobody else can take, and where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("verb", ["extract", "cluster check"])
def test_a_command_says_that_no_ray_answers(dead: str, verb: str, tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 1)
    words = ["images=photos", "output=store", "backbone=blank"] if verb == "extract" else []
    done = subprocess.run(
        command(*verb.split(), *words),
        cwd=tmp_path,
        env={**environment(), "RAY_ADDRESS": dead},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: no Ray answers at {dead} (Connection refused)\nhint: ")
    assert "`ray start --head`" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_cluster_that_is_gone_is_not_taken_from_the_file_that_outlived_it(
    dead: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    # Other tests may run one on this machine, which Ray would find.
    monkeypatch.setattr(services, "find_gcs_addresses", frozenset)
    with pytest.raises(ResourceError, match="no Ray runs on this machine"):
        require_cluster("auto")
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(dead)
    with pytest.raises(ResourceError, match=r"no Ray answers at .*, where the last one of this machine ran"):
        require_cluster("auto")


def test_an_address_where_something_listens_is_left_to_ray() -> None:
    with socket.create_server(("", 0)) as there:
        require_cluster(f"127.0.0.1:{there.getsockname()[1]}")
    require_cluster("local")
    require_cluster("ray://nowhere:10001")

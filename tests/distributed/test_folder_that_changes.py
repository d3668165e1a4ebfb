"""The same `extract` command on a folder to which photos came, and from which one went."""

from __future__ import annotations

from pathlib import Path

import pytest

from ames_ray.cli.main import main
from ames_ray.files import Storage
from ames_ray.store.reader import Store
from ames_ray.store.removed import read_removed
from tests.photos import make_photos

pytestmark = pytest.mark.usefixtures("local_ray")


def test_rows_stay_and_new_photos_follow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, output = tmp_path / "photos", str(tmp_path / "store")
    make_photos(photos, 5)
    words = ["extract", f"images={photos}", f"output={output}", "backbone=blank", "workers=1", "shard_rows=4"]
    assert main(words) == 0
    (photos / "photo1.jpg").unlink()
    make_photos(tmp_path / "more", 1, first=9)
    (tmp_path / "more" / "photo9.jpg").rename(photos / "0.jpg")  # sorts in front of all others
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "1, not found any more; their rows stay" in said
    store = Store.open(output)
    rows = [record.image_id for record in store.manifest]
    assert rows == [*(f"photo{n}.jpg" for n in range(5)), "0.jpg"]
    assert read_removed(Storage.at(output)) == [1]
    assert main(words) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_a_photo_that_is_gone_is_not_found_though_others_failed(tmp_path: Path) -> None:
    photos, output = tmp_path / "photos", str(tmp_path / "store")
    make_photos(photos, 3)
    (photos / "photo2.jpg").write_bytes(b"")
    words = ["extract", f"images={photos}", f"output={output}", "backbone=blank", "workers=1", "strict=true"]
    assert main(words) == 3
    (photos / "photo1.jpg").unlink()
    assert main(words) == 3
    assert read_removed(Storage.at(output)) == [1]

from __future__ import annotations

import json
from pathlib import Path

import h5py
import pyarrow.parquet as pq
import pytest

from ames_ray.files import Storage, sha256_file, to_json
from ames_ray.store.reader import Store
from ames_ray.store.verify import VerifyReport, verify
from tests.store.builders import make_manifest, make_store

FORMATS = pytest.mark.parametrize("kind", ["parquet", "hdf5"])


def check(path: Path) -> VerifyReport:
    return verify(Store.open(str(path), allow_partial=True))


@FORMATS
@pytest.mark.parametrize("codec", ["float32", "float16", "binary"])
def test_a_sound_store(kind: str, codec: str, tmp_path: Path) -> None:
    report = verify(make_store(tmp_path, 23, format=kind, codec=codec))
    assert report == VerifyReport(shards=5, sound=5, problems=())
    assert report.ok


@pytest.mark.parametrize("codec", ["float16", "binary"])
def test_the_packed_copy_is_looked_at_too(codec: str, tmp_path: Path) -> None:
    store = make_store(tmp_path, 12, codec=codec)
    store.make_pack()
    assert check(tmp_path).ok
    packed = tmp_path / "packed.hdf5"
    whole = packed.read_bytes()
    with h5py.File(packed, "r+") as file:
        file["descriptors"][8, 0, 0] = 1 - file["descriptors"][8, 0, 0]
    (problem,) = check(tmp_path).problems
    assert problem.startswith("packed.hdf5 holds other descriptors than the shards in row 8; delete it")
    packed.write_bytes(whole[:-300])
    (problem,) = check(tmp_path).problems
    assert problem.startswith("packed.hdf5 cannot be read: ")
    packed.unlink()
    assert check(tmp_path).ok


def test_what_other_programs_leave_in_folders_is_no_damage(tmp_path: Path) -> None:
    make_store(tmp_path, 7)
    for name in (".DS_Store", "._00001.json", "Thumbs.db"):
        for folder in ("progress", "shards", "."):
            (tmp_path / folder / name).write_bytes(b"\0\1")
    assert check(tmp_path).ok
    assert make_store(tmp_path, 12).meta.rows == 12


@FORMATS
def test_every_kind_of_damage_is_named(kind: str, tmp_path: Path) -> None:
    make_store(tmp_path, 23, format=kind)
    names = [tmp_path / "shards" / f"{shard:05d}.{kind}" for shard in range(5)]
    names[0].unlink()
    names[1].write_bytes(names[1].read_bytes()[:-1])
    data = bytearray(names[2].read_bytes())
    data[len(data) // 2] ^= 4
    names[2].write_bytes(data)
    (tmp_path / "progress" / "00003.json").unlink()
    report = check(tmp_path)
    assert (report.shards, report.sound, report.ok) == (5, 1, False)
    size = len(data)
    missing, cut, changed, unmarked = report.problems
    assert missing == f"shards/00000.{kind} is missing"
    assert cut.startswith(f"shards/00001.{kind} has ")
    assert cut.endswith("were written")
    assert changed == f"shards/00002.{kind} has changed: its hash is another one"
    assert unmarked == f"shards/00003.{kind} is not finished: it has no mark in progress/"
    assert size == names[2].stat().st_size


def remark(path: Path, shard: int, **changes: object) -> None:
    """Make the mark of a shard fit its file again, as if it had been written so."""
    file = next((path / "shards").glob(f"{shard:05d}.*"))
    mark = path / "progress" / f"{shard:05d}.json"
    known = {"bytes": file.stat().st_size, "sha256": sha256_file(file)}
    mark.write_bytes(to_json(json.loads(mark.read_bytes()) | known | changes))


def test_values_that_are_not_finite_are_found(tmp_path: Path) -> None:
    make_store(tmp_path, 10, format="hdf5")
    with h5py.File(tmp_path / "shards" / "00001.hdf5", "r+") as file:
        file["global"][2, 1] = float("nan")
    remark(tmp_path, 1)
    assert check(tmp_path).problems == ("shards/00001.hdf5 holds global that are not finite in row 7",)


def test_rows_of_another_shard_and_other_images_are_found(tmp_path: Path) -> None:
    make_store(tmp_path, 15)
    shards = tmp_path / "shards"
    (shards / "00001.parquet").write_bytes((shards / "00000.parquet").read_bytes())
    table = pq.read_table(shards / "00002.parquet")
    names = table["image_id"].to_pylist()
    swapped = table.set_column(1, table.schema.field(1), [[names[1], names[0], *names[2:]]])
    pq.write_table(swapped, shards / "00002.parquet", compression="none")
    for shard in (1, 2):
        remark(tmp_path, shard)
    assert check(tmp_path).problems == (
        "shards/00001.parquet has its rows in another order from row 5 on",
        "shards/00002.parquet has img11 in row 10, the list has img10",
    )


def test_marks_that_lie_are_found(tmp_path: Path) -> None:
    make_store(tmp_path, 15)
    remark(tmp_path, 0, ok=5, failed={})
    remark(tmp_path, 1, rows=4)
    assert check(tmp_path).problems == (
        "shards/00000.parquet holds 4 good rows, its mark says 5",
        "shards/00001.parquet holds 4 rows, 5 are needed",
    )


def test_another_list_is_found(tmp_path: Path) -> None:
    make_store(tmp_path, 5)
    make_manifest(5, first=9).write(Storage.at(tmp_path), "manifest.parquet")
    report = check(tmp_path)
    assert "manifest.parquet is not the list that meta.json names" in report.problems[0]


def test_a_changed_list_is_found(tmp_path: Path) -> None:
    make_store(tmp_path, 5)
    path = tmp_path / "manifest.parquet"
    table = pq.read_table(path)
    names = table["uri"].to_pylist()
    edited = table.set_column(1, table.schema.field(1), [["a/other.jpg", *names[1:]]])
    pq.write_table(edited, path)
    assert "manifest.parquet is damaged" in check(tmp_path).problems[0]

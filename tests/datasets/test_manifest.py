"""The manifest: its digest by definition, its file read by DuckDB, its memory within a bound."""

from __future__ import annotations

import gc
import hashlib
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ames_ray.datasets import manifest_table
from ames_ray.datasets.manifest import Manifest
from ames_ray.errors import DatasetError, UnsafeFileError
from ames_ray.files import Storage
from ames_ray.types import ImageRecord

NAME = "manifest.parquet"
RECORDS = [
    ImageRecord(0, "a", "a.jpg"),
    ImageRecord(1, "b", "deep/er/b 1,2.jpg", "query", (1.5, 2.0, 30.25, 1e3), "label", 640, 480),
    ImageRecord(2, "Köln 東京", "Köln 東京.jpg", "gallery", None, "5"),
    ImageRecord(3, "a", "a.jpg"),
]
TEXT = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: name not in {".", ".."} and "://" not in name
)
ANY_RECORD = st.builds(
    ImageRecord,
    row=st.just(0),
    image_id=TEXT,
    uri=TEXT,
    split=st.none() | TEXT,
    bbox=st.none() | st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 4),
    label=st.none() | TEXT,
    width=st.none() | st.integers(1, 2**31 - 1),
    height=st.none() | st.integers(1, 2**31 - 1),
)


def _many(count: int) -> list[ImageRecord]:
    return [ImageRecord(i, f"id{i}", f"{i % 7}/{i}.jpg", "train", None, str(i % 5)) for i in range(count)]


def _digest(records: list[ImageRecord]) -> str:
    """The digest by its definition: one JSON line a row."""
    lines = []
    for r in records:
        box = r.bbox or (None,) * 4
        row = [r.image_id, r.uri, r.split, *box, r.label, r.width, r.height]
        lines.append(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def test_records_come_back_resolved(tmp_path: Path) -> None:
    manifest = Manifest.from_records(RECORDS, tmp_path)
    assert len(manifest) == 4
    expected = [replace(record, uri=f"{tmp_path}/{record.uri}") for record in RECORDS]
    assert manifest.records(0, 4) == list(manifest) == expected
    assert manifest.record(2) == expected[2]
    assert manifest.records(1, 1) == []
    assert manifest.notes == ("1 duplicate path",)
    twice = Manifest.from_records([*manifest, *manifest], tmp_path, notes=["seen", *manifest.notes])
    assert twice.notes == ("seen", "5 duplicate paths")
    for start, stop in ((-1, 2), (0, 5), (3, 2)):
        with pytest.raises(DatasetError, match="list of 4 images"):
            manifest.records(start, stop)


def test_the_file_holds_the_same(tmp_path: Path) -> None:
    storage = Storage.at(tmp_path / "store")
    manifest = Manifest.from_records(_many(9000), "/photos", notes=["seen"])
    manifest.write(storage, NAME)
    again = Manifest.read(storage, NAME)
    assert (again.root, again.notes, again.digest, len(again)) == (
        "/photos",
        ("seen",),
        manifest.digest,
        9000,
    )
    assert again.records(4000, 8500) == manifest.records(4000, 8500)
    assert [again.record(row).row for row in (8999, 0, 4096, 4095)] == [8999, 0, 4096, 4095]
    assert again.digest_of_first(9000) == manifest.digest
    manifest.write(storage, "other.parquet")
    again.write(storage, "again.parquet")
    assert storage.read(NAME) == storage.read("other.parquet") == storage.read("again.parquet")


def test_a_long_list_waits_on_the_disk_and_holds_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [*_many(9000), *_many(3)]
    short = Manifest.from_records(records, "/photos")
    monkeypatch.setattr(manifest_table, "HELD_GROUPS", 1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    long = Manifest.from_records(iter(records), "/photos")
    assert len(list(tmp_path.iterdir())) == 1
    assert (long.digest, long.notes, len(long)) == (_digest(records), ("3 duplicate paths",), 9003)
    assert short.notes == long.notes
    assert long.records(4000, 8500) == short.records(4000, 8500)
    storage = Storage.at(tmp_path / "store")
    short.write(storage, NAME)
    long.write(storage, "long.parquet")
    assert storage.read(NAME) == storage.read("long.parquet")
    del long
    gc.collect()
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_long_list_is_not_held_in_memory() -> None:
    def held(count: int) -> tuple[Manifest, int]:
        before = pa.total_allocated_bytes()
        records = (ImageRecord(i, f"id{i}", f"{i}.jpg", "train") for i in range(count))
        return Manifest.from_records(records, "s3://bucket/photos"), pa.total_allocated_bytes() - before

    most = manifest_table.HELD_GROUPS * manifest_table.GROUP_ROWS
    short, long = held(most), held(most + 1)
    assert (len(short[0]), len(long[0])) == (most, most + 1)
    assert short[1] > 50 * most
    assert long[1] < 1 << 20


def test_the_file_is_plain_parquet(tmp_path: Path) -> None:
    Manifest.from_records(RECORDS, tmp_path).write(Storage.at(tmp_path), NAME)
    query = f"SELECT image_id, uri, split, \"left\", bottom, label, width FROM '{tmp_path}/{NAME}'"
    rows = duckdb.sql(query).fetchall()
    assert rows[1] == ("b", "deep/er/b 1,2.jpg", "query", 1.5, 1e3, "label", 640)
    assert rows[2] == ("Köln 東京", "Köln 東京.jpg", "gallery", None, None, "5", None)


def test_every_range_of_a_file_with_uneven_row_groups(tmp_path: Path) -> None:
    Manifest.from_records(_many(9), "/r").write(Storage.at(tmp_path), NAME)
    whole = pq.read_table(tmp_path / NAME).replace_schema_metadata()
    with pq.ParquetWriter(tmp_path / "uneven.parquet", manifest_table.SCHEMA) as writer:
        for start, count in ((0, 3), (3, 0), (3, 1), (4, 5)):
            writer.write_table(whole.slice(start, count))
    metadata = pq.read_metadata(tmp_path / "uneven.parquet")
    table = manifest_table.ParquetTable(Storage.at(tmp_path), "uneven.parquet", metadata)
    assert metadata.num_row_groups >= 3
    for start in range(11):
        for count in range(11):
            assert table.slice(start, count).equals(whole.slice(start, count)), (start, count)


def test_digest_ignores_root_notes_and_encoding(tmp_path: Path) -> None:
    manifest = Manifest.from_records(RECORDS, "/one")
    assert manifest.digest == _digest(RECORDS)
    inside = [replace(record, uri=f"/two/{record.uri}") for record in RECORDS]
    assert Manifest.from_records(inside, "/two", notes=["x"]).digest == manifest.digest
    assert manifest.at("/three").digest == manifest.digest
    assert manifest.at("/three").record(0).uri == "/three/a.jpg"
    manifest.write(Storage.at(tmp_path), NAME)
    table = pq.read_table(tmp_path / NAME)
    pq.write_table(
        table, tmp_path / "other.parquet", row_group_size=1, compression="none", use_dictionary=False
    )
    other = Manifest.read(Storage.at(tmp_path), "other.parquet")
    assert other.digest_of_first(4) == manifest.digest
    assert other.records(1, 4) == manifest.records(1, 4)


@pytest.mark.parametrize(
    "change",
    [
        {"image_id": "c"},
        {"uri": "c.jpg"},
        {"split": "query"},
        {"bbox": (0.0, 0.0, 1.0, 1.0)},
        {"label": "7"},
        {"width": 9},
        {"height": 9},
    ],
)
def test_digest_sees_every_field(change: dict[str, object]) -> None:
    changed = [*RECORDS[:2], replace(RECORDS[2], **change), RECORDS[3]]  # type: ignore[arg-type] # any field
    assert Manifest.from_records(changed, "/one").digest != Manifest.from_records(RECORDS, "/one").digest


def test_digest_sees_the_order() -> None:
    assert Manifest.from_records(RECORDS[::-1], "/r").digest != Manifest.from_records(RECORDS, "/r").digest


def test_digest_of_a_list_that_grew() -> None:
    short, grown = (Manifest.from_records(_many(count), "/r") for count in (5000, 9000))
    assert grown.digest_of_first(5000) == short.digest
    assert grown.digest_of_first(4999) != short.digest
    with pytest.raises(DatasetError, match="5001 rows were asked of a list of 5000 images"):
        short.digest_of_first(5001)


@given(st.lists(ANY_RECORD, min_size=1, max_size=5))
def test_any_record_survives(tmp_path_factory: pytest.TempPathFactory, records: list[ImageRecord]) -> None:
    storage = Storage.at(tmp_path_factory.mktemp("store"))
    manifest = Manifest.from_records(records, "/root")
    manifest.write(storage, NAME)
    expected = [replace(r, row=row, uri=f"/root/{r.uri}") for row, r in enumerate(records)]
    assert Manifest.read(storage, NAME).records(0, len(records)) == expected
    assert manifest.digest == _digest(records)


def test_a_worker_holds_little_of_a_long_list(tmp_path: Path) -> None:
    storage = Storage.at(tmp_path)
    Manifest.from_records(_many(200_000), "/r").write(storage, NAME)
    script = f"""
from pathlib import Path
from ames_ray.datasets.manifest import Manifest
from ames_ray.files import Storage
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) >> 10
storage = Storage.at({str(tmp_path)!r})
manifest = Manifest.read(storage, {NAME!r})
manifest.records(0, 256)
before = peak()
for start in range(0, 199_000, 1024):
    manifest.records(start, start + 256)
windows = peak() - before
everything = manifest.records(0, 200_000)
print(windows, peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    windows, everything = map(int, done.stdout.split())
    assert windows < 12
    assert everything > 3 * windows


def test_remote_roots() -> None:
    root = "s3://bucket/photos?endpoint_override=localhost:9000"
    uri = "s3://bucket/photos/a/1.jpg?endpoint_override=localhost:9000"
    for path in ("a/1.jpg", uri):
        manifest = Manifest.from_records([ImageRecord(0, "1", path)], root)
        assert manifest.record(0).uri == uri
        assert manifest.digest == _digest([ImageRecord(0, "1", "a/1.jpg")])
    for path in ("../1.jpg", "s3://other/1.jpg", "/local/1.jpg"):
        with pytest.raises(UnsafeFileError):
            Manifest.from_records([ImageRecord(0, "1", path)], root)


def test_files_that_are_no_manifest(tmp_path: Path) -> None:
    storage = Storage.at(tmp_path)
    (tmp_path / "text.parquet").write_text("no")
    duckdb.sql(f"COPY (SELECT 1 AS x) TO '{tmp_path}/other.parquet'")
    with pytest.raises(DatasetError, match=r"text\.parquet cannot be read as a manifest"):
        Manifest.read(storage, "text.parquet")
    with pytest.raises(
        DatasetError, match=r"other\.parquet is not a manifest of version 1; its columns are x"
    ):
        Manifest.read(storage, "other.parquet")
    with pytest.raises(DatasetError, match=r"gone\.parquet cannot be read"):
        Manifest.read(storage, "gone.parquet")
    table = manifest_table.SCHEMA.empty_table()
    for facts, message in ((b"{", "cannot be read as"), (b"[]", "is not"), (b'{"version": 1}', "is not")):
        pq.write_table(table.replace_schema_metadata({b"ames_ray.manifest": facts}), tmp_path / "odd.parquet")
        with pytest.raises(DatasetError, match=rf"odd\.parquet {message} a manifest"):
            Manifest.read(storage, "odd.parquet")
    with pytest.raises(DatasetError, match="no images are listed"):
        Manifest.from_records([], tmp_path)

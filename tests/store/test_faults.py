"""Kills, full disks and large files, in processes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ames_ray.datasets.continued import continued
from ames_ray.datasets.manifest import Manifest
from ames_ray.files import Storage
from ames_ray.store.meta import StoreMeta
from ames_ray.store.reader import Store
from ames_ray.store.writer import ShardWriter, StoreWriter
from ames_ray.types import ImageFeatures, LocalFeatures
from tests.store.builders import hashes, make_manifest, make_meta, make_store

FORMATS = pytest.mark.parametrize("kind", ["parquet", "hdf5"])
ROOT = Path(__file__).resolve().parents[2]
IMPORTS = """
import os, sys
from pathlib import Path
"""
WRITE = """
from ames_ray.files import Storage
from ames_ray.store.writer import ShardWriter, StoreWriter
from tests.store.builders import make_features, make_manifest, make_meta, write_task
kind, folder, rows, topk, dim = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
manifest = make_manifest(rows)
meta = make_meta(manifest, format=kind, topk=topk, dim=dim)
storage = Storage.at(folder)
writer = StoreWriter.open(storage, meta, manifest)
"""


def run(
    code: str, *words: object, prefix: tuple[str, ...] = (), first: str = ""
) -> subprocess.CompletedProcess[str]:
    command = [*prefix, sys.executable, "-c", IMPORTS + first + WRITE + code, *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)


@FORMATS
@pytest.mark.parametrize("moment", ["rows", "file", "shard"])
def test_a_killed_writer_leaves_nothing_published(kind: str, moment: str, tmp_path: Path) -> None:
    """Killed between rows; when the file is whole, but not in place; when it is in place, but not marked."""
    die = "if index == 3: os._exit(9)" if moment == "rows" else ""
    patch = {
        "rows": "",
        "file": "Path.replace = lambda *_: os._exit(9)",
        "shard": "import ames_ray.store.writer as w; w.write_mark = lambda *_: os._exit(9)",
    }[moment]
    code = f"""
write_task(storage, meta, manifest, writer.pending()[0])
{patch}
task = writer.pending()[0]
with ShardWriter(storage, meta, task.shard, task.start, task.stop) as shard:
    for index, record in enumerate(manifest.records(task.start, task.stop)):
        shard.write([make_features(record, meta)])
        {die}
    shard.publish()
"""
    done = run(code, kind, tmp_path / "store", 23, 6, 16)
    assert done.returncode == 9, done.stderr
    store = Store.open(str(tmp_path / "store"), allow_partial=True)
    assert sorted(store.summaries) == [0]
    manifest = make_manifest(23)
    writer = StoreWriter.open(store.storage, store.meta, manifest)
    assert [task.shard for task in writer.pending()] == [1, 2, 3, 4]
    make_store(tmp_path / "store", 23, format=kind)
    make_store(tmp_path / "fresh", 23, format=kind)
    assert hashes(tmp_path / "store") == hashes(tmp_path / "fresh")


@pytest.mark.parametrize("at", ["manifest.parquet", "meta.json"])
def test_a_folder_that_changes_again_is_gone_on_with_after_a_kill(at: str, tmp_path: Path) -> None:
    """Killed while the list of a store grew, before this file of it was replaced; then a photo left again."""
    make_store(tmp_path / "store", 7)
    code = f"""
replace = Path.replace
Path.replace = lambda path, target: os._exit(9) if target.name == "{at}" else replace(path, target)
"""
    done = run("", "parquet", tmp_path / "store", 9, 6, 16, first=code)
    assert done.returncode == 9, done.stderr
    storage, photos = Storage.at(tmp_path / "store"), make_manifest(10)
    there = Manifest.from_records([photos.record(row) for row in (*range(7), 7, 9)], photos.root)
    listed = continued(Manifest.read(storage, "manifest.parquet"), there).manifest
    store = make_store(tmp_path / "store", manifest=listed)
    assert {"img7", "img9"} < {record.image_id for record in store.manifest}


SMALL_DISK = ("unshare", "--map-root-user", "--mount", "sh", "-c")


def _has_small_disks() -> bool:
    if shutil.which("unshare") is None:
        return False
    probe = [*SMALL_DISK, "mount -t tmpfs -o size=64k none /mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


@FORMATS
@pytest.mark.skipif(not _has_small_disks(), reason="mounting a small disk needs user namespaces")
def test_a_full_disk_is_told_and_costs_only_the_open_shard(kind: str, tmp_path: Path) -> None:
    """5 shards of 0.8 MB on a disk of 3 MB; then space is made."""
    code = """
import shutil
from ames_ray.errors import StoreError
from ames_ray.store.reader import Store
junk = Path(folder, "..", "junk").resolve()
junk.write_bytes(bytes(800_000))
try:
    for task in writer.pending():
        write_task(storage, meta, manifest, task)
    print("no error")
except StoreError as error:
    print(error)
done = Store.open(folder, allow_partial=True)
print("done", sorted(done.summaries), [len(list(done.features(shard))) for shard in done.summaries])
print("left", sorted(path.name for path in Path(folder, "shards").iterdir()))
junk.unlink()
shutil.move(storage.path(meta.shard_name(0)), sys.argv[6])
write_task(storage, meta, manifest, [task for task in writer.pending() if task.shard != 0][0])
print("resumed", sorted(Store.open(folder, allow_partial=True).summaries))
"""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size=3m none {disk} && exec "$@"'
    words = (kind, disk / "store", 25, 100, 700, tmp_path)
    done = run(code, *words, prefix=(*SMALL_DISK, mount, "sh"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("the disk is full: ")
    assert f"00002.{kind} needs 7" in lines[0] or f"00003.{kind} needs 7" in lines[0]
    assert " are free" in lines[0]
    assert lines[1].startswith("hint: ")
    count = int(lines[0].split(f".{kind}")[0][-1])
    assert lines[2] == f"done {list(range(count))} {[5] * count}"
    assert lines[3] == f"left {[f'{shard:05d}.{kind}' for shard in range(count)]}"
    assert lines[4] == f"resumed {list(range(1, count + 1))}"


@FORMATS
def test_a_pack_that_cannot_be_written_is_not_blamed_on_the_shards(kind: str, tmp_path: Path) -> None:
    """The disk takes the first 100 kB alone while rows are written, and all at the close, lest HDF5 crash."""
    make_store(tmp_path / "store", 23, format=kind, topk=100, dim=128)
    code = """
import resource
import h5py
import ames_ray.store.hdf5 as hdf5
from ames_ray.errors import StoreError
from ames_ray.store.reader import Store
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
reserve, close = hdf5.reserve, h5py.File.close
hdf5.reserve = lambda file: (reserve(file), limit(100_000))
h5py.File.close = lambda file: (limit(resource.RLIM_INFINITY), close(file))
try:
    Store.open(folder).make_pack()
except StoreError as error:
    print(error.message)
"""
    done = run(code, kind, tmp_path / "store", 23, 100, 128)
    assert "packed.hdf5 cannot be written: " in done.stdout, done.stderr
    assert "shards" not in done.stdout
    assert [path.name for path in (tmp_path / "store").glob("packed*")] == []


@FORMATS
def test_memory_stays_flat(kind: str, tmp_path: Path) -> None:
    """A shard of 108 MB (its float32 rows would be 215 MB) in less than 80 MB."""
    code = """
import resource
import numpy as np
from dataclasses import replace
from ames_ray.types import ImageFeatures, LocalFeatures
meta = replace(meta, shard_rows=rows)
g = np.random.default_rng(0)
def features(record):
    local = LocalFeatures(
        np.zeros((topk, 2), np.float32), np.zeros(topk, np.int8), np.ones(topk, np.float32),
        g.standard_normal((topk, dim), dtype=np.float32),
    )
    pooled = {name: np.ones(width, np.float32) for name, width in meta.pooled.items()}
    return ImageFeatures(record, local, pooled, 100, 100)
features(None)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with ShardWriter(storage, meta, 0, 0, rows) as shard:
    for record in manifest.records(0, rows):
        shard.write([features(record)])
    shard.publish()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = run(code, kind, tmp_path / "store", 100, 700, 768)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 80_000
    assert (tmp_path / "store" / "shards" / f"00000.{kind}").stat().st_size > 107_000_000


@pytest.mark.slow
@FORMATS
def test_more_than_two_gigabytes_in_one_column(kind: str, tmp_path: Path) -> None:
    manifest = make_manifest(2000)
    meta: StoreMeta = make_meta(manifest, format=kind, topk=700, dim=768, shard_rows=2000, pooled={})
    storage = Storage.at(tmp_path)
    writer = StoreWriter.open(storage, meta, manifest)
    base = np.random.default_rng(0).standard_normal((700, 768), dtype=np.float32).astype(np.float16)
    base[0, 0] = 0
    rest = (np.zeros((700, 2), np.float32), np.zeros(700, np.int8), np.ones(700, np.float32))
    with ShardWriter(storage, meta, 0, 0, 2000) as shard:
        for record in manifest:
            values = base.astype(np.float32)
            values[0, 0] = record.row
            shard.write([ImageFeatures(record, LocalFeatures(*rest, values), {}, 10, 10)])
        shard.publish()
    writer.finish({})
    store = Store.open(str(tmp_path))
    assert store.summaries[0].bytes > 2_150_000_000
    rows = [1999, 0, 1234, 1999]
    batch = store.read(rows, 2)
    assert batch.descriptors[:, 0, 0].tolist() == rows
    assert (batch.descriptors[:, 1] == base[1]).all()
    assert sum(1 for item in store.features(0) if item.ok) == 2000
    if kind == "parquet":
        column = pq.read_table(tmp_path / "shards" / "00000.parquet", columns=["descriptors"])["descriptors"]
        assert column.nbytes > 2_150_000_000
        value = np.frombuffer(column[1999].as_py(), "<f2")
        assert value[0] == 1999
        assert column.take([1999, 3])[1].as_py()[:2] == np.float16(3).tobytes()

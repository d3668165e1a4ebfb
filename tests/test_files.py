from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyarrow.fs import LocalFileSystem

from ames_ray.errors import StoreError
from ames_ray.files import Storage, is_remote, sha256_file, to_json
from ames_ray.ownership import sweep, sweep_attempts


@pytest.fixture(params=["local", "filesystem"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """The local disk, and the same folder reached as object stores are: through a pyarrow file system."""
    if request.param == "local":
        return Storage.at(tmp_path / "store")
    return Storage(str(tmp_path / "store"), LocalFileSystem(), "test://store")


def test_publish_read_names_delete(storage: Storage) -> None:
    assert storage.names("a") == []
    storage.publish("a/2.bin", b"two")
    storage.publish("a/10.bin", b"ten")
    assert storage.names("a") == ["10.bin", "2.bin"]
    assert storage.read("a/2.bin") == b"two"
    assert storage.size("a/10.bin") == 3
    assert storage.child("a").read("10.bin") == b"ten"
    storage.delete("a/2.bin")
    storage.delete("a/2.bin")
    assert not storage.exists("a/2.bin")
    with pytest.raises(StoreError, match=r"a/2.bin does not exist"):
        storage.read("a/2.bin")


def test_a_listing_tells_bytes_and_leaves_out_what_is_not_published(storage: Storage) -> None:
    storage.publish("a/2.bin", b"two")
    storage.publish("a/10.bin", b"")
    storage.publish("a/b/c.bin", b"deeper")
    folder = Path(storage.path("a"))
    (folder / "3.bin.tmp-7-89abcdef").write_bytes(b"half")
    (folder / ".owner.json").write_bytes(b"{}")
    (folder / "gone").symlink_to("nowhere")
    assert list(storage.sizes("a").items()) == [("10.bin", 0), ("2.bin", 3)]
    assert storage.sizes("nothing") == {}


def test_a_link_in_a_circle_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    assert Storage.at(tmp_path).sizes() == {}


def test_open_seeks(storage: Storage) -> None:
    storage.publish("f", b"0123456789")
    with storage.open("f") as handle:
        handle.seek(7)
        assert handle.read(2) == b"78"


def test_an_error_while_writing_publishes_nothing_and_keeps_the_old_file(storage: Storage) -> None:
    storage.publish("f", b"old")

    def fail() -> None:
        with storage.publishing("f") as path:
            path.write_bytes(b"half")
            raise ValueError("disk on fire")

    with pytest.raises(ValueError, match="on fire"):
        fail()
    assert storage.read("f") == b"old"
    assert storage.names() == ["f"]


def test_two_attempts_at_one_name_never_meet(tmp_path: Path) -> None:
    storage = Storage.at(tmp_path)
    with storage.publishing("f") as first:
        first.write_bytes(b"first")
        with storage.publishing("f") as second:
            second.write_bytes(b"second")
        assert storage.read("f") == b"second"
    assert storage.read("f") == b"first"


def test_a_killed_writer_leaves_nothing_published_and_its_rest_is_swept(tmp_path: Path) -> None:
    code = (
        "import os; from ames_ray.files import Storage\n"
        f"with Storage.at({str(tmp_path)!r}).publishing('shards/1.bin') as path:\n"
        "    path.write_bytes(b'half'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    storage = Storage.at(tmp_path)
    assert storage.names("shards") == []
    assert len(list((tmp_path / "shards").iterdir())) == 1
    sweep(storage)
    assert list((tmp_path / "shards").iterdir()) == []


def test_one_owner_at_a_time_also_in_another_process(storage: Storage) -> None:
    with storage.own("ames-ray extract"):

        def own_again() -> None:
            with storage.own("ames-ray merge"):
                pass

        with pytest.raises(StoreError, match=rf"written by ames-ray extract \(pid {os.getpid()} on "):
            own_again()
    with storage.own("ames-ray merge"):
        assert storage.names() == []


def test_a_run_that_wrote_nothing_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for name in ("there", "new/deep/store"):
        with pytest.raises(RuntimeError), Storage.at(tmp_path / name).own("extract"):
            raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]
    storage = Storage.at(tmp_path / "new" / "deep" / "store")
    with storage.own("extract"):
        storage.publish("meta.json", b"{}")
    assert storage.read("meta.json") == b"{}"


def test_a_killed_owner_frees_the_folder_at_once(tmp_path: Path) -> None:
    code = (
        "import time; from ames_ray.files import Storage\n"
        f"with Storage.at({str(tmp_path)!r}).own('extract'):\n"
        "    print('owned', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    began = time.monotonic()
    with Storage.at(tmp_path).own("extract"):
        pass
    assert time.monotonic() - began < 5


def test_an_owner_starts_without_the_halves_of_killed_runs(tmp_path: Path) -> None:
    halves = ["a.json.tmp-12-0123abcd", "checkpoints/b.pt.tmp-7-89abcdef", "other/c.tmp-1-00000000"]
    kept = ["mine.tmp-1-ab", "checkpoints/b.pt", "other/.owner.json"]
    for name in (*halves, *kept):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with Storage.at(tmp_path).own("train"):
        left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()} - {".owner.json"}
    assert left == {*kept, halves[2]}, "another run holds the folder of the last one"


def test_what_killed_runs_left_of_one_file_goes(tmp_path: Path) -> None:
    for name in ("a[1].parquet.tmp-1-00000000", "b.parquet.tmp-1-00000000", "a[1].parquet"):
        (tmp_path / name).touch()
    sweep_attempts(Storage.at(tmp_path), "a[1].parquet")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a[1].parquet", "b.parquet.tmp-1-00000000"]


def test_free_space_of_a_folder_that_is_still_to_be_made(tmp_path: Path) -> None:
    free = Storage.at(tmp_path / "a" / "b").free_bytes()
    assert free is not None
    assert free > 0


def test_hash_and_json_are_stable(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert sha256_file(tmp_path / "f") == hashlib.sha256(b"abc").hexdigest()
    assert to_json({"b": 1, "a": "é"}) == b'{\n  "a": "\xc3\xa9",\n  "b": 1\n}\n'


@pytest.mark.parametrize(
    ("uri", "remote"), [("s3://bucket/x", True), ("gs://b", True), ("file:///tmp/x", False), ("C:/x", False)]
)
def test_addresses_are_told_from_paths(uri: str, remote: bool) -> None:
    assert is_remote(uri) == remote


@pytest.mark.parametrize(
    ("uri", "folder", "name"),
    [
        ("/a/b/c.json", "/a/b", "c.json"),
        ("/c.json", "/", "c.json"),
        ("/a/what?/c.json", "/a/what?", "c.json"),
        ("s3://bucket/a/c.json?region=eu-west-1", "s3://bucket/a?region=eu-west-1", "c.json"),
    ],
)
def test_a_file_is_a_folder_and_a_name(uri: str, folder: str, name: str) -> None:
    storage, found = Storage.of_file(uri)
    assert (storage.uri, found) == (folder, name)
    assert storage.address(found) == uri


def test_a_bare_name_lies_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    storage, name = Storage.of_file("c.json")
    assert (storage.local, name) == (tmp_path, "c.json")

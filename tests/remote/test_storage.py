"""Objects that appear whole, and one owner at a time, where there are no renames and no locks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ames_ray import ownership
from ames_ray.errors import StoreError
from ames_ray.files import OWNER, Storage
from tests.remote.server import BUCKET, S3Server, contents


def test_what_is_published_is_what_others_read(s3: S3Server) -> None:
    storage = Storage.at(f"s3://{BUCKET}/files")
    storage.publish("a/2.bin", b"two")
    storage.publish("a/10.bin", b"ten")
    storage.child("a").publish("empty", b"")
    assert contents(s3, "files/") == {"files/a/2.bin": b"two", "files/a/10.bin": b"ten", "files/a/empty": b""}
    assert storage.names("a") == ["10.bin", "2.bin", "empty"]
    assert storage.size("a/10.bin") == 3
    with storage.open("a/10.bin") as handle:
        handle.seek(1)
        assert handle.read(1) == b"e"
    storage.delete("a/2.bin")
    storage.delete("a/2.bin")
    assert not storage.exists("a/2.bin")
    with pytest.raises(StoreError, match=r"files/a/2\.bin does not exist"):
        storage.read("a/2.bin")


def test_an_error_while_writing_publishes_nothing(s3: S3Server) -> None:
    storage = Storage.at(f"s3://{BUCKET}/errors")
    storage.publish("f", b"old")

    def fail() -> None:
        with storage.publishing("f") as path:
            path.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert contents(s3, "errors/") == {"errors/f": b"old"}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_upload_that_is_cut_short_never_appears(how: signal.Signals, s3: S3Server) -> None:
    size = 24 << 20
    code = (
        "from ames_ray.files import Storage\n"
        f"storage = Storage.at('s3://{BUCKET}/cut{how}')\n"
        "for number in range(1000):\n"
        f"    storage.publish(str(number), bytes({size}))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as writer:
        while not contents(s3, f"cut{how}/0"):
            time.sleep(0.05)
        writer.send_signal(how)
        writer.wait()
    assert writer.returncode != 0
    found = contents(s3, f"cut{how}/")
    assert found
    assert {len(data) for data in found.values()} == {size}


def test_an_address_may_carry_its_endpoint(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    storage = Storage.at(f"s3://{BUCKET}/options?endpoint_override={s3.host}&scheme=http")
    storage.child("a").publish("f", b"x")
    assert contents(s3, "options/") == {"options/a/f": b"x"}
    assert storage.child("a").uri == f"s3://{BUCKET}/options/a?endpoint_override={s3.host}&scheme=http"
    assert Storage.at(storage.child("a").uri).read("f") == b"x"


def test_a_bucket_that_is_not_there_is_told(s3: S3Server) -> None:
    storage = Storage.at("s3://no-such-bucket/store")
    with pytest.raises(
        StoreError, match=r"no-such-bucket/store cannot be used: .*bucket does not exist"
    ) as error:
        storage.publish("f", b"x")
    assert error.value.hint is not None
    assert "AWS_ENDPOINT_URL" in error.value.hint


def test_one_owner_at_a_time(s3: S3Server) -> None:
    storage = Storage.at(f"s3://{BUCKET}/owned")
    with storage.own("ames-ray extract"):

        def own_again() -> None:
            with storage.own("ames-ray merge"):
                pass

        with pytest.raises(StoreError, match=rf"written by ames-ray extract \(pid {os.getpid()} on "):
            own_again()
        assert storage.names() == []
    assert contents(s3, "owned/") == {}


def test_a_dead_owner_is_believed_dead_after_a_while_only(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import os; from ames_ray.files import Storage\n"
        f"with Storage.at('s3://{BUCKET}/dead').own('extract'):\n"
        "    os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    storage = Storage.at(f"s3://{BUCKET}/dead")

    def own() -> None:
        with storage.own("again"):
            assert storage.exists(OWNER)

    with pytest.raises(StoreError, match="written by extract") as error:
        own()
    assert "free after 90 s" in str(error.value.hint)
    monkeypatch.setattr(ownership, "STALE_SECONDS", 0.0)
    own()
    assert contents(s3, "dead/") == {}


def test_who_took_over_keeps_his_place(s3: S3Server) -> None:
    storage = Storage.at(f"s3://{BUCKET}/taken")
    with storage.own("slept for hours"):
        storage.publish(OWNER, b'{"run": "other"}')
    assert contents(s3, "taken/") == {f"taken/{OWNER}": b'{"run": "other"}'}


def test_a_living_owner_renews_its_place(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "BEAT_SECONDS", 0.05)
    storage = Storage.at(f"s3://{BUCKET}/living")
    with storage.own("extract"):
        etag = s3.client().head_object(Bucket=BUCKET, Key=f"living/{OWNER}")["LastModified"]
        while s3.client().head_object(Bucket=BUCKET, Key=f"living/{OWNER}")["LastModified"] == etag:
            time.sleep(0.05)
    assert contents(s3, "living/") == {}


def test_local_temporary_files_are_gone(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    Storage.at(f"s3://{BUCKET}/temporary").publish("f", b"x")
    assert list(tmp_path.iterdir()) == []

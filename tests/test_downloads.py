"""Downloads against a real server on this machine that misbehaves as servers do."""

from __future__ import annotations

import hashlib
import multiprocessing
import socket
import struct
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from ames_ray.downloads import CACHE_VARIABLE, DownloadError, cache_folder, fetch, published
from ames_ray.errors import is_full

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = bytes(range(256)) * 5_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Site:
    """What the server offers, how it fails, and what it was asked.

    `send` is how many bytes of an answer are sent before the connection is dropped, an answer each; when it
    is used up, answers are whole. `longest` is the most bytes that a range is answered with.
    """

    content: bytes = CONTENT
    tag: str | None = '"v1"'
    ranges: bool = True
    longest: int = len(CONTENT)
    kind: str = "application/octet-stream"
    encoding: str | None = None
    send: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    resets: int = 0
    length: bool = True
    asked: list[str | None] = field(default_factory=list)
    address: str = ""

    @property
    def headers(self) -> list[tuple[str, str]]:
        """What is said of the content where it is known."""
        known = {"ETag": self.tag, "Content-Encoding": self.encoding}
        return [(name, value) for name, value in known.items() if value]


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            site.asked.append(wanted)
            if site.resets:
                site.resets -= 1
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                return
            if site.statuses:
                self.send_error(site.statuses.pop(0))
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and site.ranges else 0
            if self.headers.get("If-Range") not in {None, site.tag}:
                start = 0
            total = len(site.content)
            if start and start >= total:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.end_headers()
                return
            stop = min(total, start + site.longest) if start else total
            body = site.content[start:stop]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{total}")
            if site.length:
                self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", site.kind)
            for header in site.headers:
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(body[: site.send.pop(0)] if site.send else body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def _serving(site: Site) -> Iterator[Site]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(site)) as server:
        site.address = f"http://127.0.0.1:{server.server_port}/networks/net.pt"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    with _serving(Site()) as found:
        yield found


def _names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))


def test_a_dropped_connection_is_taken_up(site: Site, tmp_path: Path) -> None:
    half = len(CONTENT) // 2
    site.send = [half]
    target = fetch(site.address, tmp_path / "net.pt", sha256=SHA256, pause=0)
    assert target.read_bytes() == CONTENT
    assert site.asked == [None, f"bytes={half}-"]
    assert _names(tmp_path) == ["net.pt", "net.pt.origin.json"]


def test_the_next_run_takes_up_what_a_failed_one_left(site: Site, tmp_path: Path) -> None:
    site.send = [300_000, 0, 0]
    with pytest.raises(
        DownloadError, match=r"net.pt cannot be fetched from .*connection was lost; 2 attempts"
    ):
        fetch(site.address, tmp_path / "net.pt", attempts=2, pause=0)
    assert not (tmp_path / "net.pt").exists()
    assert fetch(site.address, tmp_path / "net.pt", sha256=SHA256).read_bytes() == CONTENT
    assert site.asked == [None, *["bytes=300000-"] * 3]


def test_progress_is_no_failure(site: Site, tmp_path: Path) -> None:
    site.send = [100_000] * 8
    fetch(site.address, tmp_path / "net.pt", sha256=SHA256, attempts=1, pause=0)
    assert len(site.asked) == 9


@pytest.mark.parametrize("tag", ['"v1"', None])
def test_a_file_that_changed_meanwhile_is_fetched_anew(site: Site, tag: str | None, tmp_path: Path) -> None:
    site.send, site.tag = [300_000, 0], tag
    with pytest.raises(DownloadError):
        fetch(site.address, tmp_path / "net.pt", attempts=1, pause=0)
    site.content, site.tag = CONTENT[::-1], tag and '"v2"'
    assert fetch(site.address, tmp_path / "net.pt").read_bytes() == CONTENT[::-1]


def test_a_server_without_ranges(site: Site, tmp_path: Path) -> None:
    site.ranges, site.send = False, [300_000]
    assert fetch(site.address, tmp_path / "net.pt", pause=0).read_bytes() == CONTENT
    assert site.asked == [None, "bytes=300000-"]


def test_a_server_that_sends_less_than_was_asked_for(site: Site, tmp_path: Path) -> None:
    site.send, site.longest = [300_000], 500_000
    assert fetch(site.address, tmp_path / "net.pt", pause=0).read_bytes() == CONTENT
    assert site.asked == [None, "bytes=300000-", "bytes=800000-"]


def test_an_answer_without_length(site: Site, tmp_path: Path) -> None:
    site.length = False
    assert fetch(site.address, tmp_path / "net.pt").read_bytes() == CONTENT


def test_a_run_killed_before_the_last_rename(site: Site, tmp_path: Path) -> None:
    (tmp_path / "net.pt.part").write_bytes(CONTENT)
    (tmp_path / "net.pt.part.tag").write_text('"v1"')
    assert fetch(site.address, tmp_path / "net.pt", sha256=SHA256).read_bytes() == CONTENT
    assert site.asked == [f"bytes={len(CONTENT)}-"]


def test_a_part_longer_than_the_file(site: Site, tmp_path: Path) -> None:
    (tmp_path / "net.pt.part").write_bytes(CONTENT + b"x")
    (tmp_path / "net.pt.part.tag").write_text('"v1"')
    assert fetch(site.address, tmp_path / "net.pt", pause=0).read_bytes() == CONTENT


def test_a_wrong_hash_is_not_kept(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=rf"has SHA-256 {SHA256}, {'0' * 64} was expected"):
        fetch(site.address, tmp_path / "net.pt", sha256="0" * 64)
    assert _names(tmp_path) == []


def test_a_busy_server_is_asked_again_and_a_refusal_is_final(site: Site, tmp_path: Path) -> None:
    site.statuses = [503, 429]
    assert fetch(site.address, tmp_path / "net.pt", pause=0).read_bytes() == CONTENT
    site.statuses = [404, 404]
    with pytest.raises(DownloadError, match="the server answers 404"):
        fetch(site.address, tmp_path / "other.pt", pause=0)
    assert len(site.asked) == 4


def test_a_web_page_is_no_weights_file(site: Site, tmp_path: Path) -> None:
    site.kind = "text/html; charset=utf-8"
    with pytest.raises(DownloadError, match="answers with a web page instead of the file"):
        fetch(site.address, tmp_path / "net.pt")
    assert _names(tmp_path) == []


def test_an_encoded_or_empty_answer_is_not_kept(site: Site, tmp_path: Path) -> None:
    site.encoding = "gzip"
    with pytest.raises(DownloadError, match="answers with the file in the encoding gzip"):
        fetch(site.address, tmp_path / "net.pt")
    assert fetch(site.address, tmp_path / "net.tar.gz").read_bytes() == CONTENT
    site.encoding, site.content = None, b""
    with pytest.raises(
        DownloadError, match=r"net.pt cannot be fetched from .*: the server answers with an empty"
    ):
        fetch(site.address, tmp_path / "net.pt")
    assert _names(tmp_path) == ["net.tar.gz", "net.tar.gz.origin.json"]


def test_offline_says_what_and_where(tmp_path: Path) -> None:
    with _serving(Site()) as gone:
        pass
    with pytest.raises(DownloadError) as caught:
        fetch(gone.address, tmp_path / "sub/net.pt", attempts=2, pause=0)
    assert f"net.pt cannot be fetched from {gone.address}" in caught.value.message
    assert f"put it to {tmp_path}/sub/net.pt" in str(caught.value.hint)


def test_a_full_disk_is_no_lost_connection(site: Site, tmp_path: Path) -> None:
    (tmp_path / "net.pt.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as error:
        fetch(site.address, tmp_path / "net.pt", pause=0)
    assert is_full(error.value)
    (tmp_path / "other.pt.part").mkdir()
    with pytest.raises(IsADirectoryError):
        fetch(site.address, tmp_path / "other.pt", pause=0)
    assert site.asked == [None, None]


def test_a_connection_that_is_reset_is_tried_again(site: Site, tmp_path: Path) -> None:
    site.resets = 2
    assert fetch(site.address, tmp_path / "net.pt", sha256=SHA256, pause=0).read_bytes() == CONTENT
    site.resets = 1
    with pytest.raises(DownloadError, match="Connection reset by peer; 1 attempts"):
        fetch(site.address, tmp_path / "other.pt", attempts=1, pause=0)


def test_what_is_there_is_checked_and_not_fetched(site: Site, tmp_path: Path) -> None:
    target = fetch(site.address, tmp_path / "net.pt")
    assert fetch(site.address, target, sha256=SHA256) == fetch(site.address, target) == target
    assert site.asked == [None]
    target.write_bytes(CONTENT[:-1])
    with pytest.raises(DownloadError, match="it is damaged: delete it"):
        fetch(site.address, target)


def test_a_file_put_there_by_hand(tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(CONTENT)
    assert fetch("http://127.0.0.1:1/net.pt", tmp_path / "net.pt") == tmp_path / "net.pt"
    with pytest.raises(DownloadError, match="was expected"):
        fetch("http://127.0.0.1:1/net.pt", tmp_path / "net.pt", sha256="0" * 64)
    # A shared cache may be read-only: not even a lock is put beside it.
    assert list(tmp_path.iterdir()) == [tmp_path / "net.pt"]


def _fetch_in_child(address: str, target: Path) -> bytes:
    return fetch(address, target, pause=0).read_bytes()


def test_many_processes_fetch_once(site: Site, tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        found = pool.starmap(_fetch_in_child, [(site.address, tmp_path / "net.pt")] * 3)
    assert found == [CONTENT] * 3
    assert site.asked == [None]


@pytest.mark.parametrize("url", ["ftp://host/net.pt", "file:///etc/passwd", "net.pt"])
def test_other_addresses_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="no http"):
        fetch(url, tmp_path / "net.pt")


def test_the_cache(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    base = site.address.removesuffix("networks/net.pt")
    assert published("networks/net.pt", base=base, sha256=SHA256) == tmp_path / "networks/net.pt"
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache/ames-ray"

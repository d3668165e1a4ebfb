"""Files from the web: resumed, checked, kept, and published whole or not at all.

A download goes to `NAME.part`; a lost connection is taken up where it broke, by this call or by the next run.
Many processes may ask for one file: the first fetches it, the others wait and find it.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from ames_ray.errors import AmesError
from ames_ray.files import Storage, sha256_file, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPResponse

logger = logging.getLogger(__name__)

AUTHORS = "http://ptak.felk.cvut.cz/personal/sumapave/public/ames/"
"""Where the authors of AMES publish weights (`networks/…`) and data (`data/…`)."""
CACHE_VARIABLE = "AMES_RAY_CACHE"
_CHUNK = 1 << 20
_RETRIED_STATUS = {408, 425, 429, 500, 502, 503, 504}
_PARTIAL, _RANGE_REFUSED = 206, 416


class DownloadError(AmesError):
    """A file cannot be fetched, or is not what it should be."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of a fetched file; kept beside it as `NAME.origin.json`.

    Attributes:
        url: Where it came from.
        size: Bytes.
        sha256: Hash of the content, lower-case hex.
    """

    url: str
    size: int
    sha256: str


def cache_folder() -> Path:
    """Folder of fetched files: `$AMES_RAY_CACHE`, else `ames-ray` in the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "ames-ray"


def published(name: str, *, base: str = AUTHORS, sha256: str | None = None) -> Path:
    """A file that the authors publish, from the cache or else from their server.

    Args:
        name: Path below `base`, for example "networks/dinov2_ames.pt".
        base: Address that names start from.
        sha256: What the content must hash to, where it is known.

    Raises:
        DownloadError: It cannot be fetched, or has another hash.
    """
    return fetch(base.rstrip("/") + "/" + name, cache_folder() / name, sha256=sha256)


def fetch(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    attempts: int = 5,
    pause: float = 1.0,
    timeout: float = 30.0,
) -> Path:
    """Bring `url` to `target`, unless it is there.

    A file that is there is hashed again and compared with `sha256`, or else with what was noted when it was
    fetched. A file that somebody put there by hand, and of which nothing is known, is taken as it is.

    Args:
        url: `http://` or `https://` address.
        target: Local path.
        sha256: What the content must hash to, or none.
        attempts: Connections in a row that may fail without a single new byte.
        pause: Seconds before the second connection; doubled each time.
        timeout: Seconds without an answer after which a connection counts as lost.

    Returns:
        `target`.

    Raises:
        DownloadError: The server cannot be reached or refuses, the content is a web page, encoded or empty,
            or a hash differs. What was received stays for the next call, unless its hash is wrong.
        OSError: The disk is full, or the file is not ours to write; likewise.
    """
    if not url.startswith(("http://", "https://")):
        raise DownloadError(f"{url} is no http:// or https:// address")
    # Asked before anything is written: a cache that a whole cluster shares may be read-only.
    if _is_there(target, url, sha256):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(target):
        if _is_there(target, url, sha256):
            return target
        part = target.with_name(target.name + ".part")
        _receive(url, part, target, attempts, pause, timeout)
        if not _size(part):
            _discard(part)
            raise _unreachable(url, target, "the server answers with an empty file")
        digest = sha256_file(part)
        if sha256 is not None and digest != sha256:
            _discard(part)
            raise DownloadError(
                f"{url} has SHA-256 {digest}, {sha256} was expected; it was not kept",
                "the file was changed, or damaged on its way: fetch it again, or ask where you got the hash",
            )
        origin = Origin(url, part.stat().st_size, digest)
        Storage.at(target.parent).publish(f"{target.name}.origin.json", to_json(asdict(origin)))
        part.replace(target)
        _tag_file(part).unlink(missing_ok=True)
    logger.info("fetched %s (%d bytes, SHA-256 %s)", url, origin.size, digest)
    return target


def _is_there(target: Path, url: str, sha256: str | None) -> bool:
    """Whether the file is there, which it is as a whole; one with another hash is an error."""
    if not target.is_file():
        return False
    noted = target.with_name(f"{target.name}.origin.json")
    wanted = sha256 or (json.loads(noted.read_bytes())["sha256"] if noted.is_file() else None)
    if wanted is not None and (found := sha256_file(target)) != wanted:
        raise DownloadError(
            f"{target} has SHA-256 {found}, {wanted} was expected",
            f"it is damaged: delete it, and it is fetched again from {url}",
        )
    return True


@contextmanager
def _only_one(target: Path) -> Iterator[None]:
    # The kernel drops an flock with its process; the file stays, so that all wait at the same one.
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _receive(url: str, part: Path, target: Path, attempts: int, pause: float, timeout: float) -> None:
    """Connect until the file is whole; only connections that brought nothing count as failed."""
    failed = 0
    while True:
        before = _size(part)
        try:
            if _connect(url, part, timeout):
                return
            reason = "the connection was lost"
        except urllib.error.HTTPError as error:
            reason = f"the server answers {error.code} {error.reason}"
            if error.code not in _RETRIED_STATUS:
                raise _unreachable(url, target, reason) from None
        except (urllib.error.URLError, HTTPException) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        failed = 0 if _size(part) > before else failed + 1
        if failed >= attempts:
            raise _unreachable(url, target, f"{reason}; {attempts} attempts")
        logger.warning("%s: %s after %d bytes, trying again", url, reason, _size(part))
        time.sleep(pause * 2 ** max(0, failed - 1))


def _connect(url: str, part: Path, timeout: float) -> bool:
    """Receive what is missing in `part` over one connection; whether it is whole now."""
    start, tag = _size(part), _tag_file(part)
    request = urllib.request.Request(url, headers={"User-Agent": "ames-ray"})  # noqa: S310 - checked by fetch
    if start and tag.is_file():
        request.add_header("Range", f"bytes={start}-")
        # A file that changed meanwhile is sent from the beginning.
        request.add_header("If-Range", tag.read_text())
    try:
        with _network():
            response: HTTPResponse = urllib.request.urlopen(request, timeout=timeout)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code != _RANGE_REFUSED:
            raise
        return _whole_or_again(part, error.headers.get("Content-Range", ""))
    with response:
        return _save(response, part, start)


def _save(response: HTTPResponse, part: Path, start: int) -> bool:
    """Write the body of an answer behind what is there; whether the file is whole now."""
    if response.headers.get_content_type() == "text/html" and not part.name.endswith(
        (".html.part", ".htm.part")
    ):
        raise DownloadError(
            f"{response.url} answers with a web page instead of the file",
            "a log-in page or proxy may stand between; open the address in a browser",
        )
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity" and not part.name.endswith((".gz.part", ".tgz.part")):
        raise DownloadError(
            f"{response.url} answers with the file in the encoding {encoding}, which was not asked for",
            f"fetch it with a browser, which decodes it, and put it to {part.with_suffix('')}",
        )
    if response.status != _PARTIAL:
        start = 0
        _note_tag(response, part)
    elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        raise DownloadError(f"{response.url} answers with another part of the file than was asked for")
    total = _total(response, start)
    with part.open("r+b" if start else "wb") as handle:
        handle.seek(start)
        while chunk := _next(response):
            handle.write(chunk)
        handle.flush()
        os.fsync(handle.fileno())
    return total is None or _size(part) == total


def _total(response: HTTPResponse, start: int) -> int | None:
    """Bytes of the whole file, or none if unknown; a server may send fewer of them than were asked for."""
    whole = response.headers.get("Content-Range", "").rpartition("/")[2]
    if response.status == _PARTIAL and whole.isdecimal():
        return int(whole)
    length = response.headers.get("Content-Length")
    return None if length is None else start + int(length)


def _next(response: HTTPResponse) -> bytes:
    with _network():
        return response.read(_CHUNK)


@contextmanager
def _network() -> Iterator[None]:
    """Errors of a connection as one kind, which those of the own disk are not."""
    try:
        yield
    except urllib.error.URLError:
        raise
    except OSError as error:
        raise urllib.error.URLError(error) from error


def _whole_or_again(part: Path, content_range: str) -> bool:
    """What "range not satisfiable" means: all is here already, or what is here is of no use."""
    if content_range == f"bytes */{_size(part)}":
        return True
    part.unlink(missing_ok=True)
    return False


def _note_tag(response: HTTPResponse, part: Path) -> None:
    """Keep what tells this version of the file from others; without it nothing is resumed."""
    tag = response.headers.get("ETag", "")
    if not tag or tag.startswith("W/"):
        tag = response.headers.get("Last-Modified", "")
    if tag:
        _tag_file(part).write_text(tag)
    else:
        _tag_file(part).unlink(missing_ok=True)


def _tag_file(part: Path) -> Path:
    return part.with_name(part.name + ".tag")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag_file(part).unlink(missing_ok=True)


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _unreachable(url: str, target: Path, reason: str) -> DownloadError:
    return DownloadError(
        f"{target.name} cannot be fetched from {url}: {reason}",
        f"fetch it where there is a network, and put it to {target}",
    )

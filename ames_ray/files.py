"""Files that appear whole or not at all, on a local disk or on a remote file system.

A `Storage` is a folder. Everything that ames-ray publishes goes through `Storage.publish`: a unique
temporary name, fsync, rename locally; one whole put remotely. `Storage.own` lets one run at a time write.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from ames_ray.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyarrow.fs import FileSystem

TEMPORARY = ".tmp-"
OWNER = ".owner.json"
_BEAT_SECONDS = 20.0
_STALE_SECONDS = 90.0


def sha256_file(path: Path | str) -> str:
    """SHA-256 of a local file as lower-case hex."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def to_json(value: Any) -> bytes:
    """Stable, readable JSON: sorted keys, two spaces, a final newline."""
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def is_remote(uri: str) -> bool:
    """Whether `uri` names another file system (`s3://…`, `gs://…`) and not a local path."""
    return "://" in uri and not uri.startswith("file://")


@dataclass(frozen=True, slots=True)
class Storage:
    """A folder on a local disk, or below a `pyarrow.fs.FileSystem`.

    Attributes:
        root: Absolute local path, or the path inside `filesystem`.
        filesystem: None for the local disk.
        uri: How a user names the folder.
    """

    root: str
    filesystem: FileSystem | None
    uri: str

    @classmethod
    def at(cls, uri: str | Path) -> Self:
        """The folder at a local path or a `scheme://` address; it need not exist yet."""
        text = str(uri)
        if not is_remote(text):
            path = str(Path(text.removeprefix("file://")).expanduser().absolute())
            return cls(path, None, path)
        from pyarrow.fs import FileSystem

        filesystem, root = FileSystem.from_uri(text)
        return cls(root.rstrip("/"), filesystem, text.rstrip("/"))

    @property
    def local(self) -> Path | None:
        """The folder as a local path, or none if it is remote."""
        return Path(self.root) if self.filesystem is None else None

    def child(self, name: str) -> Storage:
        """A folder below this one."""
        return Storage(f"{self.root}/{name}", self.filesystem, f"{self.uri}/{name}")

    def path(self, name: str) -> str:
        """Path of a file below this folder, as its file system names it."""
        return f"{self.root}/{name}"

    def size(self, name: str) -> int | None:
        """Bytes of a file, or none where there is no such file."""
        if self.filesystem is None:
            path = Path(self.path(name))
            return path.stat().st_size if path.is_file() else None
        info = self.filesystem.get_file_info(self.path(name))
        return int(info.size) if info.is_file else None

    def exists(self, name: str) -> bool:
        """Whether a file of that name is published."""
        return self.size(name) is not None

    def names(self, folder: str = "") -> list[str]:
        """Names of the files directly inside a sub-folder, sorted, temporary ones left out."""
        where = self.path(folder) if folder else self.root
        if self.filesystem is None:
            path = Path(where)
            found = [p.name for p in path.iterdir() if p.is_file()] if path.is_dir() else []
        else:
            from pyarrow.fs import FileSelector

            infos = self.filesystem.get_file_info(FileSelector(where, allow_not_found=True))
            found = [i.base_name for i in infos if i.is_file]
        return sorted(n for n in found if TEMPORARY not in n and n != OWNER)

    def read(self, name: str) -> bytes:
        """The whole content of a file.

        Raises:
            StoreError: There is no such file.
        """
        if not self.exists(name):
            raise StoreError(f"{self.uri}/{name} does not exist")
        with self.open(name) as handle:
            data: bytes = handle.read()
            return data

    def open(self, name: str) -> IO[bytes]:
        """Open a published file for reading, with random access."""
        if self.filesystem is None:
            return Path(self.path(name)).open("rb")
        handle: IO[bytes] = self.filesystem.open_input_file(self.path(name))
        return handle

    def delete(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""
        if self.filesystem is None:
            Path(self.path(name)).unlink(missing_ok=True)
        elif self.exists(name):
            self.filesystem.delete_file(self.path(name))

    def publish(self, name: str, data: bytes) -> None:
        """Make `data` appear under `name`, whole or not at all."""
        with self.publishing(name) as path:
            path.write_bytes(data)

    @contextmanager
    def publishing(self, name: str) -> Iterator[Path]:
        """A local path to write to; leaving the block publishes it under `name`, an error discards it.

        The temporary name is unique to the attempt, so two attempts at one file never meet.
        """
        unique = f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}"
        if self.filesystem is None:
            target = Path(self.path(name))
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f"{target.name}{unique}")
            try:
                yield temporary
                _fsync(temporary)
                temporary.replace(target)
                _fsync(target.parent)
            finally:
                temporary.unlink(missing_ok=True)
            return
        with tempfile.TemporaryDirectory(prefix="ames-ray-") as folder:
            temporary = Path(folder) / Path(name).name
            yield temporary
            self.filesystem.create_dir(str(Path(self.path(name)).parent), recursive=True)
            with temporary.open("rb") as source, self.filesystem.open_output_stream(self.path(name)) as sink:
                shutil.copyfileobj(source, sink, 8 << 20)

    def sweep(self) -> list[str]:
        """Delete temporary files that killed runs left here or below; returns their names."""
        if self.filesystem is not None or not Path(self.root).is_dir():
            return []
        orphans = [p for p in Path(self.root).rglob(f"*{TEMPORARY}*") if p.is_file()]
        for orphan in orphans:
            orphan.unlink(missing_ok=True)
        return sorted(p.name for p in orphans)

    def free_bytes(self) -> int | None:
        """Free space where this folder is or will be; none if remote."""
        if self.filesystem is not None:
            return None
        path = Path(self.root)
        while not path.exists():
            path = path.parent
        return shutil.disk_usage(path).free

    @contextmanager
    def own(self, purpose: str) -> Iterator[None]:
        """Hold the folder for one run; a second run is refused while the first one lives.

        Args:
            purpose: What the owner is doing, for the message that a second run sees.

        Raises:
            StoreError: Another run owns the folder.
        """
        here = {"host": socket.gethostname(), "pid": os.getpid()}
        claim = {**here, "run": secrets.token_hex(4), "does": purpose}
        owned = _own_local(self, claim) if self.filesystem is None else _own_remote(self, claim)
        with owned:
            yield


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse(storage: Storage, holder: dict[str, Any]) -> StoreError:
    who = f"{holder.get('does', 'another run')} (pid {holder.get('pid', '?')} on {holder.get('host', '?')})"
    return StoreError(
        f"{storage.uri} is being written by {who}",
        "wait for it or stop it; its place is freed as soon as it ends, also when it is killed",
    )


@contextmanager
def _own_local(storage: Storage, claim: dict[str, Any]) -> Iterator[None]:
    # The kernel drops an flock when its process dies, so a killed owner needs no clean-up.
    path = Path(storage.path(OWNER))
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path, storage) as handle:
        handle.truncate(0)
        handle.write(to_json(claim))
        handle.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _locked(path: Path, storage: Storage) -> IO[bytes]:
    while True:
        handle = path.open("a+b")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with handle:
                handle.seek(0)
                content = handle.read()
            holder = {}
            with suppress(ValueError):
                holder = json.loads(content)
            raise _refuse(storage, holder) from None
        # The last owner may have removed the file between our opening and locking it.
        if path.exists() and path.stat().st_ino == os.fstat(handle.fileno()).st_ino:
            return handle
        handle.close()


@contextmanager
def _own_remote(storage: Storage, claim: dict[str, Any]) -> Iterator[None]:
    # Object stores have no locks: a heartbeat tells a living owner from a dead one.
    if storage.exists(OWNER):
        holder = json.loads(storage.read(OWNER))
        if time.time() - float(holder.get("beat", 0)) < _STALE_SECONDS:
            raise _refuse(storage, holder)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(_BEAT_SECONDS):
            storage.publish(OWNER, to_json(claim | {"beat": time.time()}))

    storage.publish(OWNER, to_json(claim | {"beat": time.time()}))
    if json.loads(storage.read(OWNER)).get("run") != claim["run"]:
        raise _refuse(storage, {})
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        storage.delete(OWNER)

"""Files that appear whole or not at all, on a local disk or on a remote file system.

A `Storage` is a folder. Everything that ames-ray publishes goes through `Storage.publish`: a unique
temporary name, fsync, rename locally; one whole put remotely. `Storage.own` lets one run at a time write.

A remote address may carry options, `s3://bucket/store?endpoint_override=host:9000&scheme=http`; without them
S3 follows AWS_ENDPOINT_URL and the other variables of its own tools.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from ames_ray.errors import StoreError, UnsafeFileError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyarrow.fs import FileSystem

TEMPORARY = ".tmp-"
OWNER = ".owner.json"
_CHUNK = 8 << 20
_CREDENTIALS = re.compile(r"\w+://[^/@]*:[^/@]*@")
_OBJECT_STORES = {"s3", "gcs", "abfs"}
"""File systems whose folders are only the beginnings of names."""


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


def refuse_password(uri: str) -> None:
    """Refuse an address that carries a password: lists, cards and logs would show it.

    Raises:
        UnsafeFileError: It does.
    """
    if _CREDENTIALS.match(uri):
        raise UnsafeFileError(
            f"the address of {uri.rpartition('@')[2]} carries a password, which lists and logs would show",
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use a role",
        )


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
        """The folder at a local path or a `scheme://` address; it need not exist yet.

        Raises:
            StoreError: The address is malformed, or its file system cannot be used.
            UnsafeFileError: The address carries a password.
        """
        text = str(uri)
        if not is_remote(text):
            path = str(Path(text.removeprefix("file://")).expanduser().absolute())
            return cls(path, None, path)
        refuse_password(text)
        from pyarrow.fs import FileSystem

        with _remote(text):
            filesystem, root = FileSystem.from_uri(_with_single_puts(text))
        return cls(root.rstrip("/"), filesystem, text.rstrip("/"))

    @classmethod
    def of_file(cls, uri: str | Path) -> tuple[Self, str]:
        """The folder of a file, and the file's name in it; options behind a `?` stay with the folder.

        Raises:
            StoreError: See `at`.
            UnsafeFileError: See `at`.
        """
        where, mark, options = str(uri).partition("?") if is_remote(str(uri)) else (str(uri), "", "")
        folder, slash, name = where.rpartition("/")
        return cls.at(f"{folder or slash or '.'}{mark}{options}"), name

    @property
    def local(self) -> Path | None:
        """The folder as a local path, or none if it is remote."""
        return Path(self.root) if self.filesystem is None else None

    def child(self, name: str) -> Storage:
        """A folder below this one."""
        return Storage(f"{self.root}/{name}", self.filesystem, self.address(name))

    def address(self, name: str) -> str:
        """How a user names a file or folder below this one."""
        where, mark, options = self.uri.partition("?") if self.filesystem else (self.uri, "", "")
        return f"{where.rstrip('/')}/{name}{mark}{options}"

    def path(self, name: str) -> str:
        """Path of a file below this folder, as its file system names it."""
        return f"{self.root}/{name}"

    def size(self, name: str) -> int | None:
        """Bytes of a file, or none where there is no such file."""
        if self.filesystem is None:
            path = Path(self.path(name))
            return path.stat().st_size if path.is_file() else None
        with _remote(self.uri):
            info = self.filesystem.get_file_info(self.path(name))
        return int(info.size) if info.is_file else None

    def exists(self, name: str) -> bool:
        """Whether a file of that name is published."""
        return self.size(name) is not None

    def names(self, folder: str = "") -> list[str]:
        """Names of the files directly inside a sub-folder, sorted, temporary ones left out."""
        return list(self.sizes(folder))

    def sizes(self, folder: str = "") -> dict[str, int]:
        """The same with their bytes, by one listing of the folder."""
        where = self.path(folder) if folder else self.root
        if self.filesystem is None:
            found = dict(_local_sizes(where))
        else:
            from pyarrow.fs import FileSelector

            with _remote(self.uri):
                infos = self.filesystem.get_file_info(FileSelector(where, allow_not_found=True))
            found = {info.base_name: int(info.size) for info in infos if info.is_file}
        return {name: found[name] for name in sorted(found) if TEMPORARY not in name and name != OWNER}

    def read(self, name: str) -> bytes:
        """The whole content of a file.

        Raises:
            StoreError: There is no such file.
        """
        try:
            with self.open(name) as handle:
                data: bytes = handle.read()
                return data
        except (FileNotFoundError, IsADirectoryError):
            raise StoreError(f"{self.address(name)} does not exist") from None

    def open(self, name: str) -> IO[bytes]:
        """Open a published file for reading, with random access."""
        if self.filesystem is None:
            return Path(self.path(name)).open("rb")
        with _remote(self.uri):
            handle: IO[bytes] = self.filesystem.open_input_file(self.path(name))
            return handle

    def delete(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""
        if self.filesystem is None:
            Path(self.path(name)).unlink(missing_ok=True)
        elif self.exists(name):
            with _remote(self.uri):
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
            # In a thread, where no interrupt arrives: a stream that is closed half way publishes what it has.
            with _remote(self.uri), ThreadPoolExecutor(1) as uploading:
                uploading.submit(_put, self.filesystem, temporary, self.path(name)).result()

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

        What killed runs left half written in it, or in folders in it that no other run holds, is deleted.

        Args:
            purpose: What the owner is doing, for the message that a second run sees.

        Raises:
            StoreError: Another run owns the folder.
        """
        from ames_ray.ownership import own_local, own_remote

        claim = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "run": secrets.token_hex(4),
            "does": purpose,
        }
        with own_local(self, claim) if self.filesystem is None else own_remote(self, claim):
            yield


def _local_sizes(folder: str) -> Iterator[tuple[str, int]]:
    if not Path(folder).is_dir():
        return
    for entry in os.scandir(folder):
        with suppress(OSError):  # deleted since it was listed, or a link that leads nowhere
            if entry.is_file():
                yield entry.name, entry.stat().st_size


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put(filesystem: FileSystem, source: Path, target: str) -> None:
    if filesystem.type_name not in _OBJECT_STORES:
        filesystem.create_dir(str(Path(target).parent), recursive=True)
    # Not by pyarrow's copy_files, which lets a failed upload pass for a good one.
    with source.open("rb") as content, filesystem.open_output_stream(target) as sink:
        shutil.copyfileobj(content, sink, _CHUNK)


def _with_single_puts(uri: str) -> str:
    """The address with the option that makes small files one request each, which pyarrow has for S3."""
    if not uri.startswith("s3://") or "allow_delayed_open=" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}allow_delayed_open=true"


@contextmanager
def _remote(uri: str) -> Iterator[None]:
    """Turn what a file system reports of its network, rights and names into a `StoreError`."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError):
        raise
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{uri} cannot be used: {str(error).strip() or type(error).__name__}",
            "check the bucket's name, its region, your credentials and AWS_ENDPOINT_URL",
        ) from error

"""Reading Qt resource files (`.rcc`), in which some programs ship their pictures.

Big-endian: `qres`, the version, and where the tree, the payloads and the names begin. Every offset, size and
count is checked before it is followed, because the file comes from outside.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ames_ray.errors import DatasetError, UnsafeFileError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ZLIB, _DIRECTORY, _ZSTD = 1, 2, 4
_NODE_BYTES = {1: 14, 2: 22, 3: 22}
_MAX_FILE_BYTES = 256 << 20
_MAX_DEPTH = 64


def read_rcc(data: bytes, label: str) -> Iterator[tuple[str, bytes]]:
    """The files inside a resource file, uncompressed, in the order of its tree.

    Args:
        data: The whole resource file, of version 1, 2 or 3.
        label: Its name, for messages.

    Yields:
        Path below the root, such as ``"samples/text.txt"``, and content.

    Raises:
        DatasetError: It is no resource file, or a damaged one.
        UnsafeFileError: A name in it would leave the folder that it is written to, or a file is a bomb.
    """
    tree = _Tree.parse(data, label)
    seen: set[int] = set()
    todo = [(0, "", 0)]
    while todo:
        index, path, depth = todo.pop()
        if index in seen or depth > _MAX_DEPTH:
            raise tree.damaged(f"the folder {path!r} leads back to itself")
        seen.add(index)
        children = tree.children(index)
        if children is None:
            yield path, tree.content(index, path)
        else:
            for child in reversed(children):
                name = tree.name(child)
                todo.append((child, f"{path}/{name}" if path else name, depth + 1))


@dataclass(frozen=True, slots=True)
class _Tree:
    """The parts of a resource file; every method checks what it reads."""

    data: bytes
    label: str
    nodes: int
    node_bytes: int
    payloads: int
    names: int

    @classmethod
    def parse(cls, data: bytes, label: str) -> _Tree:
        if data[:4] != b"qres" or len(data) < 20:
            raise DatasetError(f"{label} is not a Qt resource file: it begins with {data[:4]!r}")
        version, nodes, payloads, names = struct.unpack_from(">4I", data, 4)
        if version not in _NODE_BYTES:
            raise DatasetError(f"{label} is a Qt resource file of version {version}; known are 1, 2 and 3")
        return cls(data, label, nodes, _NODE_BYTES[version], payloads, names)

    def damaged(self, what: str) -> DatasetError:
        return DatasetError(f"{self.label} is damaged: {what}", "fetch it again")

    def children(self, index: int) -> range | None:
        """Nodes inside a folder, or none for a file."""
        flags, count, first = self._unpack(">H2I", self._node(index) + 4)
        if not flags & _DIRECTORY:
            return None
        if count:
            self._unpack(">H", self._node(first + count - 1))
        return range(first, first + count)

    def name(self, index: int) -> str:
        (offset,) = self._unpack(">I", self._node(index))
        (length,) = self._unpack(">H", self.names + offset)
        raw = self._cut(self.names + offset + 6, 2 * length)
        try:
            name = raw.decode("utf-16-be")
        except UnicodeDecodeError:
            raise self.damaged("a name is not UTF-16") from None
        if name in {"", ".", ".."} or "/" in name or "\\" in name or "\0" in name:
            raise UnsafeFileError(f"{self.label} holds the file name {name!r}")
        return name

    def content(self, index: int, path: str) -> bytes:
        flags, _, offset = self._unpack(">H2I", self._node(index) + 4)
        (size,) = self._unpack(">I", self.payloads + offset)
        raw = self._cut(self.payloads + offset + 4, size)
        try:
            if flags & _ZLIB:
                return self._inflate(raw, path)
            return self._unzstd(raw, path) if flags & _ZSTD else raw
        except (zlib.error, OSError, struct.error):
            raise self.damaged(f"{path} does not unpack") from None

    def _inflate(self, raw: bytes, path: str) -> bytes:
        (size,) = struct.unpack_from(">I", raw)
        self._require_small(size, path)
        content = zlib.decompressobj().decompress(raw[4:], size + 1)
        if len(content) != size:
            raise self.damaged(f"{path} unpacks to another size than the {size} bytes it states")
        return content

    def _unzstd(self, raw: bytes, path: str) -> bytes:
        import pyarrow as pa

        with pa.input_stream(pa.BufferReader(raw), compression="zstd") as stream:
            content: bytes = stream.read(_MAX_FILE_BYTES + 1)
        self._require_small(len(content), path)
        return content

    def _require_small(self, size: int, path: str) -> None:
        if size > _MAX_FILE_BYTES:
            raise UnsafeFileError(f"{path} in {self.label} unpacks to more than {_MAX_FILE_BYTES >> 20} MiB")

    def _node(self, index: int) -> int:
        return self.nodes + index * self.node_bytes

    def _unpack(self, layout: str, offset: int) -> tuple[Any, ...]:
        return struct.unpack(layout, self._cut(offset, struct.calcsize(layout)))

    def _cut(self, offset: int, size: int) -> bytes:
        if offset + size > len(self.data):
            raise self.damaged(f"byte {offset + size} is pointed at, but it has {len(self.data)}")
        return self.data[offset : offset + size]

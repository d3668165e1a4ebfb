"""From a file to pixels, or to an `ImageError` that says why not."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from PIL import ImageOps

from ames_ray.errors import ImageError
from ames_ray.files import is_remote
from ames_ray.images import reasons
from ames_ray.images.header import image_size, open_lazily
from ames_ray.images.truncation import is_truncated

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

    from ames_ray.types import Pixels

_OPENCV_PIXELS = 1 << 30
_AVIF = {b"ftypavif", b"ftypavis"}
"""How an AVIF file goes on after four bytes; the second one is animated."""
_MAX_BYTES = 1 << 30
_QUERY = re.compile(r"\?(?=\w+=)[^?]*$")


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """A picture in memory.

    Attributes:
        pixels: (H, W, 3) uint8, BGR, EXIF rotation applied, alpha dropped, grey replicated.
        flag: `reasons.TRUNCATED` for a picture whose file was cut short, else none.
    """

    pixels: Pixels
    flag: str | None


def file_size(uri: str) -> int:
    """Bytes of a file, without reading it.

    Args:
        uri: Local path or `scheme://` address.

    Raises:
        ImageError: It is missing, a folder, forbidden, or no regular file.
    """
    try:
        return _remote_size(uri) if is_remote(uri) else _local_size(_local(uri))
    except (OSError, ValueError) as error:
        raise _reason(error) from None


def read_bytes(uri: str) -> bytes:
    """The whole file.

    Args:
        uri: Local path or `scheme://` address.

    Raises:
        ImageError: As `file_size`; also where the file is larger than 1 GiB or cannot be read.
    """
    try:
        if is_remote(uri):
            filesystem, path = _open_remote(uri)
            with filesystem.open_input_file(path) as handle:
                _refuse_large(handle.size())
                data: bytes = handle.read()
                return data
        path = _local(uri)
        _refuse_large(_local_size(path))
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise _reason(error) from None


def decode(data: bytes, *, max_pixels: int, truncated: Literal["fail", "keep"]) -> DecodedImage:
    """Pixels of an encoded picture; the size is taken from its header before any memory is spent.

    OpenCV decodes; Pillow steps in where it refuses, and for AVIF. Of an animation this is the first picture.

    Args:
        data: The file's bytes.
        max_pixels: Larger pictures are refused.
        truncated: What to do with a file that was cut short: "fail", or "keep" what decodes and flag it.

    Raises:
        ImageError: EMPTY, NOT_AN_IMAGE, TOO_MANY_PIXELS, TRUNCATED or DECODE_FAILED.
    """
    if not data:
        raise ImageError(reasons.EMPTY)
    size, cut = image_size(data), is_truncated(data)
    if size is None:
        raise ImageError(reasons.TRUNCATED if cut else reasons.NOT_AN_IMAGE)
    limit = min(max_pixels, _OPENCV_PIXELS)
    if size[0] * size[1] > limit:
        raise ImageError(reasons.TOO_MANY_PIXELS, f"{size[0]}x{size[1]}, allowed are {limit}")
    if cut and truncated == "fail":
        raise ImageError(reasons.TRUNCATED)
    pixels = _opencv(data, cut=cut)
    if pixels is None:
        pixels = _pillow(data, reasons.TRUNCATED if cut else reasons.DECODE_FAILED)
    return DecodedImage(pixels, reasons.TRUNCATED if cut else None)


def _opencv(data: bytes, *, cut: bool) -> Pixels | None:
    if data[4:12] in _AVIF:
        # OpenCV 5 does not turn it, whatever it says of its rotation.
        return None
    if cut and data.startswith(b"\xff\xd8"):
        # From memory OpenCV gives up without an end marker; from a file libjpeg adds one itself.
        data += b"\xff\xd9"
    try:
        pixels: Pixels | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return pixels


def _pillow(data: bytes, reason: str) -> Pixels:
    try:
        with open_lazily(data) as image:
            rgb = ImageOps.exif_transpose(image).convert("RGB")
            return np.ascontiguousarray(np.asarray(rgb)[:, :, ::-1])
    except Exception as error:  # noqa: BLE001 - a damaged picture may make a decoder raise anything
        cut = isinstance(error, OSError) and "truncated" in str(error)
        raise ImageError(reasons.TRUNCATED if cut else reason) from None


def _local(uri: str) -> str:
    return uri.removeprefix("file://")


def _local_size(path: str) -> int:
    found = Path(path).stat()
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError
    if not stat.S_ISREG(found.st_mode):
        # Reading a pipe or a device might never end.
        raise ImageError(reasons.READ_FAILED, "not a regular file")
    if not os.access(path, os.R_OK):
        raise PermissionError
    return found.st_size


def _remote_size(uri: str) -> int:
    filesystem, path = _open_remote(uri)
    info = filesystem.get_file_info(path)
    if info.is_file:
        return int(info.size)
    raise IsADirectoryError if info.type.name == "Directory" else FileNotFoundError


def _open_remote(uri: str) -> tuple[FileSystem, str]:
    """File system and path of an address; the path is taken as it is, spaces and percent signs too."""
    query = _QUERY.search(uri)
    options = query[0] if query else ""
    scheme, _, rest = uri.removesuffix(options).partition("://")
    authority = rest.partition("/")[0]
    return _filesystem(f"{scheme}://{authority}{options}"), rest


@lru_cache(maxsize=16)
def _filesystem(root: str) -> FileSystem:
    from pyarrow.fs import FileSystem

    return FileSystem.from_uri(root)[0]


def _refuse_large(size: int) -> None:
    if size > _MAX_BYTES:
        raise ImageError(reasons.READ_FAILED, f"{size} bytes; at most {_MAX_BYTES} are read")


def _reason(error: OSError | ValueError) -> ImageError:
    """The reason code of what the operating or file system said, without its paths."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ImageError(reasons.MISSING)
    if isinstance(error, IsADirectoryError):
        return ImageError(reasons.IS_A_FOLDER)
    if isinstance(error, PermissionError):
        return ImageError(reasons.NO_PERMISSION)
    number = error.errno if isinstance(error, OSError) else None
    return ImageError(reasons.READ_FAILED, os.strerror(number) if number else "")

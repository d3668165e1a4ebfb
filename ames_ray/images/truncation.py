"""Whether a picture's file ends before its content does.

Decoders fill what is missing with grey and say nothing, so the file's own structure is walked instead: JPEG
segments to the end-of-image marker, PNG chunks to IEND, GIF blocks to the trailer, the size in WebP's header.
Bytes behind the end are allowed: phones append films, and MPO files a second picture.
"""

from __future__ import annotations

import re

_JPEG = b"\xff\xd8"
_PNG = b"\x89PNG\r\n\x1a\n"
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_MARKER_IN_SCAN = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_END_OF_IMAGE = 0xD9
_START_OF_SCAN = 0xDA
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}


def is_truncated(data: bytes) -> bool:
    """Whether the file was cut short; formats that do not tell (BMP, TIFF …) count as whole.

    Args:
        data: The file's bytes; only JPEG, PNG, GIF and WebP are looked into.
    """
    if data.startswith(_JPEG):
        return not _jpeg_ends(data)
    if data.startswith(_PNG):
        return not _png_ends(data)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return not _gif_ends(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    return False


def _jpeg_ends(data: bytes) -> bool:
    # Lengths are followed, so the end marker of a thumbnail inside the EXIF segment is never met.
    marker = _MARKER.search(data, len(_JPEG))
    while marker:
        code, at = marker[1][0], marker.end()
        if code == _END_OF_IMAGE:
            return True
        if code not in _WITHOUT_LENGTH:
            at += int.from_bytes(data[at : at + 2], "big")
        marker = (_MARKER_IN_SCAN if code == _START_OF_SCAN else _MARKER).search(data, at)
    return False


def _png_ends(data: bytes) -> bool:
    at = len(_PNG)
    while at + 12 <= len(data):
        if data[at + 4 : at + 8] == b"IEND":
            return True
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return False


def _gif_ends(data: bytes) -> bool:
    at = 13 + _colour_table(data, 10)
    while at < len(data):
        kind = data[at]
        if kind == ord(";"):
            return True
        if kind == ord("!"):
            at += 2
        elif kind == ord(","):
            at += 11 + _colour_table(data, at + 9)
        else:
            return False
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
    return False


def _colour_table(data: bytes, at: int) -> int:
    """Bytes of the colour table that the flags at position `at` announce."""
    flags = data[at] if at < len(data) else 0
    return 3 * (2 << (flags & 7)) if flags & 0x80 else 0

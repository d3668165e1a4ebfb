"""A folder with one picture of every kind that has spoilt somebody's run, and what should become of each."""

from __future__ import annotations

import io
import os
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ames_ray.images import reasons

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_PIXELS = 100_000_000
"""The default of `max_pixels`, which the expectations below rest on."""
FEATURELESS = frozenset({"black.png", "one_pixel.png", "sliver_3x2000.png", "sliver_2000x3.png"})
"""Good pictures in which SIFT may find nothing: `no_features` is right for them too."""


def noise(width: int = 96, height: int = 72, seed: int = 0) -> Image.Image:
    """A picture that is textured everywhere, so that grey filling shows."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The picture as a file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def blank_png(width: int, height: int) -> bytes:
    """A black 1-bit PNG of any size, made without ever holding its pixels."""
    packer, body = zlib.compressobj(9), bytearray()
    row = bytes(1 + (width + 7) // 8)
    for _ in range(height):
        body += packer.compress(row)
    body += packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", bytes(body)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def orientation(value: int) -> Image.Exif:
    """EXIF data with that orientation."""
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def with_thumbnail(data: bytes, thumbnail: bytes) -> bytes:
    """The JPEG with an APP1 segment that holds another JPEG, as cameras write it."""
    payload = b"Exif\0\0" + thumbnail
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + data[2:]


def _good() -> dict[str, Callable[[], bytes]]:
    grey = noise().convert("L")
    deep = (np.asarray(grey).astype(np.uint16) << 8) + 200
    frames = [noise(seed=seed) for seed in range(3)]
    jpeg = encode(noise(), "JPEG")
    return {
        "good.jpg": lambda: jpeg,
        "cmyk.jpg": lambda: encode(noise().convert("CMYK"), "JPEG"),
        "exif_6.jpg": lambda: encode(noise(), "JPEG", exif=orientation(6)),
        "exif_thumbnail.jpg": lambda: with_thumbnail(jpeg, encode(noise(16, 12), "JPEG")),
        "grey.jpg": lambda: encode(grey, "JPEG"),
        "grey_16_bit.png": lambda: encode(Image.fromarray(deep), "PNG"),
        "alpha.png": lambda: encode(noise().convert("RGBA"), "PNG"),
        "palette.png": lambda: encode(noise().quantize(16), "PNG"),
        "one_bit.png": lambda: encode(grey.convert("1"), "PNG"),
        "animated.gif": lambda: encode(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "animated.webp": lambda: encode(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "one_pixel.png": lambda: encode(noise(1, 1), "PNG"),
        "sliver_3x2000.png": lambda: encode(noise(3, 2000), "PNG"),
        "sliver_2000x3.png": lambda: encode(noise(2000, 3), "PNG"),
        "black.png": lambda: encode(Image.new("RGB", (64, 64)), "PNG"),
        "comma,1,2.jpg": lambda: jpeg,
        "blank in name.jpg": lambda: jpeg,
        "Köln 東京.jpg": lambda: jpeg,
        "progressive.jpg": lambda: encode(noise(), "JPEG", progressive=True),
        "trailing_bytes.jpg": lambda: jpeg + b"film" * 50,
        "two_pictures.jpg": lambda: encode(frames[0], "MPO", save_all=True, append_images=frames[1:]),
        "UPPER.JPG": lambda: jpeg,
        "jpeg_named.png": lambda: jpeg,
    }


def _bad() -> dict[str, tuple[str, Callable[[], bytes]]]:
    jpeg, progressive = encode(noise(), "JPEG"), encode(noise(), "JPEG", progressive=True)
    png, webp, gif = (encode(noise(), kind) for kind in ("PNG", "WEBP", "GIF"))
    thumbnail = with_thumbnail(jpeg, encode(noise(16, 12), "JPEG"))
    return {
        "zero_bytes.jpg": (reasons.EMPTY, lambda: b""),
        "half.jpg": (reasons.TRUNCATED, lambda: jpeg[: len(jpeg) // 2]),
        "half_progressive.jpg": (reasons.TRUNCATED, lambda: progressive[: len(progressive) // 2]),
        "half_thumbnail.jpg": (reasons.TRUNCATED, lambda: thumbnail[: len(thumbnail) // 2]),
        "two_bytes_short.jpg": (reasons.TRUNCATED, lambda: jpeg[:-2]),
        "zero_filled.jpg": (reasons.TRUNCATED, lambda: jpeg[: len(jpeg) // 2].ljust(len(jpeg), b"\0")),
        "header_only.jpg": (reasons.TRUNCATED, lambda: jpeg[:10]),
        "half.png": (reasons.TRUNCATED, lambda: png[: len(png) // 2]),
        "half.webp": (reasons.TRUNCATED, lambda: webp[: len(webp) // 2]),
        "half.gif": (reasons.TRUNCATED, lambda: gif[: len(gif) // 2]),
        "page.jpg": (reasons.NOT_AN_IMAGE, lambda: b"<!DOCTYPE html><html><body>404</body></html>"),
        "text.png": (reasons.NOT_AN_IMAGE, lambda: b"version https://git-lfs.github.com/spec/v1\n"),
        "damaged.png": (reasons.DECODE_FAILED, lambda: png[:60] + b"\xff" * (len(png) - 80) + png[-20:]),
        "bomb_40000x30000.png": (reasons.TOO_MANY_PIXELS, lambda: blank_png(40_000, 30_000)),
        "huge_20000x20000.png": (reasons.TOO_MANY_PIXELS, lambda: blank_png(20_000, 20_000)),
    }


def make_bad_folder(path: Path) -> dict[str, str | None]:
    """Fill a folder with one file of every kind.

    Args:
        path: Folder to fill; made if need be.

    Returns:
        For each name the reason code that the row should carry under `truncated=fail`, none for a good row.
        Root may read everything, so the forbidden file is left out for root.
    """
    path.mkdir(parents=True, exist_ok=True)
    expected: dict[str, str | None] = {}
    for name, data in _good().items():
        (path / name).write_bytes(data())
        expected[name] = None
    for name, (reason, data) in _bad().items():
        (path / name).write_bytes(data())
        expected[name] = reason
    (path / "folder.jpg").mkdir(exist_ok=True)
    (path / "dangling.jpg").symlink_to("gone.jpg")
    (path / "circle.jpg").symlink_to("circle.jpg")
    expected |= {"folder.jpg": reasons.IS_A_FOLDER, "dangling.jpg": reasons.MISSING}
    expected |= {"circle.jpg": reasons.READ_FAILED}
    if os.geteuid() != 0:
        (path / "secret.jpg").write_bytes(_good()["good.jpg"]())
        (path / "secret.jpg").chmod(0)
        expected["secret.jpg"] = reasons.NO_PERMISSION
    return expected

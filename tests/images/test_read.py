"""Every kind of file that has spoilt a run: the right pixels, or the right reason."""

from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from ames_ray.errors import ImageError
from ames_ray.images import reasons
from ames_ray.images.header import image_size
from ames_ray.images.read import DecodedImage, decode, file_size, read_bytes
from ames_ray.images.transform import crop
from ames_ray.types import Pixels
from tests.images.bad_folder import MAX_PIXELS, blank_png, encode, make_bad_folder, noise, orientation

TURNED: dict[int, Callable[[Any], Any]] = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: np.fliplr(np.rot90(stored, -1)),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.flipud(np.rot90(stored, -1)),
    8: np.rot90,
}
"""What each EXIF orientation makes of the stored pixels, as its standard has it."""


def _decode(data: bytes, truncated: str = "fail") -> DecodedImage:
    return decode(data, max_pixels=MAX_PIXELS, truncated="keep" if truncated == "keep" else "fail")


def _reason(path: Path, truncated: str = "fail") -> str | None:
    try:
        _decode(read_bytes(str(path)), truncated)
    except ImageError as error:
        return error.reason
    return None


def _pillow(data: bytes) -> Pixels:
    """What Pillow, an independent decoder, makes of the file, as BGR."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    return np.asarray(image.convert("RGB"))[:, :, ::-1]


def test_each_kind_of_file_has_its_own_answer(tmp_path: Path) -> None:
    expected = make_bad_folder(tmp_path)
    assert {name: _reason(tmp_path / name) for name in expected} == expected


def test_each_reason_is_explained() -> None:
    codes = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    assert codes == set(reasons.EXPLANATIONS)


def test_keep_gives_what_opencv_reads_from_the_file(tmp_path: Path) -> None:
    """The R1M protocol: a half JPEG is its upper half and grey, as `cv2.imread` has it, with a flag."""
    expected = make_bad_folder(tmp_path)
    kept = 0
    for name in (n for n, reason in expected.items() if reason == reasons.TRUNCATED):
        by_opencv = cv2.imread(str(tmp_path / name))
        data = (tmp_path / name).read_bytes()
        if by_opencv is None:
            assert _reason(tmp_path / name, "keep") == reasons.TRUNCATED
            continue
        image = _decode(data, "keep")
        assert image.flag == reasons.TRUNCATED
        np.testing.assert_array_equal(image.pixels, by_opencv)
        kept += 1
    assert kept >= 4


def test_whole_pictures_carry_no_flag() -> None:
    assert _decode(encode(noise(), "JPEG"), "keep").flag is None


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_rotation_is_applied(kind: str, value: int) -> None:
    data = encode(noise(40, 24), kind, exif=orientation(value))
    pixels = _decode(data).pixels
    assert pixels.shape == ((40, 24, 3) if value >= 5 else (24, 40, 3))
    assert np.abs(pixels.astype(int) - _pillow(data)).mean() < 2
    plain = _decode(encode(noise(40, 24), kind)).pixels.astype(int)
    assert np.abs(pixels - TURNED[value](plain)).mean() < 2


def test_a_box_counts_in_the_rotated_picture() -> None:
    pixels = _decode(encode(noise(400, 300), "JPEG", exif=orientation(6))).pixels
    assert pixels.shape == (400, 300, 3)
    assert crop(pixels, (10, 320, 290, 390)).shape == (70, 280, 3)
    with pytest.raises(ImageError, match=reasons.EMPTY_CROP):
        crop(pixels, (320, 10, 390, 290))


def test_cmyk_comes_out_in_its_colours() -> None:
    data = encode(Image.new("RGB", (64, 64), (200, 0, 0)).convert("CMYK"), "JPEG")
    np.testing.assert_allclose(_decode(data).pixels[32, 32], [1, 1, 201], atol=2)


def test_sixteen_bits_become_their_high_byte() -> None:
    grey = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    pixels = _decode(encode(Image.fromarray(grey), "PNG")).pixels
    np.testing.assert_array_equal(pixels, np.repeat((grey >> 8).astype(np.uint8)[:, :, None], 3, 2))


def test_alpha_is_dropped_and_grey_replicated() -> None:
    colour = np.asarray(noise())
    alpha = np.dstack([colour, np.zeros(colour.shape[:2], np.uint8)])
    np.testing.assert_array_equal(_decode(encode(Image.fromarray(alpha), "PNG")).pixels, colour[:, :, ::-1])
    grey = colour[:, :, 0]
    np.testing.assert_array_equal(_decode(encode(Image.fromarray(grey), "PNG")).pixels, np.dstack([grey] * 3))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_of_an_animation_the_first_picture_counts(kind: str) -> None:
    red, blue = Image.new("RGB", (32, 32), (255, 0, 0)), Image.new("RGB", (32, 32), (0, 0, 255))
    data = encode(red, kind, save_all=True, append_images=[blue, blue])
    np.testing.assert_allclose(_decode(data).pixels[16, 16], [0, 0, 255], atol=4)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "JPEG2000"])
def test_lossless_formats_are_exact(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(
        _decode(encode(noise(), kind, **options)).pixels, np.asarray(noise())[:, :, ::-1]
    )


def test_what_opencv_refuses_pillow_reads() -> None:
    """A GIF without its trailer: OpenCV gives nothing, under `keep` the picture is there all the same."""
    data = encode(noise().quantize(64), "GIF")
    assert cv2.imdecode(np.frombuffer(data[:-1], np.uint8), cv2.IMREAD_COLOR) is None
    kept = _decode(data[:-1], "keep")
    np.testing.assert_array_equal(kept.pixels, _decode(data).pixels)
    assert kept.flag == reasons.TRUNCATED


@pytest.mark.parametrize("kind", ["BMP", "TIFF"])
def test_cut_files_of_formats_that_do_not_tell(kind: str) -> None:
    data = encode(noise(), kind)
    with pytest.raises(ImageError) as caught:
        _decode(data[: len(data) // 2])
    assert caught.value.reason == reasons.TRUNCATED


def test_max_pixels_is_the_only_limit() -> None:
    """Pillow's bomb limit of 178,956,970 pixels neither refuses nor warns, and is there again afterwards."""
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image_size(blank_png(20_000, 20_000)) == (20_000, 20_000)
        lossless = {"lossless": True, "quality": 0, "method": 0}
        assert image_size(encode(Image.new("RGB", (16_383, 11_000)), "WEBP", **lossless)) == (16_383, 11_000)
    assert before == Image.MAX_IMAGE_PIXELS
    data = encode(noise(20, 10), "PNG")
    assert decode(data, max_pixels=200, truncated="fail").pixels.shape == (10, 20, 3)
    with pytest.raises(ImageError, match="20x10, allowed are 199"):
        decode(data, max_pixels=199, truncated="fail")


def test_bombs_are_refused_without_memory(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(blank_png(40_000, 30_000))
    script = """
import sys
from pathlib import Path
from ames_ray.errors import ImageError
from ames_ray.images.read import decode, read_bytes
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) >> 10
before = peak()
try:
    decode(read_bytes(sys.argv[1]), max_pixels=2**40, truncated="fail")
except ImageError as error:
    print(error.reason, peak() - before)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "bomb.png")]
    reason, megabytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert reason == reasons.TOO_MANY_PIXELS
    assert int(megabytes) < 60


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"]), st.data())
def test_damaged_bytes_never_raise_anything_else(kind: str, data: st.DataObject) -> None:
    whole = bytearray(encode(noise(24, 16), kind))
    for _ in range(data.draw(st.integers(1, 8), label="changes")):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    kept = bytes(whole[: data.draw(st.integers(0, len(whole)), label="kept bytes")])
    with suppress(ImageError):
        image = decode(kept, max_pixels=10**6, truncated="keep")
        assert image.pixels.dtype == np.uint8
        assert image.pixels.ndim == 3


def test_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    names = [name for name, reason in make_bad_folder(tmp_path).items() if reason is None]
    alone = {name: _decode(read_bytes(str(tmp_path / name))).pixels for name in names}
    with ThreadPoolExecutor(8) as threads:
        together = threads.map(
            lambda name: (name, _decode(read_bytes(str(tmp_path / name))).pixels), names * 5
        )
        for name, pixels in together:
            np.testing.assert_array_equal(pixels, alone[name])
    assert Image.MAX_IMAGE_PIXELS is not None


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    found: list[str | None] = []
    thread = threading.Thread(target=lambda: found.append(_reason(tmp_path / "pipe.jpg")), daemon=True)
    thread.start()
    thread.join(10)
    assert found == [reasons.READ_FAILED]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone.jpg", reasons.MISSING),
        ("good.jpg/below.jpg", reasons.MISSING),
        ("x" * 300, reasons.READ_FAILED),
        ("nul\0.jpg", reasons.READ_FAILED),
    ],
)
def test_paths_that_lead_nowhere(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "good.jpg").write_bytes(b"x")
    for function in (read_bytes, file_size):
        with pytest.raises(ImageError) as caught:
            function(f"{tmp_path}/{name}")
        assert caught.value.reason == reason
        assert str(tmp_path) not in str(caught.value)


def test_a_file_larger_than_memory_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse.jpg").open("wb") as handle:
        handle.truncate(5 << 30)
    assert file_size(f"file://{tmp_path}/sparse.jpg") == 5 << 30
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError, match=reasons.READ_FAILED):
        read_bytes(str(tmp_path / "sparse.jpg"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_remote_files_by_their_plain_names() -> None:
    memory = pytest.importorskip("fsspec").filesystem("memory")
    name = "/photos/50% off #1 a+b?.jpg"
    memory.pipe(name, b"bytes")
    try:
        assert read_bytes(f"fsspec+memory:/{name}") == b"bytes"
        assert file_size(f"fsspec+memory:/{name}") == 5
        for uri, reason in (
            ("fsspec+memory://photos/gone.jpg", reasons.MISSING),
            ("fsspec+memory://photos", reasons.IS_A_FOLDER),
            ("gopher://photos/a.jpg", reasons.READ_FAILED),
        ):
            with pytest.raises(ImageError) as caught:
                file_size(uri)
            assert caught.value.reason == reason
    finally:
        memory.rm("/photos", recursive=True)

"""Cut files against the decoders' own word: Pillow refuses them, OpenCV fills them with grey."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ames_ray.images.truncation import is_truncated
from tests.images.bad_folder import encode, noise, orientation, with_thumbnail

FRAMES = [noise(seed=seed) for seed in range(3)]
JPEG = encode(FRAMES[0], "JPEG")
WHOLE = {
    "baseline": JPEG,
    "progressive": encode(FRAMES[0], "JPEG", progressive=True),
    "grey": encode(FRAMES[0].convert("L"), "JPEG"),
    "cmyk": encode(FRAMES[0].convert("CMYK"), "JPEG"),
    "restart markers": encode(FRAMES[0], "JPEG", restart_marker_blocks=2),
    "exif": encode(FRAMES[0], "JPEG", exif=orientation(6)),
    "thumbnail": with_thumbnail(JPEG, encode(noise(16, 12), "JPEG")),
    "two pictures": encode(FRAMES[0], "MPO", save_all=True, append_images=FRAMES[1:]),
    "png": encode(FRAMES[0], "PNG"),
    "animated png": encode(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:]),
    "webp": encode(FRAMES[0], "WEBP"),
    "lossless webp": encode(FRAMES[0], "WEBP", lossless=True, exif=orientation(3)),
    "animated webp": encode(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:]),
    "gif": encode(FRAMES[0], "GIF"),
    "animated gif": encode(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]),
    "grey gif": encode(Image.new("L", (9, 9), 7), "GIF"),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_whole_files_are_whole(kind: str) -> None:
    assert not is_truncated(WHOLE[kind])


@pytest.mark.parametrize("kind", WHOLE)
def test_bytes_behind_the_end_do_no_harm(kind: str) -> None:
    assert not is_truncated(WHOLE[kind] + b"\0" * 20)
    assert not is_truncated(WHOLE[kind] + b"\xff\xd8\xff\xe0 a film")


@settings(deadline=None)
@given(st.sampled_from([kind for kind in WHOLE if kind != "two pictures"]), st.data())
def test_any_cut_behind_the_signature_is_seen(kind: str, data: st.DataObject) -> None:
    whole = WHOLE[kind]
    assert is_truncated(whole[: data.draw(st.integers(12, len(whole) - 2), label="kept bytes")])


@pytest.mark.parametrize("kind", ["baseline", "progressive", "restart markers", "thumbnail", "png", "gif"])
def test_the_last_byte_counts(kind: str) -> None:
    assert is_truncated(WHOLE[kind][:-1])


@pytest.mark.parametrize("kind", ["baseline", "progressive", "png", "gif"])
def test_a_download_filled_up_with_zeros_is_cut(kind: str) -> None:
    whole = WHOLE[kind]
    assert is_truncated(whole[: len(whole) // 2].ljust(len(whole), b"\0"))


def test_of_two_pictures_the_first_one_counts() -> None:
    both = WHOLE["two pictures"]
    second = both.rindex(b"\xff\xd8\xff", 4)
    assert not is_truncated(both[: (second + len(both)) // 2])
    assert is_truncated(both[: len(both) // 6])


@given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF"]))
def test_garbage_is_answered_not_raised(tail: bytes, head: bytes) -> None:
    assert is_truncated(head + tail) in {True, False}


def test_formats_that_do_not_tell_count_as_whole() -> None:
    bmp = encode(FRAMES[0], "BMP")
    assert not is_truncated(bmp[: len(bmp) // 2])
    assert not is_truncated(b"<html>")
    assert not is_truncated(b"")
